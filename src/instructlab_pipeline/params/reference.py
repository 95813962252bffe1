"""The parameter table as a page: `docs/parameters.md`, written by `instructlab-pipeline params list --markdown`."""

from itertools import groupby

from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES, Parameter

INTRODUCTION = """\
# Parameters

This page is made from the parameter table by `instructlab-pipeline params list --markdown`. Do not edit it.

{specified} parameters are those of the specification; {additions} are additions, marked with \\*, and always optional.
The profile (`--env dev`, the default, or `--env prod`) gives the defaults.

## Where values come from

Later places win, and every value remembers its origin (`params show` prints it):

1. the profile, `--env dev` or `--env prod`;
2. a ConfigMap, `--from-configmap NAME`, of a cluster or in a file ([on a cluster](kubernetes.md));
3. parameter files, `--params FILE`, as often as needed, the last one first in rank;
4. environment variables, named as the parameter in capital letters: `SDG_BATCH_SIZE`;
5. options on the command line, `--sdg_batch_size` or `--sdg-batch-size`.

`instructlab-pipeline params check` lists every complaint at once. A wrong value is a complaint even where a later place
gives a right one. No value is cut, rounded, or left out without a word.

Space around a value is dropped. An empty value is a value for `k8s_node_selector` and `k8s_tolerations`, goes back to
"unset" for parameters that may be unset, and is a complaint for all others. Booleans are `true` or `false`.

## Parameter files

The `.env` form has one `NAME="value"` a line, names in capital or small letters, with `export` in front or without,
and comments that start with `#`. In single quotes nothing is special. In double quotes a backslash goes before `"`,
`\\`, `$` and a backquote. Variables such as `$HOME` are not expanded but refused.

```bash
SDG_BASE_MODEL="s3://your-bucket/instructlab-base-model"
SDG_REPO_URL="https://github.com/your-organization/taxonomy.git"
OUTPUT_OCI_MODEL_URI="quay.io/your-org/instructlab-model:latest"
K8S_NODE_SELECTOR='{{"node-role.kubernetes.io/gpu":""}}'
```

A file whose name ends in `.yaml`, `.yml` or `.json` is one mapping of names to values, or a ConfigMap that holds them
in `data`. Lists and mappings may be written as such:

```yaml
train_num_workers: 4
eval_metrics: [accuracy, f1]
k8s_node_selector: {{node-role.kubernetes.io/gpu: ""}}
```

Secrets are not parameters. The teacher's key is read from `OPENAI_API_KEY`, those of S3 from the AWS variables, those
of the registry from the auth files of docker and podman, those of git from its own helpers.
"""

ALIASES_TITLE = """\
## Other names

These names of ilab-on-ocp are taken too, with a notice:
"""


def markdown() -> str:
    """The whole page."""
    specified = sum(parameter.specified for parameter in PARAMETERS.values())
    introduction = INTRODUCTION.format(specified=specified, additions=len(PARAMETERS) - specified)
    sections = [
        _section(title, list(parameters))
        for title, parameters in groupby(PARAMETERS.values(), key=lambda parameter: parameter.section)
    ]
    aliases = [f"- `{alias}`: `{name}`" for alias, name in ALIASES.items()]
    return "\n".join([introduction, *sections, ALIASES_TITLE, *aliases, ""])


def _section(title: str, parameters: list[Parameter]) -> str:
    rows = [_row(parameter) for parameter in parameters]
    head = ["| Parameter | Meaning | Default | Valid |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows, ""])


def _row(parameter: Parameter) -> str:
    mark = "" if parameter.specified else " \\*"
    cells = [f"`{parameter.name}`{mark}", parameter.meaning, default_in_words(parameter), parameter.kind.valid]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def default_in_words(parameter: Parameter) -> str:
    """`16` (dev), `32` (prod); one value where the profiles agree."""
    if parameter.required:
        return "required"
    if parameter.may_be_unset:
        return f"`{parameter.follows}`" if parameter.follows else "unset"
    texts = [text_of(parameter.defaults[profile]) or '""' for profile in PROFILES]
    if len(set(texts)) == 1:
        return f"`{texts[0]}`"
    return ", ".join(f"`{text}` ({profile})" for text, profile in zip(texts, PROFILES, strict=True))
