"""What the sdg stage says when teachers are missing, wrong or gone: the right class of error, early, with a remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError, UsageError
from instructlab_pipeline.sdg.stage import fingerprint
from servers.command import command
from servers.connect_proxy import ConnectProxy
from servers.loopback import free_port
from servers.sdg_inputs import FREEFORM, KNOWLEDGE, leaf, records, run_sdg, sdg_inputs, seal_taxonomy
from servers.teacher_server import MODEL, TeacherServer

TESTS = Path(__file__).parents[1]


def models_in_fingerprint(inputs):
    return " ".join(fingerprint(inputs).split()[:2])


@pytest.fixture
def taxonomy(tmp_path):
    return seal_taxonomy(tmp_path / "taxonomy")


def failure(kind, tmp_path, inputs):
    with pytest.raises(kind) as caught:
        run_sdg(tmp_path, inputs)
    assert caught.value.remedy
    return caught.value


def test_without_a_teacher_the_ways_to_one_are_listed(tmp_path, taxonomy):
    error = failure(UsageError, tmp_path, sdg_inputs(taxonomy, None))
    assert "sdg_teacher_endpoint" in error.message
    for way in ("vLLM", "OPENAI_API_KEY", "builtin:extractive", "not a language model"):
        assert way in error.remedy


@pytest.mark.parametrize("address", ["localhost:8000", "builtin:gpt", "ftp://host/v1", "teacher"])
def test_an_address_that_is_none_is_a_usage_error(tmp_path, taxonomy, address):
    error = failure(UsageError, tmp_path, sdg_inputs(taxonomy, address))
    assert address in error.message


def test_a_wrong_key_is_found_before_anything_is_asked(tmp_path, taxonomy, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with TeacherServer(api_key="sk-right") as teacher:
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert teacher.requests == []
    assert teacher.url in error.message
    assert "OPENAI_API_KEY" in error.remedy
    assert "sk-wrong" not in f"{error.message} {error.remedy}"


def test_a_key_with_a_newline_pasted_after_it_works(tmp_path, taxonomy, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right\n")
    with TeacherServer(api_key="sk-right") as teacher:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert facts["samples"] == 36
        assert facts["calls"]["reused"] == 0


def test_an_unknown_model_is_named_beside_those_that_are_served(tmp_path, taxonomy):
    with TeacherServer(models=("granite", "mixtral")) as teacher:
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_teacher_model="granit"))
        assert teacher.requests == []
    assert "granit; it serves: granite, mixtral" in error.message
    assert "sdg_teacher_model" in error.remedy


def test_one_of_several_models_must_be_chosen(tmp_path, taxonomy):
    with TeacherServer(models=("granite", "mixtral")) as teacher:
        error = failure(UsageError, tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert "granite, mixtral" in error.message
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_teacher_model="mixtral"))
    assert facts["teacher"] == facts["judge"] == "mixtral"


def test_a_judge_of_its_own_is_asked_for_verdicts_alone(tmp_path, taxonomy):
    with TeacherServer(models=("writer",)) as teacher, TeacherServer(models=("judge",)) as judge:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_judge_endpoint=judge.url))
        assert (facts["teacher"], facts["judge"]) == ("writer", "judge")
        assert teacher.asked_for("verdict") == []
        assert len(judge.asked_for("verdict")) == len(judge.requests) > 0


def test_each_endpoint_gets_its_own_key_and_a_judge_without_one_shares_the_teachers(tmp_path, taxonomy, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-teacher")
    with TeacherServer(api_key="sk-teacher") as teacher, TeacherServer(api_key="sk-judge") as judge:
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_judge_endpoint=judge.url)
        assert "set JUDGE_API_KEY or OPENAI_API_KEY" in failure(ServiceError, tmp_path, inputs).remedy
        monkeypatch.setenv("JUDGE_API_KEY", "sk-judge")
        assert run_sdg(tmp_path, inputs)["samples"] == 36


def test_an_endpoint_that_is_not_there_is_named_within_seconds(tmp_path, taxonomy):
    url = f"http://127.0.0.1:{free_port()}/v1"
    error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, url))
    assert url in error.message
    assert "sdg_teacher_endpoint" in error.remedy


@pytest.mark.parametrize(
    ("fault", "words"), [("garbage", "no JSON"), ("empty", "empty"), ("refused", "maximum context length")]
)
def test_a_teacher_of_which_nothing_can_be_used_stops_the_run_early(tmp_path, taxonomy, fault, words):
    with TeacherServer(faults={fault: 1.0}) as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=200)
        error = failure(ServiceError, tmp_path, inputs)
        assert len(teacher.requests) < 80
        assert words in error.message
        teacher.faults = {}
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert facts["samples"] == 36
        assert facts["calls"]["reused"] == 0


def test_a_leaf_without_a_single_sample_is_an_error_that_says_why(tmp_path, taxonomy):
    never = {
        "verdict": lambda asked: {"reason": "no", "relevance": 1, "clarity": 1, "faithfulness": 1, "standalone": 1}
    }
    with TeacherServer(scripts=never) as teacher:
        error = failure(SourceError, tmp_path, sdg_inputs(taxonomy, teacher.url))
    assert "low_quality" in error.message


def test_a_teacher_that_refuses_everything_is_named_early(tmp_path):
    sorry = "I'm sorry, but I can't help with that."
    refuses = {
        "question_answer_pairs": lambda asked: {"pairs": [{"question": sorry, "answer": sorry}]},
        "instructions": lambda asked: {"instructions": [sorry]},
    }
    leaves = [leaf(FREEFORM, "freeform"), leaf(KNOWLEDGE, "knowledge")]
    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=leaves)
    with TeacherServer(scripts=refuses) as teacher:
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=200))
        assert len(teacher.requests) < 80
    assert sorry in error.message
    assert "willing" in error.remedy


def test_a_context_that_is_too_long_costs_its_row_alone(tmp_path, taxonomy):
    with TeacherServer(faults={"refused": 0.05}) as teacher:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
    assert facts["samples"] == 36
    details = {record["detail"] for record in records(tmp_path, "rejected") if record["step"] and not record["scores"]}
    assert "This model's maximum context length is 4096 tokens" in details


def test_one_reply_of_100_megabytes_costs_its_row_and_no_memory(tmp_path):
    huge = iter([True])

    def answer(asked):
        return {"answer": "x" * (100 << 20) if next(huge, False) else "Short."}

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(FREEFORM, "freeform")], chunks=[])
    with TeacherServer(scripts={"answer": answer}) as teacher:
        argv = [sys.executable, TESTS / "servers/sdg_inputs.py", tmp_path, taxonomy.path, teacher.url, "{}"]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        child = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert int(child.stdout) < 150 << 10
    assert len(records(tmp_path, "samples")) == 12
    details = [
        record["detail"] for record in records(tmp_path, "rejected") if record["reason"] == "refused_by_endpoint"
    ]
    assert details == ["the reply is longer than 8 MB"]


@pytest.mark.parametrize(
    ("changed", "exit_code", "words"),
    [
        ({"OPENAI_API_KEY": "sk-wrong"}, 4, "set OPENAI_API_KEY"),
        ({"SDG_TEACHER_MODEL": "granit"}, 4, "set sdg_teacher_model"),
        ({"SDG_TEACHER_ENDPOINT": "http://127.0.0.1:9/v1"}, 4, "correct sdg_teacher_endpoint"),
        ({"SDG_TEACHER_ENDPOINT": ""}, 2, "set sdg_teacher_endpoint to one of"),
        ({"SDG_FLOWS": "no-flow.yaml"}, 2, "name YAML files"),
    ],
)
def test_the_command_ends_with_the_right_code_and_says_what_to_do(tmp_path, taxonomy, changed, exit_code, words):
    with TeacherServer(api_key="sk-right") as teacher:
        environment = {
            "SDG_BASE_MODEL": "s3://bucket/model",
            "SDG_REPO_URL": "https://example.org/taxonomy.git",
            "OUTPUT_OCI_MODEL_URI": "quay.io/team/model:1",
            "SDG_TEACHER_ENDPOINT": teacher.url,
            "OPENAI_API_KEY": "sk-right",
            **changed,
        }
        done = command("stage", "sdg", "--run-dir", str(tmp_path), folder=tmp_path, environment=environment)
        assert not teacher.requests
    assert done.returncode == exit_code, done.stderr
    assert words in done.stderr.split("what to do:")[1]


def test_the_fingerprint_names_the_models_without_asking_where_they_are_given(taxonomy):
    with TeacherServer() as teacher:
        asked = models_in_fingerprint(sdg_inputs(taxonomy, teacher.url))
    assert asked == f"{MODEL} {MODEL}"
    assert models_in_fingerprint(sdg_inputs(taxonomy, teacher.url, sdg_teacher_model="granite")) == "granite granite"
    assert models_in_fingerprint(sdg_inputs(taxonomy, "builtin:extractive")) == "builtin-extractive builtin-extractive"


def test_a_private_certificate_authority_is_needed_and_taken_from_the_environment(tmp_path, taxonomy, monkeypatch):
    server = TeacherServer()
    server.tls = certificate, _ = _self_signed(tmp_path)
    with server as teacher:
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert "certificate" in error.message.lower()
        assert "SSL_CERT_FILE" in error.remedy
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))["samples"] == 36
        assert len(teacher.connections) <= 8 < len(teacher.requests)


def test_an_endpoint_without_tls_is_not_blamed_for_its_certificate(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, teacher.url.replace("http://", "https://")))
    assert "TLS" in error.message
    assert "http://" in error.remedy


def _self_signed(folder, host="localhost"):
    certificate, key = folder / "ca.pem", folder / "key.pem"
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_a_proxy_is_taken_from_the_environment_but_not_to_this_machine(tmp_path, taxonomy, monkeypatch):
    with TeacherServer() as proxy, TeacherServer() as teacher:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        assert models_in_fingerprint(sdg_inputs(taxonomy, teacher.url)) == f"{MODEL} {MODEL}"
        proxy.models = ("behind-the-proxy",)
        assert (
            models_in_fingerprint(sdg_inputs(taxonomy, "http://teacher.example/v1"))
            == "behind-the-proxy behind-the-proxy"
        )
        monkeypatch.setenv("NO_PROXY", "teacher.example")
        with pytest.raises(ServiceError, match=r"teacher\.example"):
            models_in_fingerprint(sdg_inputs(taxonomy, "http://teacher.example/v1"))


@pytest.fixture
def hosted(tmp_path, monkeypatch):
    """A teacher at https://teacher.example, as far as the proxy leads there."""
    server = TeacherServer()
    server.tls = certificate, _ = _self_signed(tmp_path, "teacher.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server as teacher:
        yield teacher


def test_https_goes_through_a_proxy_that_tunnels_and_keeps_its_tunnels(tmp_path, taxonomy, monkeypatch, hosted):
    with ConnectProxy(leads_to=hosted.port, account="me:secret").running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert run_sdg(tmp_path, sdg_inputs(taxonomy, "https://teacher.example/v1"))["samples"] == 36
    assert set(proxy.tunnels) == {"teacher.example:443"}
    assert len(proxy.tunnels) <= 8 < len(hosted.requests)


def test_a_proxy_that_lets_nobody_through_is_named_without_its_password(tmp_path, taxonomy, monkeypatch, hosted):
    with ConnectProxy(leads_to=hosted.port, account="me:secret").running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("secret", "hunter2"))
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, "https://teacher.example/v1"))
    assert "407" in error.message
    assert "HTTPS_PROXY" in error.remedy
    assert "hunter2" not in f"{error.message} {error.remedy}"


def test_a_certificate_behind_a_proxy_is_checked_too(tmp_path, taxonomy, monkeypatch, hosted):
    monkeypatch.delenv("SSL_CERT_FILE")
    with ConnectProxy(leads_to=hosted.port).running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(ServiceError, tmp_path, sdg_inputs(taxonomy, "https://teacher.example/v1"))
    assert "SSL_CERT_FILE" in error.remedy
    assert hosted.requests == []
