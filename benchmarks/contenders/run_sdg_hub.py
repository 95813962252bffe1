"""sdg_hub: its own flow for documents, and flows of its own blocks for skills, since it ships none.

    python run_sdg_hub.py JOB [--together]

One flow after the other, as its door has them; or all in threads at once, each with as many requests as are allowed.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from measure import job, measured
from rows import Record, knowledge_rows, skill_rows
from sdg_hub import Flow, FlowRegistry

DOCUMENTS = "Document Based Knowledge Tuning Dataset Generation Flow"
OWN_FLOWS = Path(__file__).parent
ITEMS_PER_ROW = 5


def main() -> None:
    asked = job()
    generate = [_generation(path, rows, asked) for path, rows in _work(asked)]
    measured(partial(_together if "--together" in sys.argv else _in_turn, generate))


def _work(asked: Record) -> list[tuple[str, list[Record]]]:
    """Flows and their rows. Of a row's items, instructions and answers are judged in skills, pairs in knowledge."""
    passing = asked["pass_rate"]
    skills = [
        (
            str(OWN_FLOWS / f"sdg_hub_{kind}" / "flow.yaml"),
            skill_rows(asked, kind, samples_per_row=ITEMS_PER_ROW * passing**2),
        )
        for kind in ("grounded", "freeform")
    ]
    FlowRegistry.discover_flows()
    documents = FlowRegistry.get_flow_path(DOCUMENTS)
    return [*skills, (documents, knowledge_rows(asked, samples_per_row=ITEMS_PER_ROW * passing))]


def _generation(path: str, rows: list[Record], asked: Record) -> Callable[[], int]:
    flow = Flow.from_yaml(path)
    flow.set_model_config(model=f"openai/{asked['model']}", api_base=asked["endpoint"], api_key="none")
    return lambda: len(flow.generate(pd.DataFrame(rows), max_concurrency=asked["in_flight"]))


def _in_turn(generate: list[Callable[[], int]]) -> int:
    return sum(make() for make in generate)


def _together(generate: list[Callable[[], int]]) -> int:
    with ThreadPoolExecutor(len(generate)) as threads:
        return sum(threads.map(lambda make: make(), generate))


main()
