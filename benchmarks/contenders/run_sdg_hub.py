"""sdg_hub: its own flow for documents, and a flow of its own blocks for skills, since it ships none."""

from pathlib import Path

import pandas as pd
from measure import job, measured
from rows import knowledge_rows, skill_rows
from sdg_hub import Flow, FlowRegistry

DOCUMENTS = "Document Based Knowledge Tuning Dataset Generation Flow"
SKILLS = Path(__file__).with_name("sdg_hub_skills") / "flow.yaml"
QUESTIONS_PER_ROW = 5


def main() -> None:
    asked = job()
    pass_rate = asked["pass_rate"]
    work = (
        (str(SKILLS), skill_rows(asked, samples_per_row=QUESTIONS_PER_ROW * pass_rate**2)),
        (_documents(), knowledge_rows(asked, samples_per_row=QUESTIONS_PER_ROW * pass_rate)),
    )
    flows = [(_flow(path, asked), pd.DataFrame(rows)) for path, rows in work]
    measured(lambda: sum(len(flow.generate(rows, max_concurrency=asked["in_flight"])) for flow, rows in flows))


def _documents() -> str:
    FlowRegistry.discover_flows()
    return FlowRegistry.get_flow_path(DOCUMENTS)


def _flow(path: str, asked: dict) -> Flow:
    flow = Flow.from_yaml(path)
    flow.set_model_config(model=f"openai/{asked['model']}", api_base=asked["endpoint"], api_key="none")
    return flow


main()
