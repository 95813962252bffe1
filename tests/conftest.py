"""Fixtures for every test: a clean environment, and real servers on loopback (see `tests/servers`)."""

import os

import pytest
from hypothesis import HealthCheck, settings

KEPT = ("PATH", "HOME", "TMPDIR", "TZ", "VIRTUAL_ENV", "SSL_CERT_FILE")

# A busy machine is no failure, and what is drawn is the same in every run; `--hypothesis-profile=explore` draws anew.
UNTIMED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", UNTIMED)
settings.register_profile("certain", UNTIMED, derandomize=True)
settings.load_profile("certain")


@pytest.fixture(scope="session", autouse=True)
def clean_environment_of_modules(tmp_path_factory):
    """The same for what modules share, which comes up before the fixture below; and a home where nobody lives."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _clean(monkeypatch)
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees the parameters, keys or proxies of whoever runs it, their language, nor their git configuration."""
    _clean(monkeypatch)


def _clean(monkeypatch):
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(("PYTEST", "COV")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
