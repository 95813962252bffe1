"""A model's way into a registry: ours, `skopeo copy` of the same image, and oras.

    python benchmarks/publish.py --quick
    python benchmarks/publish.py

Each push goes to an empty registry of its own, Debian's docker-registry on this machine, which shares the processors
with whoever pushes. `ours` is a push after training, which leaves the layers' digests (it hashes the files anyway to
seal them); `ours hashing` has to find them out.

A model is a folder, with folders in it, and what is published has them. oras gets it in two ways:

    oras        the folder, as `oras push REF ./model` takes one: the same is delivered, as one tar.gz
    oras files  the files, one by one: the quickest that oras can do, but oras-py drops the folders that they were in

`ratio_oras` is about the first, and is the weaker claim: nearly all of that time goes into gzip. `ratio_oras_files` is
about the second: sending against sending. No client can beat that one by more than `ratio_oras_files_possible`:
`bound` is what the registry itself takes for these bytes, as it hashes each stream on one core and writes it down, so
it is about the number of cores, plus what oras itself costs.

skopeo gets an OCI layout of the same image. `skopeo` is told to keep its digests, so that the very same image arrives;
`skopeo gzip` is a bare `skopeo copy`, which compresses the layers on their way. What compresses goes in the first round
only, as it is slow.

benchmarks/README.md tells what the lines mean.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from peers import NotInstalledError, installed

HERE = Path(__file__).parent
CONTENDERS = HERE / "contenders"
sys.path.insert(0, str(HERE.parent / "tests"))

from servers.registry import registry  # noqa: E402 - the tests' servers are no package that is installed

ENVIRONMENTS = Path("runs/benchmarks/environments")
ORAS = ("oras", "0.2.43", "publish_oras.py")
OURS, HASHING, AGAIN, BOUND = "ours", "ours hashing", "ours again", "bound"
SKOPEO, SKOPEO_GZIP, ORAS_FOLDER, ORAS_FILES = "skopeo", "skopeo gzip", "oras", "oras files"
COMPRESSING = (SKOPEO_GZIP, ORAS_FOLDER)
REPOSITORY = "bench/model"
CHUNK_BYTES = 16 << 20
_LAST_LINES = 12


def main() -> None:
    options = _options()
    total = 300_000_000 if options.quick else 2_000_000_000
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(Path(folder), peer=_oras_python(options.environments.absolute()))
        bench.make_model(total, options.shards)
        costs: dict[str, list[Cost]] = {}
        for number in range(options.rounds):
            for name, cost in bench.round(number):
                costs.setdefault(name, []).append(cost)
    _tell(costs, total)


class Cost(NamedTuple):
    seconds: float
    cpu_s: float
    peak_mb: float


class Bench:
    """The same model for everyone, an empty registry for each."""

    def __init__(self, folder: Path, *, peer: Path | None) -> None:
        self.folder, self.peer = folder, peer
        self.trained, self.layout, self.sealing = folder / "training", folder / "layout", folder / "sealing"
        self.model = self.trained / "model"

    def make_model(self, total: int, shards: int) -> None:
        """Random bytes, nearly as dense as weights are; and the image of them on disk, for skopeo."""
        (self.model / "tokenizer").mkdir(parents=True)
        (self.model / "tokenizer" / "tokenizer.json").write_text("{}")
        for number in range(shards):
            with (self.model / f"model-{number + 1:05}-of-{shards:05}.safetensors").open("wb") as file:
                left = total // shards
                while left:
                    left -= file.write(os.urandom(min(left, CHUNK_BYTES)))
        _timed(self._ours(f"oci:{self.layout}:latest", self.sealing))

    def round(self, number: int) -> Iterator[tuple[str, Cost]]:
        """The cost of each push, and of pushing what is there already."""
        after_training = self.folder / f"cache-{number}"
        shutil.copytree(self.sealing, after_training)
        with self._registry() as host:
            yield OURS, _timed(self._ours(f"{host}/{REPOSITORY}:latest", after_training))
            yield AGAIN, _timed(self._ours(f"{host}/{REPOSITORY}:latest", after_training))
        with self._registry() as host:
            yield HASHING, _timed(self._ours(f"{host}/{REPOSITORY}:latest", self.folder / f"empty-{number}"))
        for name, argv in self._peers():
            if number == 0 or name not in COMPRESSING:
                with self._registry() as host:
                    yield name, _timed([str(part).replace("HOST", host) for part in argv])
        with self._registry() as host:
            yield BOUND, _timed([sys.executable, CONTENDERS / "publish_bound.py", self.trained, host, REPOSITORY])

    def _ours(self, reference: str, cache: Path) -> Sequence[str | Path]:
        return [sys.executable, CONTENDERS / "publish_ours.py", self.trained, reference, cache]

    def _peers(self) -> Iterator[tuple[str, Sequence[str | Path]]]:
        """Their commands, with HOST in the place of the registry's."""
        target = f"HOST/{REPOSITORY}:latest"
        copy = ["skopeo", "copy", "--dest-tls-verify=false", f"oci:{self.layout}:latest", f"docker://{target}"]
        yield SKOPEO, [*copy, "--preserve-digests"]
        yield SKOPEO_GZIP, copy
        if self.peer is not None:
            oras = [self.peer, CONTENDERS / ORAS[2], self.model.parent, target]
            yield ORAS_FILES, [*oras, *sorted(_files(self.model))]
            yield ORAS_FOLDER, [*oras, self.model.name]

    @contextmanager
    def _registry(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(dir=self.folder) as storage:
            os.sync()  # nobody pays for what those before have left to be written
            with registry(Path(storage)) as server:
                yield server.host


def _files(model: Path) -> Iterator[Path]:
    """By their path beside the model's folder."""
    return (path.relative_to(model.parent) for path in model.rglob("*") if path.is_file())


def _timed(argv: Sequence[str | Path]) -> Cost:
    """Of the whole process, from its start to its end."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen([*map(str, argv)], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{argv[0]} failed:\n" + "\n".join(lines[-_LAST_LINES:]))
    return Cost(seconds=taken, cpu_s=usage.ru_utime + usage.ru_stime, peak_mb=usage.ru_maxrss / 1024)


def _oras_python(environments: Path) -> Path | None:
    try:
        return installed(*ORAS, environments=environments).python
    except NotInstalledError as error:
        print(f"oras cannot be installed here and is left out: {error}")
        return None


def _tell(costs: Mapping[str, Sequence[Cost]], total: int) -> None:
    middle = {name: Cost(*map(median, zip(*taken, strict=True))) for name, taken in costs.items()}
    print(f"{'':14}{'seconds':>10}{'MB/s':>8}{'cpu_s':>8}{'peak_mb':>9}")
    for name, cost in middle.items():
        speed = total / cost.seconds / 1e6
        print(f"{name:14}{cost.seconds:>10.2f}{speed:>8.0f}{cost.cpu_s:>8.2f}{cost.peak_mb:>9.0f}")
    seconds = {name: cost.seconds for name, cost in middle.items()}
    ratios = {
        "ratio_skopeo": _ratio(seconds, SKOPEO, OURS),
        "ratio_skopeo_gzip": _ratio(seconds, SKOPEO_GZIP, OURS),
        "ratio_oras": _ratio(seconds, ORAS_FOLDER, OURS),
        "ratio_oras_files": _ratio(seconds, ORAS_FILES, OURS),
        "ratio_oras_files_possible": _ratio(seconds, ORAS_FILES, BOUND),
        "ratio_oras_files_hashing": _ratio(seconds, ORAS_FILES, HASHING),
        "ratio_bound": _ratio(seconds, BOUND, OURS),
    }
    again = round(seconds[AGAIN], 3)
    print(json.dumps({"benchmark": "publish", **ratios, "second_push_s": again, "size_bytes": total}))


def _ratio(seconds: Mapping[str, float], slower: str, faster: str) -> float | None:
    return round(seconds[slower] / seconds[faster], 3) if slower in seconds else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 MB instead of 2 GB")
    parser.add_argument("--shards", type=int, default=4, help="files of the model [default: 4]")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many are told [default: 3]")
    parser.add_argument("--folder", type=Path, help="where model and registries lie [default: the system's for such]")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help=f"[default: {ENVIRONMENTS}]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
