"""Runs as OpenMetrics: what a scrape reads is what the runs' events say, by the parser of Prometheus itself."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from instructlab_pipeline.events import Events
from instructlab_pipeline.kube.monitoring import dashboard
from instructlab_pipeline.pipeline import STAGE_NAMES
from instructlab_pipeline.report import openmetrics
from instructlab_pipeline.run_folder import RunFolder
from servers.command import PROGRAM, command
from servers.loopback import free_port, process
from servers.s3_server import s3_server


def write_run(path):
    """A run that failed once in sdg, reused its model, has trained two steps and evaluates."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    folder.record_path.write_text(json.dumps({"parameters": {}}))
    events = Events(path=folder.events_path)
    events.point("reused", stage="model", facts={})
    with pytest.raises(RuntimeError), events.span("sdg"):
        raise RuntimeError("the teacher is away")
    with events.span("sdg"):
        events.progress("sdg", 3, 4, unit="samples")
        events.progress("sdg", 4, 4, unit="samples")
    with events.span("train_phase_1"):
        events.metric("loss", 2.5, stage="train_phase_1", step=1, memory_bytes=10, tokens_per_second=3.0, mfu=None)
        events.metric("loss", 1.5, stage="train_phase_1", step=2, memory_bytes=20, tokens_per_second=4.0, mfu=None)
    events.metric("accuracy", 0.9, base=0.1, interval=[0.8, 1.0])
    events._tell({"event": "start", "name": "eval_final"})
    return path


def samples(text):
    """(name, labels without the run) -> value."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "run")): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_metrics_of_a_run_are_those_of_its_events(tmp_path):
    done = command("metrics", write_run(tmp_path / "runs" / "one"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = samples(done.stdout)
    assert found["instructlab_stage_starts_total", "sdg"] == 2
    assert found["instructlab_stage_failures_total", "sdg"] == 1
    assert found["instructlab_stage_reuses_total", "model"] == 1
    assert found["instructlab_stage_running", "eval_final"] == 1
    assert ("instructlab_stage_running", "sdg") not in found
    assert found["instructlab_stage_progress_ratio", "sdg"] == 1
    assert found["instructlab_training_loss", "train_phase_1"] == 1.5
    assert found["instructlab_training_memory_bytes", "train_phase_1"] == 20
    assert ("instructlab_training_flops_utilization_ratio", "train_phase_1") not in found
    assert found["instructlab_run_published",] == 0
    assert (
        found["instructlab_run_first_event_timestamp_seconds",]
        <= found["instructlab_run_last_event_timestamp_seconds",]
    )
    assert found["instructlab_evaluation_score", "accuracy", "tuned"] == 0.9
    assert found["instructlab_evaluation_score", "accuracy", "base"] == 0.1


def test_a_run_counts_as_published_also_where_its_image_was_there_already():
    made = {"time": 1.0, "event": "end", "name": "publish", "seconds": 1.0, "ok": True}
    failed = {**made, "ok": False}
    reused = {"time": 2.0, "event": "point", "name": "reused", "stage": "publish"}
    for events, published in (([], 0), ([failed], 0), ([failed, made], 1), ([reused], 1)):
        text = openmetrics.exposition([openmetrics.seen("one", events, STAGE_NAMES)])
        assert samples(text)["instructlab_run_published",] == published


def test_a_folder_of_runs_gives_each_run_its_label(tmp_path):
    write_run(tmp_path / "runs" / "one")
    write_run(tmp_path / "runs" / "two")
    text = command("metrics", tmp_path / "runs", folder=tmp_path).stdout
    assert 'run="one"' in text
    assert 'run="two"' in text


def test_a_folder_without_runs_is_a_usage_error(tmp_path):
    done = command("metrics", tmp_path, folder=tmp_path)
    assert done.returncode == 2
    assert "is not a run, and holds none" in done.stderr


def test_a_scrape_reads_the_runs_as_they_are_then(tmp_path):
    port = free_port()
    argv = [*PROGRAM, "metrics", str(tmp_path / "runs"), "--serve", str(port), "--host", "127.0.0.1"]
    with process(argv, port=port, log=tmp_path / "log"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")
        assert raised.value.code == 503
        raised.value.close()
        write_run(tmp_path / "runs" / "one")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"] == openmetrics.CONTENT_TYPE
            assert samples(answer.read().decode())["instructlab_stage_starts_total", "sdg"] == 2


def test_runs_in_a_bucket_are_found_and_read(tmp_path):
    run = write_run(tmp_path / "one")
    with s3_server() as bucket:
        bucket.create_bucket("lab")
        (run / "events").mkdir()
        (run / "events.jsonl").rename(run / "events" / "process.jsonl")
        bucket.upload("lab", "runs/one", run)
        done = command("metrics", "s3://lab/runs", folder=tmp_path, environment=bucket.environment)
    assert done.returncode == 0, done.stderr
    assert samples(done.stdout)["instructlab_stage_starts_total", "sdg"] == 2


def test_the_dashboard_asks_for_metrics_that_exist(tmp_path):
    run = RunFolder(write_run(tmp_path / "one"))
    events = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    text = openmetrics.exposition([openmetrics.seen("one", events, STAGE_NAMES)])
    families = {family.name for family in text_string_to_metric_families(text)}
    asked = {panel["targets"][0]["expr"].partition("{")[0].removesuffix("_total") for panel in dashboard()["panels"]}
    assert asked <= families
