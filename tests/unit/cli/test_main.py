import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from instructlab_pipeline.cli.main import COMMANDS, cli

HEAVY = {
    "torch",
    "transformers",
    "kfp",
    "aiohttp",
    "obstore",
    "numpy",
    "rich",
    "tokenizers",
    "jinja2",
    "yaml",
    "asyncio",
}
PROGRAM = """
import json, sys
from instructlab_pipeline.cli.main import exit_code_of
code = exit_code_of({arguments!r})
print()
print(json.dumps([code, sorted({{name.split('.')[0] for name in sys.modules}})]))
"""


def imported_by(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=list(arguments))], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def test_help_imports_nothing_heavy():
    assert not imported_by("--help") & HEAVY


@pytest.mark.parametrize("command", ["run", "stage", "status"])
def test_the_help_of_a_command_imports_neither_torch_nor_kfp(command):
    assert not imported_by(command, "--help") & {"torch", "transformers", "kfp", "aiohttp", "obstore"}


def test_showing_parameters_imports_nothing_heavy():
    assert not imported_by("params", "show") & {"torch", "transformers", "kfp", "aiohttp", "obstore", "numpy"}


def test_help_lists_every_command_with_a_sentence():
    shown = CliRunner().invoke(cli, ["--help"]).output
    for name, (_, _, summary) in COMMANDS.items():
        assert name in shown
        assert summary.rstrip(".") in shown.replace("\n", " ") or summary.split()[0] in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_imported_and_helps(name):
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")


def test_an_unknown_command_is_a_usage_error():
    done = subprocess.run(
        [sys.executable, "-m", "instructlab_pipeline", "rnu"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no command 'rnu'; did you mean run" in done.stderr


def test_a_reader_of_the_output_that_leaves_is_no_error():
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "instructlab_pipeline", "params", "list"],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")
