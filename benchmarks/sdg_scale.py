"""What many samples take: peak memory, and how soon a run that was stopped at its end goes on.

    python benchmarks/sdg_scale.py --quick            # 5,000 samples, and 20,000 that are there
    python benchmarks/sdg_scale.py                    # 100,000, and a million that are there
    python benchmarks/sdg_scale.py --left-behind-only # the million alone

The teacher answers at once, so that only our own work is measured. The sdg stage runs in a process of its own, four
times: with a tenth of the samples, with all of them, with all of them again on what the second run left behind, and as
the continuation of a job of which all leaves but one are there, with the journal of all calls
(`sdg_scale_left_behind.py`). `ready_s` is from the start of the process to its first call.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from contenders.measure import peak_mb
from sdg_scale_left_behind import leave_behind
from simulator.words import prose, question
from workload import NUM_SEED_EXAMPLES

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import digest_of, write_jsonl
from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.stage import SdgInputs, run
from instructlab_pipeline.stage import Context

SAMPLES_PER_LEAF = 1000
CHUNKS_PER_LEAF = 20
MOST_MEMORY_MB = 150
LONGEST_START_S = 60
MODEL = "at-once"
Rows = dict[str, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5,000 samples, and 20,000 that are there")
    parser.add_argument("--samples", type=int, help="how many samples (default 100,000)")
    parser.add_argument("--there", type=int, help="samples of a job that is continued (default 1,000,000)")
    parser.add_argument("--left-behind-only", action="store_true", help="the job that is continued, alone")
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "TAXONOMY", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _run_stage(*options.child)
        return
    samples = options.samples or (5_000 if options.quick else 100_000)
    there = options.there or (20_000 if options.quick else 1_000_000)
    with tempfile.TemporaryDirectory() as name, _teacher() as url:
        folder = Path(name)
        rows = _continued(folder, there, url) if options.left_behind_only else _all(folder, samples, there, url)
    print("".join(f"{name:>10}" for name in ("", "samples", "calls", "peak_mb", "ready_s", "wall_s", "shards")))
    for what, row in rows.items():
        cells = f"{row['samples']:>10,}{row['calls']:>10,}{row['peak_mb']:>10.1f}{row['ready_s'] or 0:>10.1f}"
        print(f"{what:>10}{cells}{row['wall_s']:>10.1f}{row['shards']:>10}")
    figures = _figures_of_left_behind(rows) if options.left_behind_only else _figures(rows)
    print(json.dumps({"benchmark": "sdg_scale", **figures, "load_average": os.getloadavg()[0]}))


def _all(folder: Path, samples: int, there: int, url: str) -> Rows:
    rows = {
        "a tenth": _measured(folder / "small", _taxonomy(folder / "small", samples // 10), url),
        "all": _measured(folder / "large", _taxonomy(folder / "large", samples), url),
    }
    rows["again"] = _measured(folder / "large", folder / "large" / "taxonomy", url)
    return rows | _continued(folder, there, url)


def _figures(rows: Rows) -> dict[str, Any]:
    few, many = rows["a tenth"], rows["all"]
    return {
        "ratio": round(MOST_MEMORY_MB / many["peak_mb"], 3),
        "peak_mb": many["peak_mb"],
        "bytes_a_sample": round((many["peak_mb"] - few["peak_mb"]) * 1e6 / (many["samples"] - few["samples"])),
        "samples": many["samples"],
        "again_s": rows["again"]["wall_s"],
        "continued": rows["continued"],
    }


def _figures_of_left_behind(rows: Rows) -> dict[str, Any]:
    continued = rows["continued"]
    return {"ratio": round(LONGEST_START_S / continued["ready_s"], 3), "continued": continued}


def _measured(folder: Path, taxonomy: Path, url: str) -> dict[str, Any]:
    """The stage in a process of its own. `ready_s` is None where nothing was asked for."""
    argv = [sys.executable, __file__, "--child", folder, taxonomy, url]
    _AtOnce.first_asked_at = None
    started = time.monotonic()
    figures = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    asked_at = _AtOnce.first_asked_at
    return {**figures, "ready_s": asked_at and round(asked_at - started, 1)}


def _continued(folder: Path, samples: int, url: str) -> Rows:
    """A job like that of `pattern`, one leaf, of which all leaves but one are there."""
    pattern, place = folder / "pattern", folder / "there"
    one = _measured(pattern, _taxonomy(pattern, SAMPLES_PER_LEAF), url)
    taxonomy = _taxonomy(place, samples)
    finished = next((pattern / "cache" / "leaves").iterdir())
    calls = leave_behind(place / "cache", _inputs(taxonomy, url), pattern=finished, model=MODEL)
    return {"a leaf": one, "continued": {**_measured(place, taxonomy, url), "journal": calls}}


def _run_stage(folder: str, taxonomy: str, url: str) -> None:
    context = Context(folder=Path(folder) / "sdg", cache=Path(folder) / "cache", events=Events())
    context.folder.mkdir(exist_ok=True)
    started = time.monotonic()
    facts = run(_inputs(Path(taxonomy), url), context)
    figures = {
        "samples": facts["samples"],
        "calls": facts["calls"]["made"],
        "peak_mb": round(peak_mb(), 1),
        "wall_s": round(time.monotonic() - started, 1),
        "shards": len(artifacts.shards_of(context.folder / "samples.jsonl")),
    }
    print(json.dumps(figures))


def _inputs(taxonomy: Path, url: str) -> SdgInputs:
    sealed = artifacts.read(taxonomy)
    assert sealed is not None
    return SdgInputs(
        taxonomy=sealed,
        sdg_scale_factor=SAMPLES_PER_LEAF // NUM_SEED_EXAMPLES,
        sdg_random_seed=42,
        sdg_quality_threshold=0.7,
        sdg_max_attempts=4,
        eval_num_samples=100,
        sdg_teacher_model=MODEL,
        sdg_judge_model=None,
        sdg_flows=None,
        eval_metrics=("accuracy",),
        sdg_teacher_endpoint=url,
        sdg_judge_endpoint=None,
        sdg_batch_size=64,
        sdg_num_workers=1,
    )


def _taxonomy(folder: Path, samples: int) -> Path:
    """Knowledge leaves, enough of them."""
    draw = Random(1)
    place = folder / "taxonomy"
    leaves = [_leaf(f"knowledge/subject_{number:04}", draw) for number in range(max(1, samples // SAMPLES_PER_LEAF))]
    write_jsonl(place / "leaves.jsonl", leaves)
    write_jsonl(
        place / "chunks.jsonl",
        (_chunk(leaf["path"], number, draw) for leaf in leaves for number in range(CHUNKS_PER_LEAF)),
    )
    artifacts.seal(place, kind="taxonomy", key="benchmark", inputs={}, facts={"commit": "c0ffee"})
    return place


def _leaf(path: str, draw: Random) -> dict[str, object]:
    pairs = [{"question": question(draw), "answer": prose(draw, 60)}]
    record = {
        "path": path,
        "kind": "knowledge",
        "task_description": "",
        "domain": path,
        "document_outline": prose(draw, 60),
        "seed_examples": [{"context": prose(draw, 200), "pairs": pairs} for _ in range(NUM_SEED_EXAMPLES)],
    }
    return {**record, "digest": digest_of(record)}


def _chunk(leaf: str, number: int, draw: Random) -> dict[str, object]:
    document = {"repo": "https://example.org/documents.git", "commit": "c0ffee", "path": "document.md"}
    start = number * 1200
    return {
        "id": f"{leaf}#document.md:{start}-{start + 1000}",
        "leaf": leaf,
        "document": document,
        "start": start,
        "end": start + 1000,
        "text": prose(draw, 1000),
    }


class _AtOnce(asyncio.Protocol):
    """HTTP as far as our client speaks it: each request gets a reply of the form that it asks for, all different."""

    first_asked_at: ClassVar[float | None] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return
        self._received = rest[length:]
        if head.startswith(b"POST") and _AtOnce.first_asked_at is None:
            _AtOnce.first_asked_at = time.monotonic()
        body = json.dumps(_models() if head.startswith(b"GET") else _completion(json.loads(rest[:length]))).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def _models() -> dict[str, object]:
    return {"data": [{"id": MODEL}]}


def _completion(asked: dict) -> dict[str, object]:
    prompt = asked["messages"][-1]["content"]
    if asked["response_format"]["json_schema"]["name"] == "verdict":
        names = asked["response_format"]["json_schema"]["schema"]["properties"]
        content = {"reason": "Nothing to object to.", **{name: 5 for name in names if name != "reason"}}
    else:
        count = int(prompt.partition("<count>")[2].partition("<")[0])
        words = [sha256(f"{number} {asked['seed']} {prompt}".encode()).hexdigest() for number in range(count)]
        content = {"pairs": [_pair([word[at : at + 8] for at in range(0, 64, 8)]) for word in words]}
    text = json.dumps(content)
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


def _pair(words: list[str]) -> dict[str, str]:
    return {
        "question": f"Which of the {words[0]} is said to have {words[1]} the {words[2]} before {words[3]} came?",
        "answer": f"It was the {words[4]} that {words[5]}, as the {words[6]} of {words[7]} tells in so many words.",
    }


@contextmanager
def _teacher() -> Iterator[str]:
    """Its URL, while it lives in a thread of its own process's loop."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        server = await loop.create_server(_AtOnce, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True).start()
    ready.wait()
    yield f"http://127.0.0.1:{ports[0]}/v1"


if __name__ == "__main__":
    main()
