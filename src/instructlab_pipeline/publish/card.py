"""What an image says of itself: annotations for programs, a model card for people. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.publish.origin import Origin, shown_uri
from instructlab_pipeline.publish.proof import evaluation_record

PREFIX = "ai.instructlab.pipeline"
EVALUATION = f"{PREFIX}.evaluation"


def annotations(origin: Origin) -> dict[str, str]:
    """OCI's own keys where there are some, ours below PREFIX."""
    metrics = origin.verdict["metrics"].items()
    return {
        "org.opencontainers.image.title": origin.name,
        "org.opencontainers.image.version": origin.version,
        "org.opencontainers.image.description": f"{origin.name}, tuned from {shown_uri(origin.base_model)}",
        f"{PREFIX}.base-model": shown_uri(origin.base_model),
        f"{PREFIX}.base-model.digest": f"sha256:{origin.base_digest}",
        f"{PREFIX}.taxonomy": shown_uri(origin.taxonomy),
        f"{PREFIX}.taxonomy.commit": origin.commit,
        f"{PREFIX}.dataset.digest": f"sha256:{origin.dataset_digest}",
        f"{PREFIX}.model.digest": f"sha256:{origin.verdict['model']['digest']}",
        EVALUATION: json.dumps(evaluation_record(origin.verdict), separators=(",", ":"), sort_keys=True),
        f"{PREFIX}.verdict": f"{origin.verdict['verdict']}, {'clear' if origin.verdict['clear'] else 'not clear'}",
        **{f"{PREFIX}.metric.{name}": _measured(metric) for name, metric in metrics},
    }


def model_card(origin: Origin) -> str:
    """`/models/README.md`."""
    verdict = origin.verdict
    rows = [
        f"| {name} | {metric['base']:.3f} | {metric['tuned']:.3f} | "
        f"{metric['interval'][0]:.3f} to {metric['interval'][1]:.3f} |"
        for name, metric in verdict["metrics"].items()
    ]
    sure = "every interval lies above it" if verdict["clear"] else "an interval reaches below it"
    return "\n".join(
        [
            f"# {origin.name} {origin.version}",
            "",
            f"A language model, fine-tuned from `{shown_uri(origin.base_model)}` on data generated from a taxonomy.",
            "",
            "## Origin",
            "",
            f"- Taxonomy: `{shown_uri(origin.taxonomy)}` at commit `{origin.commit}`",
            f"- Base model: sha256 `{origin.base_digest}`",
            f"- Training data: sha256 `{origin.dataset_digest}`",
            "",
            "## Evaluation",
            "",
            f"On {verdict['n']} questions that were held out of training:",
            "",
            "| metric | base | tuned | 95% interval |",
            "|---|---|---|---|",
            *rows,
            "",
            f"The threshold was {verdict['threshold']}; {sure}.",
            "",
            "## Use",
            "",
            "```python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("/models")',
            'model = AutoModelForCausalLM.from_pretrained("/models")',
            "```",
            "",
        ]
    )


def _measured(metric: Mapping[str, Any]) -> str:
    low, high = metric["interval"]
    return f"{metric['tuned']:.4f} (95% interval {low:.4f} to {high:.4f}; base {metric['base']:.4f})"
