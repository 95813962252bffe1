"""The benchmark's endpoint against our own engine, over HTTP: it is understood, it is fair, and its faults are met."""

import http.client
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from servers.sdg_inputs import records, run_sdg, sdg_inputs, seal_taxonomy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@contextmanager
def simulator(*options):
    argv = [sys.executable, "-m", "simulator", *options]
    with subprocess.Popen(argv, cwd=BENCHMARKS, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)


def exchange(url, method, path, record=None):
    """Status and JSON; the status alone where the body is none."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    try:
        connection.request(method, path, body=None if record is None else json.dumps(record))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def statistics(url):
    return exchange(url, "GET", "/statistics")[1]


def asked(prompt, **more):
    return {"model": "simulated", "messages": [{"role": "user", "content": prompt}], **more}


def content(url, request):
    status, record = exchange(url, "POST", "/v1/chat/completions", request)
    assert status == 200
    return record["choices"][0]["message"]["content"]


def test_our_flows_get_replies_that_they_can_use(tmp_path):
    taxonomy = seal_taxonomy(tmp_path / "taxonomy")
    with simulator("--speed=200") as url:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, url))
        told = statistics(url)
    assert facts["samples"] == facts["target"] > 0
    assert {record["reason"] for record in records(tmp_path, "rejected")} <= {"low_quality", "surplus"}
    assert told["counts"]["requests"] == told["counts"]["answered"] == facts["calls"]["made"]
    assert told["tokens_made"] == facts["tokens"]["out"]
    assert 0 < told["efficiency"] < 1


def test_faults_are_counted_and_none_costs_a_sample(tmp_path):
    taxonomy = seal_taxonomy(tmp_path / "taxonomy")
    shares = {"server-error": 0.1, "disconnect": 0.05, "cut": 0.05, "garbage": 0.05, "truncated": 0.05, "empty": 0.05}
    with simulator("--speed=200", *(f"--{name}={share}" for name, share in shares.items())) as url:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, url))
        told = statistics(url)
    assert facts["samples"] == facts["target"]
    assert set(shares) <= set(told["counts"])
    assert told["counts"]["requests"] > facts["calls"]["made"]


def test_a_lone_request_is_measured_as_such():
    with simulator("--slots=2", "--step-ms=1", "--step-slope-ms=0", "--prefill-us=0") as url:
        content(url, asked("Say something."))
        told = statistics(url)
    assert told["efficiency"] == pytest.approx(0.5, abs=0.01)
    assert told["utilisation"] == pytest.approx(0.5, abs=0.01)


def test_the_same_prompt_and_seed_get_the_same_reply():
    with simulator("--speed=1000") as url:
        first, again, other = (content(url, asked("Say something.", seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_peers_are_answered_in_their_own_forms():
    schema = json.dumps({"properties": {"grade": {"enum": [1, 5]}}, "type": "object"})
    with simulator("--speed=1000", "--pass-rate=1") as url:
        fenced = content(url, asked(f"Judge it.\n<response_schema>\n{schema}\n</response_schema>"))
        listed = content(url, asked("Ask, each in this form:\n[QUESTION]\nthe question\n[END]"))
        texts = content(url, asked("Write <count>2</count> texts, each in this form:\n[CONTEXT]\nthe text\n[END]"))
        judged = content(url, asked("Judge it:\n[Start of Answer]\nYES or NO\n[End of Answer]"))
    assert fenced == '```json\n{"grade": 5}\n```'
    assert listed.count("[QUESTION]") == listed.count("[END]") == 5
    assert texts.count("[CONTEXT]") == texts.count("[END]") == 2
    assert "[Start of Answer]\nYES\n[End of Answer]" in judged


def test_an_outage_and_a_full_queue_ask_for_patience():
    with simulator("--speed=1000", "--outage", "0", "60") as url:
        content(url, asked("The outage is counted from here."))
        assert exchange(url, "POST", "/v1/chat/completions", asked("Again?"))[0] == 503
        assert statistics(url)["counts"]["outage"] == 1


def test_what_is_no_chat_completion_is_refused_and_what_is_nowhere_is_not_found():
    with simulator() as url:
        assert exchange(url, "POST", "/v1/chat/completions", {"prompt": "old"})[0] == 400
        assert exchange(url, "GET", "/v2")[0] == 404
        assert exchange(url, "GET", "/v1/models")[1]["data"][0]["id"] == "simulated"
