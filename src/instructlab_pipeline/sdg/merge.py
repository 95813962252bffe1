"""From finished leaves to one dataset: no question twice in it, and none of the evaluation's.

Leaves are compared in the order of their paths, evaluation items before samples, so that the result does not depend on
which leaf was ready first. What a leaf loses to another one it replaces from its surplus; what is still missing then is
`missing`. Records stay on disk: memory holds some 100 bytes for each.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from instructlab_pipeline.artifacts import ShardWriter, read_jsonl
from instructlab_pipeline.sdg.duplicates import Alike, Kept, Prints
from instructlab_pipeline.sdg.parts import Part, example_of, record_at, records_with_offsets
from instructlab_pipeline.sdg.samples import Record, left_out, question_of
from instructlab_pipeline.sdg.selection import Quota

KEPT, SURPLUS = -1, -2  # fates; from 0 on: the number of the text that it is like
HELD_OUT, CANDIDATES = "evaluation", "candidates"
NOTHING = Quota(training=0, evaluation=0)


@dataclass(kw_only=True)
class Share:
    """What the dataset takes of a part, and what not.

    `name`: what it is called where leaves are listed. `held_out_in`: the file for its evaluation items. `quota`: what
    it is to end with.
    """

    name: str
    leaf: str
    held_out_in: str
    part: Part
    quota: Quota
    first: dict[str, int] = field(default_factory=dict)  # by file: the number of its first text
    kept: Counter[str] = field(default_factory=Counter)  # by file
    rejected: Counter[str] = field(default_factory=Counter)  # by reason, by the merge alone
    examples: dict[str, Record] = field(default_factory=dict)

    @property
    def missing(self) -> Quota:
        """What other leaves had already, and the leaf could not replace; not what it never had."""
        return Quota(
            training=min(self.part.accepted, self.quota.training) - self.kept[CANDIDATES],
            evaluation=min(self.part.evaluation, self.quota.evaluation) - self.kept[HELD_OUT],
        )

    def room(self, kind: str) -> int:
        return self.quota.evaluation if kind == HELD_OUT else self.quota.training

    def funnel(self) -> Record:
        """Candidates = accepted + evaluation + all that was rejected."""
        accepted, evaluation = self.kept[CANDIDATES], self.kept[HELD_OUT]
        rejected = Counter(self.part.rejected) + self.rejected
        return {
            "target": self.quota.training,
            "accepted": accepted,
            "shortfall": self.quota.training - accepted,
            "candidates": accepted + evaluation + rejected.total(),
            "rejected": dict(sorted(rejected.items())),
            "examples": dict(sorted({**self.examples, **self.part.examples}.items())),
            "evaluation": evaluation,
            "evaluation_target": self.quota.evaluation,
        }


class Merger:
    """Compares on construction; `write` then streams the records to where they belong."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares
        self._owners = array("I")  # of each text, by its number: the share that it is in
        self._offsets = array("Q")
        alike = self._compared()
        self._fates = array("q", self._decided(Kept(alike=alike)))

    def write(self, folder: Path, *, taxonomy_commit: str) -> None:
        """`samples.jsonl`, `rejected.jsonl` and the files of what is held out, leaf by leaf."""
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(ShardWriter(folder / f"{name}.jsonl"))
                for name in ("samples", "rejected", "evaluation", *{share.held_out_in for share in self._shares})
            }
            for share in self._shares:
                names = {HELD_OUT: share.held_out_in, CANDIDATES: "samples"}
                for rejected in read_jsonl(share.part.file("rejected")):
                    files["rejected"].write(rejected)
                for kind, name in names.items():
                    for number, record in self._numbered(share, kind):
                        if self._fates[number] == KEPT:
                            lineage = {"taxonomy_commit": taxonomy_commit, **record["lineage"]}
                            files[name].write({**record, "lineage": lineage})
                        else:
                            files["rejected"].write(self._left_out(share, number, record))

    def _compared(self) -> Alike:
        prints = Prints()
        for kind in (HELD_OUT, CANDIDATES):
            for owner, share in enumerate(self._shares):
                share.first[kind] = len(prints)
                for offset, record in records_with_offsets(share.part.file(kind)):
                    prints.add(question_of(record))
                    self._owners.append(owner)
                    self._offsets.append(offset)
        return prints.alike(self._text)

    def _decided(self, kept: Kept) -> Iterator[int]:
        """The fate of each text. A text is kept where nothing like it was kept before, and its leaf has room."""
        for number, owner in enumerate(self._owners):
            share, kind = self._shares[owner], self._kind(number)
            twin = kept.twin_of(number)
            if twin is not None:
                yield twin
            elif share.kept[kind] < share.room(kind):
                kept.add(number)
                share.kept[kind] += 1
                yield KEPT
            else:
                yield SURPLUS

    def _numbered(self, share: Share, kind: str) -> Iterator[tuple[int, Record]]:
        for index, (_, record) in enumerate(records_with_offsets(share.part.file(kind))):
            yield share.first[kind] + index, record

    def _left_out(self, share: Share, number: int, record: Record) -> Record:
        twin = self._fates[number]
        if twin == SURPLUS:
            reason, detail = "surplus", "the leaf has all that it needs"
        elif self._kind(twin) == HELD_OUT and self._kind(number) != HELD_OUT:
            reason, detail = "in_evaluation_set", f"it would give away, in {self._leaf(twin)}: {self._text(twin)}"
        else:
            reason, detail = "duplicate", f"like one of {self._leaf(twin)}: {self._text(twin)}"
        share.rejected[reason] += 1
        share.examples.setdefault(reason, example_of(record, detail))
        return left_out(record, reason=reason, detail=detail)

    def _kind(self, number: int) -> str:
        return HELD_OUT if number < self._shares[0].first[CANDIDATES] else CANDIDATES

    def _leaf(self, number: int) -> str:
        return self._shares[self._owners[number]].name

    def _text(self, number: int) -> str:
        part = self._shares[self._owners[number]].part
        return question_of(record_at(part.file(self._kind(number)), self._offsets[number]))
