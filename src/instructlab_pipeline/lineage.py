"""What a finished `sdg` stage and the stages after it say of one sample, or of one document.

Everything is read from the run's own files, line by line; replies come from the journal of the teacher's calls.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from instructlab_pipeline import __version__, artifacts
from instructlab_pipeline.artifacts import Artifact, read_jsonl
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder
from instructlab_pipeline.run_storage import open_storage

SHORTEST_PREFIX = 4
MOST_SHOWN = 10
KINDS = {"samples": "sample", "evaluation": "evaluation item", "multiple_choice": "multiple-choice item"}
PHASES = ("phase_1", "phase_2")
EVALUATIONS = ("eval_phase_1", "eval_final")
_ID = re.compile(r"[0-9a-f-]+")
Record = dict[str, Any]


class Ledger:
    """A run's files, opened when they are needed."""

    def __init__(self, folder: RunFolder, *, journal: Callable[[], Path]) -> None:
        """`journal` brings the folder of the teacher's calls here, when it is needed."""
        self._folder = folder
        self._journal = journal
        self.sdg = self._required("sdg")
        self.taxonomy = self._required("taxonomy")

    def find(self, wanted: str) -> tuple[str, Record]:
        """The one item whose id begins so, or else whose question reads so: its kind and its record.

        Raises:
            UsageError: there is none, or more than one; the message lists what comes near.
        """
        matches = list(self._by_id(wanted)) or list(self._by_question(wanted))
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise UsageError(f"nothing in {self.sdg.path} {self._why_not(wanted)}", remedy=_HOW_TO_NAME_A_SAMPLE)
        listed = "\n".join(f"  {record['id'][:12]}  {record['question']}" for _, record in matches[:MOST_SHOWN])
        more = f"\n  and {len(matches) - MOST_SHOWN} more" if len(matches) > MOST_SHOWN else ""
        raise UsageError(f"{wanted!r} fits {len(matches)} items:\n{listed}{more}", remedy="name one of these ids")

    def way_back(self, wanted: str) -> Record:
        """From an item to where it comes from, and to what became of it."""
        with self._as_this_version_writes():
            return self._way_back(*self.find(wanted))

    def way_forward(self, path: str) -> Record:
        """From a document to each item that was made from it, and to what became of these."""
        with self._as_this_version_writes():
            return self._way_forward(path)

    @contextmanager
    def _as_this_version_writes(self) -> Iterator[None]:
        """Records of an older version may lack what this one looks for."""
        try:
            yield
        except KeyError as error:
            version = self._folder.record().get("version", "unknown")
            raise UsageError(
                f"the records in {self.sdg.path} have no {error}: another version made them ({version}; this is "
                f"{__version__})",
                remedy="trace it with the version that made it, or run it again with this one",
            ) from error

    def _way_back(self, kind: str, record: Record) -> Record:
        about = self._about_run
        return {
            "item": kind,
            "id": record["id"],
            "question": record["question"],
            "answer": record.get("answer", record.get("reference")),
            "choices": record.get("choices"),
            "context": record["context"],
            "scores": record["scores"],
            "leaf": record["leaf"],
            "taxonomy": {"url": about["url"], "commit": record["lineage"]["taxonomy_commit"]},
            **self._origin(record),
            **self._fate([record["id"]])[record["id"]],
        }

    def _way_forward(self, path: str) -> Record:
        document = self._document(path)
        chunks = {chunk["id"]: chunk for chunk in self._chunks if chunk["document"]["path"] == document}
        items = [(kind, record) for kind, record in self._items() if record["chunk"] in chunks]
        fates = self._fate({record["id"] for _, record in items})
        rejected = Counter(
            record["reason"] for record in read_jsonl(self.sdg / "rejected.jsonl") if record["chunk"] in chunks
        )
        return {
            "document": next(iter(chunks.values()))["document"],
            "leaves": sorted({chunk["leaf"] for chunk in chunks.values()}),
            "rejected": dict(sorted(rejected.items())),
            "chunks": [
                {
                    "id": chunk["id"],
                    "start": chunk["start"],
                    "end": chunk["end"],
                    "headings": chunk["headings"],
                    "items": [
                        {
                            "item": kind,
                            "id": record["id"],
                            "question": record["question"],
                            "answer": record.get("answer", record.get("reference")),
                            "sentence": _sentence(record, chunk["text"]),
                            **fates[record["id"]],
                        }
                        for kind, record in items
                        if record["chunk"] == chunk["id"]
                    ],
                }
                for chunk in chunks.values()
            ],
        }

    def _required(self, name: str) -> Artifact:
        artifact = artifacts.read(self._folder.stage(name))
        if artifact is None:
            raise UsageError(
                f"there is nothing to trace yet: stage {name} is not finished in {self._folder.path}",
                remedy="`instructlab-pipeline status` tells how far the run is",
            )
        return artifact

    def _items(self) -> Iterator[tuple[str, Record]]:
        for name, kind in KINDS.items():
            path = self.sdg / f"{name}.jsonl"
            if path.exists():
                yield from ((kind, record) for record in read_jsonl(path))

    def _by_id(self, wanted: str) -> Iterator[tuple[str, Record]]:
        prefix = wanted.strip().lower()
        if len(prefix) < SHORTEST_PREFIX or not _ID.fullmatch(prefix):
            return
        trained = {record["sample"] for record in self._trained() if record["id"].startswith(prefix)}
        for kind, record in self._items():
            if record["id"].startswith(prefix) or record["id"] in trained:
                yield kind, record

    def _by_question(self, wanted: str) -> Iterator[tuple[str, Record]]:
        """Equal questions where there are any, else those that contain the words."""
        sought = _bare(wanted)
        near = [(kind, record) for kind, record in self._items() if sought in _bare(record["question"])]
        equal = [(kind, record) for kind, record in near if sought == _bare(record["question"])]
        yield from equal or near

    def _why_not(self, wanted: str) -> str:
        for record in read_jsonl(self.sdg / "rejected.jsonl"):
            if record["question"] and _bare(wanted) == _bare(record["question"]):
                return f"asks that; it was rejected ({record['reason']}): {record['detail']}"
        return f"has the id or asks the question {wanted!r}"

    def _origin(self, record: Record) -> Record:
        """Leaf, seed example, document and sentence, flow, and every call."""
        from instructlab_pipeline.sdg.flows import load_flow
        from instructlab_pipeline.sdg.journal import find
        from instructlab_pipeline.sdg.leaves import read_leaves
        from instructlab_pipeline.sdg.replay import Origin, visits

        lineage = record["lineage"]
        leaf = next(leaf for leaf in read_leaves(self.taxonomy) if leaf.path == record["leaf"])
        origin = Origin(
            leaf=leaf,
            flow=load_flow(self.sdg / "flows" / f"{lineage['flow']}.yaml"),
            random_seed=self._about_run["random_seed"],
            replies=find(self._journal(), lineage["calls"]),
        )
        chunk = next((chunk for chunk in leaf.chunks if chunk.id == record["chunk"]), None)
        return {
            "seed_example": {"index": record["seed_example"], **leaf.seed_examples[record["seed_example"]]},
            "document": chunk and {**chunk.origin, "text": chunk.text, "sentence": _sentence(record, chunk.text)},
            "flow": {name: lineage[name] for name in ("form", "batch")}
            | {"name": lineage["flow"], "digest": lineage["flow_digest"]},
            "calls": [
                {
                    "step": visit.step.name,
                    "by": visit.step.by,
                    "model": visit.model,
                    "key": visit.key,
                    "asked_anew": visit.asked_anew,
                    "prompt": visit.call and list(visit.call.messages),
                    "reply": visit.reply and visit.reply._asdict(),
                }
                for visit in visits(record, origin)
            ],
        }

    def _fate(self, ids: Collection[str]) -> dict[str, Record]:
        """For each item: the training records made of it, why some were left out, and how it was answered."""
        fates: dict[str, Record] = {id_: {"trained": [], "left_out": [], "evaluated": []} for id_ in ids}
        for record in self._trained():
            if record["sample"] in fates:
                fates[record["sample"]]["trained"].append({name: record[name] for name in ("phase", "part", "id")})
        for record in self._optional("dataset", "dropped.jsonl"):
            if record["sample"] in fates:
                fates[record["sample"]]["left_out"].append(record)
        for stage in EVALUATIONS:
            for record in self._optional(stage, "answers.jsonl"):
                if record["id"] in fates:
                    answer = {name: record[name] for name in ("base", "tuned", "grades")}
                    fates[record["id"]]["evaluated"].append({"stage": stage, **answer})
        return fates

    def _trained(self) -> Iterator[Record]:
        for phase in PHASES:
            for record in self._optional("dataset", f"{phase}.jsonl"):
                yield {**json.loads(record["metadata"]), "id": record["id"], "phase": phase}

    def _optional(self, stage: str, name: str) -> Iterator[Record]:
        path = self._folder.stage(stage) / name
        if artifacts.read(path.parent) is not None and path.exists():
            yield from read_jsonl(path)

    def _document(self, wanted: str) -> str:
        """The path of the one document that ends so."""
        paths = sorted({chunk["document"]["path"] for chunk in self._chunks})
        matches = [path for path in paths if path == wanted] or [path for path in paths if path.endswith(wanted)]
        if len(matches) != 1:
            listed = ", ".join((matches or paths)[:MOST_SHOWN]) or "none: the taxonomy has no knowledge leaf"
            raise UsageError(
                f"{len(matches)} documents have the path {wanted!r}; those there are: {listed}",
                remedy="give a document's path as it stands in its repository",
            )
        return str(matches[0])

    @cached_property
    def _chunks(self) -> list[Record]:
        return list(read_jsonl(self.taxonomy / "chunks.jsonl"))

    @cached_property
    def _about_run(self) -> Record:
        about: Record = json.loads((self.taxonomy / "taxonomy.json").read_bytes())
        parameters = self._folder.record()["parameters"]
        return {"url": about["url"], "random_seed": parameters["sdg_random_seed"]["value"]}


_HOW_TO_NAME_A_SAMPLE = (
    "name a sample by the beginning of its id, by the id of a training record, or by words of its question"
)


def ledger_of(run: str) -> Ledger:
    """Raises:
    UsageError: the folder is no run, or has not come far enough.
    """
    storage = open_storage(run)
    if not storage.record():
        raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
    return Ledger(storage.view(), journal=lambda: storage.memory("journal"))


def _sentence(record: Mapping[str, Any], text: str) -> Record | None:
    from instructlab_pipeline.sdg.replay import sentence_behind

    answer = record.get("answer", record.get("reference", ""))
    found = sentence_behind(text, start=record["document"]["start"], question=record["question"], answer=answer)
    return asdict(found) if found else None


def _bare(text: str) -> str:
    from instructlab_pipeline.likeness import bare

    return bare(text)
