"""Our sdg stage, as the pipeline runs it."""

from pathlib import Path

from measure import job, measured

from instructlab_pipeline import artifacts
from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.stage import SdgInputs, run
from instructlab_pipeline.stage import Context


def main() -> None:
    asked = job()
    folder = Path(asked["folder"])
    (folder / "sdg").mkdir(parents=True)
    taxonomy = artifacts.read(Path(asked["taxonomy"]))
    assert taxonomy is not None
    inputs = SdgInputs(
        sdg_flows=None,
        eval_metrics=("accuracy", "f1"),
        taxonomy=taxonomy,
        sdg_scale_factor=asked["samples_per_example"],
        sdg_random_seed=asked["seed"],
        sdg_quality_threshold=0.7,
        sdg_max_attempts=4,
        eval_num_samples=asked["evaluation"],
        sdg_teacher_model=asked["model"],
        sdg_judge_model=None,
        sdg_teacher_endpoint=asked["endpoint"],
        sdg_judge_endpoint=None,
        sdg_batch_size=asked["in_flight"],
        sdg_num_workers=1,
    )
    context = Context(folder=folder / "sdg", cache=folder / "cache", events=Events())
    measured(lambda: _accepted(run(inputs, context)))


def _accepted(facts: artifacts.Facts) -> int:
    """Samples, and the held-out items that were asked for as well."""
    return int(facts["samples"]) + int(facts["evaluation"])


main()
