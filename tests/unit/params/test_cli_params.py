"""`params show | check | list | schema`, and the options that they share with `run` and `stage`."""

import json

import click
import pytest
from click.testing import CliRunner

from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.cli.params import params
from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.params.table import ALIASES, PARAMETERS

REQUIRED = [
    "--sdg_base_model=s3://bucket/model",
    "--sdg_repo_url=https://example.com/taxonomy.git",
    "--output_oci_model_uri=quay.io/org/model:1",
]


def call(*arguments):
    return CliRunner().invoke(params, arguments)


def show(*arguments):
    done = call("show", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_show_prints_json_types():
    shown = show("--env", "prod")
    assert list(shown) == list(PARAMETERS)
    assert shown["sdg_base_model"] == {"value": None, "origin": "missing"}
    assert shown["train_num_workers"] == {"value": 4, "origin": "prod profile"}
    assert shown["train_learning_rate"] == {"value": 2e-5, "origin": "prod profile"}
    assert shown["output_save_metrics"] == {"value": True, "origin": "prod profile"}
    assert shown["eval_metrics"] == {"value": ["accuracy", "f1"], "origin": "prod profile"}
    assert shown["train_memory_per_worker"] == {"value": "200Gi", "origin": "prod profile"}
    assert shown["k8s_worker_resources"] == {"value": '{"cpu":"8","memory":"200Gi"}', "origin": "prod profile"}
    assert shown["k8s_tolerations"] == {"value": "", "origin": "prod profile"}


def test_show_prints_a_table_by_section():
    done = call("show")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Core"
    assert "Synthetic data generation" in lines
    rows = [line.split() for line in lines if line.startswith("  ")]
    assert [row[0] for row in rows] == list(PARAMETERS)
    assert ["sdg_base_model", "-", "missing"] in rows
    assert ["k8s_tolerations", '""', "dev", "profile"] in rows


def test_both_spellings_of_an_option_are_taken(monkeypatch):
    monkeypatch.setenv("SDG_NUM_WORKERS", "3")
    shown = show("--sdg_batch_size", "5", "--eval-batch-size", "6", "--sdg-random-seed", "-7")
    assert shown["sdg_batch_size"] == {"value": 5, "origin": "command line"}
    assert shown["eval_batch_size"] == {"value": 6, "origin": "command line"}
    assert shown["sdg_random_seed"] == {"value": -7, "origin": "command line"}
    assert shown["sdg_num_workers"] == {"value": 3, "origin": "environment SDG_NUM_WORKERS"}


def test_parameter_files_are_read_in_order(tmp_path):
    (tmp_path / "a.env").write_text("SDG_BATCH_SIZE=1\nSDG_NUM_WORKERS=1\n")
    (tmp_path / "b.yaml").write_text("sdg_num_workers: 2\n")
    shown = show("--params", str(tmp_path / "a.env"), "--params", str(tmp_path / "b.yaml"))
    assert shown["sdg_batch_size"] == {"value": 1, "origin": f"{tmp_path}/a.env:1"}
    assert shown["sdg_num_workers"] == {"value": 2, "origin": f"{tmp_path}/b.yaml:1"}


def test_show_refuses_wrong_values_with_all_complaints():
    done = call("show", "--json", "--sdg_batch_size=0", "--eval_metrics=", "--params=missing.env")
    assert isinstance(done.exception, ParameterError)
    assert json.loads(done.stdout)["error"]["message"] == "\n".join(done.exception.complaints)
    assert len([line for line in done.exception.complaints if "missing; searched" not in line]) == 3


def test_check_says_yes_in_a_line():
    done = call("check", *REQUIRED)
    assert done.exit_code == 0
    assert done.stdout == f"all {len(PARAMETERS)} parameters are valid (dev profile)\n"


def test_check_as_json_says_what_is_wrong_and_still_fails():
    done = call("check", "--json", "--train_num_workers=0")
    assert isinstance(done.exception, ParameterError)
    result = json.loads(done.stdout)
    assert result == {"ok": False, "complaints": list(done.exception.complaints)}
    assert len(result["complaints"]) == 4
    assert json.loads(call("check", "--json", *REQUIRED).stdout) == {"ok": True, "complaints": []}


def test_notices_go_to_stderr():
    done = call("check", "--json", *REQUIRED, "--train_num_epochs_phase_1=3")
    assert json.loads(done.stdout)["ok"]
    assert done.stderr == (
        "note: train_num_epochs_phase_1 (command line) is taken as train_epochs_phase_1, its name here\n"
    )


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_option_is_a_usage_error_with_the_nearest_name(command):
    done = call(command, "--sdg_batchsize", "4")
    assert done.exit_code == 2
    assert "'--sdg_batch_size'" in done.stderr


def test_an_unknown_profile_is_a_usage_error():
    done = call("show", "--env", "test")
    assert done.exit_code == 2
    assert "'dev', 'prod'" in done.stderr


def test_the_set_of_options_is_one_per_parameter_in_two_spellings_and_the_aliases():
    options = {option.name: option for option in params.commands["show"].params}
    assert set(options) == {"as_json", "env", "from_configmap", "params", *PARAMETERS, *ALIASES}
    for name in (*PARAMETERS, *ALIASES):
        assert options[name].opts == [f"--{name}", f"--{name.replace('_', '-')}"]
        assert options[name].hidden == (name in ALIASES)


def test_help_groups_the_options_by_section_and_shows_defaults():
    text = " ".join(call("show", "--help").stdout.split())
    for section in {parameter.section for parameter in PARAMETERS.values()}:
        assert f"{section} parameters:" in text
    assert all(f"--{name} VALUE" in text for name in PARAMETERS)
    assert "[16 (dev), 32 (prod)]" in text
    assert not any(alias in text for alias in ALIASES)


def test_list_describes_every_parameter():
    done = call("list")
    assert done.exit_code == 0
    assert all(f"  {name} [" in done.stdout for name in PARAMETERS)
    listed = json.loads(call("list", "--json").stdout)
    (entry,) = [each for each in listed if each["name"] == "sdg_batch_size"]
    assert entry["defaults"] == {"dev": 16, "prod": 32}
    assert entry["environment"] == "SDG_BATCH_SIZE"
    assert call("list", "--markdown").stdout.startswith("# Parameters")
    assert call("list", "--markdown", "--json").exit_code == 2


def test_list_describes_the_parameters_that_are_named_in_any_spelling():
    shown = call("list", "SDG_BATCH_SIZE", "eval-metrics", "train_num_epochs_phase_1").stdout
    described = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert described == ["sdg_batch_size", "train_epochs_phase_1", "eval_metrics"]
    refused = call("list", "sdg_batch")
    assert isinstance(refused.exception, ParameterError)
    assert refused.exception.message == "sdg_batch is not a parameter; did you mean sdg_batch_size"


def test_schema_prints_json():
    assert json.loads(call("schema").stdout)["required"] == ["sdg_base_model", "sdg_repo_url", "output_oci_model_uri"]


def test_a_command_can_stand_on_what_a_run_recorded():
    recorded = {"sdg_batch_size": {"value": 9, "origin": "prod profile"}}

    @click.command(cls=ParameterCommand)
    @parameter_options
    def stage(**options):
        resolved = resolved_options(options, recorded=recorded)
        click.echo(f"{resolved.values['sdg_batch_size']} ({resolved.origins['sdg_batch_size']})")

    assert CliRunner().invoke(stage).stdout == "9 (run record, prod profile)\n"
    assert CliRunner().invoke(stage, ["--sdg_batch_size=2"]).stdout == "2 (command line)\n"
