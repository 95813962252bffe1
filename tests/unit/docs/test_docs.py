"""What the documentation shows, tried."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from instructlab_pipeline.cli.main import COMMANDS, cli
from instructlab_pipeline.publish.proof import evaluation_record

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#)([^)#]+)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^ {4,7}instructlab-pipeline ([a-z][^\n<>|\[]*)$", re.MULTILINE)
COMMAND = re.compile(r"^ {4}instructlab-pipeline (\S+)", re.MULTILINE)


def blocks(page, language):
    return [text for kind, text in BLOCK.findall((ROOT / page).read_text()) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(page):
    for name in COMMAND.findall(page.read_text()):
        assert name in COMMANDS or name.startswith("-"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_exist(page):
    for line in LINE.findall(page.read_text().replace("\\\n", " ")):
        words = shlex.split(line, comments=True)
        called = cli
        while isinstance(called, click.Group) and words and (below := called.get_command(None, words[0])):
            called, words = below, words[1:]
        known = {option for parameter in called.params for option in (*parameter.opts, *parameter.secondary_opts)}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known | {"--help", "--version"}, line


def test_the_readme_s_parameter_file_passes_the_check(tmp_path):
    (text,) = blocks("README.md", "bash")
    (tmp_path / "pipeline-parameters.env").write_text(text)
    done = CliRunner().invoke(cli, ["params", "check", "--params", str(tmp_path / "pipeline-parameters.env")])
    assert done.exit_code == 0, done.output


def test_the_taxonomy_page_s_leaf_can_be_used(tmp_path):
    (text,) = blocks("docs/taxonomy.md", "yaml")
    leaf = tmp_path / "knowledge" / "engineering" / "bridges"
    leaf.mkdir(parents=True)
    examples = text.split("document:")[0].split("seed_examples:")
    pairs = examples[1].split("\n", 1)[1]
    four_more = "".join(pairs.replace("opened in 1890", f"opened in {year}") for year in range(1891, 1895))
    (leaf / "qna.yaml").write_text(without_comments(text.replace(pairs, pairs + four_more)))
    done = CliRunner().invoke(cli, ["taxonomy", "check", str(tmp_path)], standalone_mode=True)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("manifest", blocks("docs/publishing.md", "yaml"))
def test_the_publishing_page_s_manifests_name_the_image_by_its_digest(manifest):
    document = yaml.safe_load(manifest)
    assert {"apiVersion", "kind", "metadata", "spec"} == document.keys()
    (image,) = re.findall(r"\S*your-org/\S+", manifest)
    assert re.fullmatch(r"(oci://)?quay\.io/your-org/instructlab-model@sha256:[0-9a-f]{64}", image)


def test_the_publishing_page_shows_the_evaluation_as_it_is_written():
    (shown,) = map(json.loads, blocks("docs/publishing.md", "json"))
    metric = {"n": 98, "base": 0.12, "tuned": 0.93, "interval": [0.86, 0.966], "passed": True}
    verdict = {"verdict": "pass", "clear": True, "n": 100, "threshold": 0.8, "metrics": {"accuracy": metric}}
    assert evaluation_record(verdict) == shown


def without_comments(text):
    """The page's remarks stand closer to the text than the linter likes."""
    lines = (re.sub(r"\s*#\s.*$", "", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line.strip()) + "\n"


def test_the_demo_s_parameter_file_passes_the_check():
    done = CliRunner().invoke(cli, ["params", "check", "--params", str(ROOT / "examples/demo/pipeline-parameters.env")])
    assert done.exit_code == 0, done.output
