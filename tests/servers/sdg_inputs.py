"""A small taxonomy as its stage would seal it, and the sdg stage run on it, here or as a child's whole work."""

import json
import sys
from pathlib import Path

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import digest_of, write_jsonl
from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.stage import SdgInputs, run
from instructlab_pipeline.stage import Context

KNOWLEDGE = "knowledge/astronomy/moons"
FREEFORM = "compositional_skills/naming"
GROUNDED = "compositional_skills/notices"


def seal_taxonomy(folder, leaves=None, chunks=None):
    folder.mkdir(parents=True)
    about = {"url": "https://example.org/taxonomy.git", "commit": "c0ffee"}
    (folder / "taxonomy.json").write_text(json.dumps(about))
    write_jsonl(folder / "leaves.jsonl", three_leaves() if leaves is None else leaves)
    write_jsonl(folder / "chunks.jsonl", three_chunks() if chunks is None else chunks)
    return artifacts.seal(folder, kind="taxonomy", key="k", inputs={}, facts=about)


def three_leaves(num_examples=3):
    kinds = {FREEFORM: "freeform", GROUNDED: "grounded", KNOWLEDGE: "knowledge"}
    return [leaf(path, kind, num_examples) for path, kind in kinds.items()]


def leaf(path, kind, num_examples=3):
    record = {
        "path": path,
        "kind": kind,
        "version": 3,
        "task_description": "" if kind == "knowledge" else f"Do what {path} asks.",
        "domain": "astronomy" if kind == "knowledge" else "",
        "document_outline": "Moons" if kind == "knowledge" else "",
        "seed_examples": [
            {"context": None if kind == "freeform" else f"Context {index} of {path}.", "pairs": seed_pairs(kind, index)}
            for index in range(num_examples)
        ],
        "documents": [],
    }
    return {**record, "digest": digest_of(record)}


def seed_pairs(kind, index):
    count = 3 if kind == "knowledge" else 1
    return [{"question": f"Seed {index}.{pair}?", "answer": f"Answer {index}.{pair}."} for pair in range(count)]


def three_chunks(path=KNOWLEDGE, count=3):
    document = {"repo": "https://example.org/moons.git", "commit": "c0ffee", "path": "moons.md"}
    return [
        {
            "id": f"{path}#moons.md:{start * 100}-{start * 100 + 90}",
            "leaf": path,
            "document": document,
            "start": start * 100,
            "end": start * 100 + 90,
            "num_tokens": 20,
            "headings": [],
            "text": f"Moon number {start} circles its planet in {start + 2} days.",
        }
        for start in range(count)
    ]


def sdg_inputs(taxonomy, url, **changed):
    values = {
        "taxonomy": taxonomy,
        "sdg_scale_factor": 4,
        "sdg_random_seed": 42,
        "sdg_quality_threshold": 0.7,
        "sdg_max_attempts": 4,
        "eval_num_samples": 6,
        "sdg_teacher_model": None,
        "sdg_judge_model": None,
        "sdg_flows": None,
        "eval_metrics": ("accuracy", "f1"),
        "sdg_teacher_endpoint": url,
        "sdg_judge_endpoint": None,
        "sdg_batch_size": 4,
        "sdg_num_workers": 2,
    }
    return SdgInputs(**{**values, **changed})


def run_sdg(folder, inputs, listeners=(), *, cache=None):
    """Run the stage in `folder/sdg`, as the pipeline would; without a `cache` its own is `folder/cache`."""
    context = Context(folder=folder / "sdg", cache=cache or folder / "cache", events=Events(listeners=listeners))
    artifacts.unseal(context.folder)
    context.folder.mkdir(parents=True, exist_ok=True)
    return run(inputs, context)


def outputs(folder):
    names = ("samples.jsonl", "rejected.jsonl", "evaluation.jsonl", "funnel.json")
    return {name: (folder / "sdg" / name).read_bytes() for name in names}


def records(folder, name):
    return [json.loads(line) for line in (folder / "sdg" / f"{name}.jsonl").read_text().splitlines()]


def peak_kilobytes():
    """Of this program alone: the kernel's resource usage would also count the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


if __name__ == "__main__":
    work, taxonomy_folder, address, changed = sys.argv[1:]
    sealed = artifacts.read(Path(taxonomy_folder))
    run_sdg(Path(work), sdg_inputs(sealed, address, **json.loads(changed)))
    sys.stdout.write(str(peak_kilobytes()))
