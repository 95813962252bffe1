"""NeMo Data Designer: the chains of our flows as columns, one sample a record; what a judge refuses is skipped.

All records are one dataset, so that none of the three flows has to wait for another one: a record skips the columns
of the other two.
"""

import os

os.environ["NEMO_TELEMETRY_ENABLED"] = "false"  # read when it is imported

import data_designer.config as dd
import pandas as pd
from data_designer.config.base import SingleColumnConfig
from data_designer.interface import DataDesigner
from measure import job, measured
from rows import Record, knowledge_rows, skill_rows

GRADES = {5: "nothing to object to", 4: "a blemish", 3: "partly right", 2: "mostly wrong", 1: "wrong"}
PASSING = 4
ONE_GROUP = 100_000  # records that are worked on together: all of them
TEXT = {"type": "string"}
FLOWS = ("grounded", "freeform", "knowledge")
TASK = "The task: {{ task }}"
EXAMPLE = "An example: {{ example_question }}\nIts solution: {{ example_answer }}"
FIELDS = (
    *("task", "example_context", "example_question", "example_answer", "batch"),
    *("document", "document_outline", "domain", "icl_document", "icl_query_1", "icl_query_2", "icl_query_3"),
)


def main() -> None:
    asked = job()
    passing = asked["pass_rate"]
    rows = [
        *_of_flow("grounded", skill_rows(asked, "grounded", samples_per_row=passing**2)),
        *_of_flow("freeform", skill_rows(asked, "freeform", samples_per_row=passing**2)),
        *_of_flow("knowledge", knowledge_rows(asked, samples_per_row=passing)),
    ]
    builder = _builder(asked)
    for column in (*_grounded(), *_freeform(), *_knowledge()):
        builder.add_column(column)
    designer = _designer(asked)
    measured(lambda: _num_samples(designer, builder, rows))


def _of_flow(flow: str, rows: list[Record]) -> list[Record]:
    return [{**dict.fromkeys(FIELDS, ""), **row, "flow": flow} for row in rows]


def _designer(asked: Record) -> DataDesigner:
    provider = dd.ModelProvider(name="benchmark", endpoint=asked["endpoint"], api_key="none")
    designer = DataDesigner(artifact_path=asked["folder"], model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None, buffer_size=ONE_GROUP))
    return designer


def _builder(asked: Record) -> dd.DataDesignerConfigBuilder:
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=asked["in_flight"], max_tokens=2048)
    model = dd.ModelConfig(
        alias="teacher",
        model=asked["model"],
        provider="benchmark",
        inference_parameters=parameters,
        skip_health_check=True,
    )
    return dd.DataDesignerConfigBuilder(model_configs=[model])


def _grounded() -> list[SingleColumnConfig]:
    example = f"{TASK}\nA text: {{{{ example_context }}}}\n{EXAMPLE}"
    return [
        _structured(
            "context",
            f"{example}\nWrite one new text that this task could be about. This is batch {{{{ batch }}}}.",
            {"context": TEXT},
            skip=_unless_flow("grounded"),
        ),
        _structured(
            "question",
            f"{example}\nAnother text: {{{{ context.context }}}}\nWrite one exercise on this last text.",
            {"question": TEXT},
        ),
        _judge(
            "question_verdict",
            f"{TASK}\nA text: {{{{ context.context }}}}\nAn exercise on it: {{{{ question.question }}}}\n"
            "Does it belong to the task?",
        ),
        _prose(
            "answer",
            f"{example}\nAnother text: {{{{ context.context }}}}\n"
            "Now solve this one on it: {{ question.question }}",
            skip=_unless_passed("question_verdict"),
        ),
        _judge(
            "grounded_verdict",
            f"{TASK}\nA text: {{{{ context.context }}}}\nAn exercise on it: {{{{ question.question }}}}\n"
            "Its solution: {{ answer }}\nIs it right?",
        ),
    ]


def _freeform() -> list[SingleColumnConfig]:
    return [
        _structured(
            "exercise",
            f"{TASK}\n{EXAMPLE}\n"
            "Write one new exercise for this task, about something else. This is batch {{ batch }}.",
            {"question": TEXT},
            skip=_unless_flow("freeform"),
        ),
        _judge("exercise_verdict", f"{TASK}\nAn exercise: {{{{ exercise.question }}}}\nDoes it belong to the task?"),
        _prose(
            "solution",
            f"{TASK}\n{EXAMPLE}\nNow solve this one: {{{{ exercise.question }}}}",
            skip=_unless_passed("exercise_verdict"),
        ),
        _judge(
            "freeform_verdict",
            f"{TASK}\nAn exercise: {{{{ exercise.question }}}}\nIts solution: {{{{ solution }}}}\nIs it right?",
        ),
    ]


def _knowledge() -> list[SingleColumnConfig]:
    return [
        _structured(
            "pair",
            "A text on {{ domain }}: {{ document }}\nAsked of another one: {{ icl_query_1 }} {{ icl_query_2 }}\n"
            "Write a question about the first text, and its answer. This is batch {{ batch }}.",
            {"question": TEXT, "answer": TEXT},
            skip=_unless_flow("knowledge"),
        ),
        _judge(
            "knowledge_verdict",
            "A text: {{ document }}\nA question: {{ pair.question }}\nIts answer: {{ pair.answer }}\nIs it true?",
        ),
    ]


def _structured(
    name: str, prompt: str, properties: Record, *, skip: dd.SkipConfig | None = None
) -> dd.LLMStructuredColumnConfig:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return dd.LLMStructuredColumnConfig(
        name=name, model_alias="teacher", prompt=prompt, output_format=schema, skip=skip
    )


def _prose(name: str, prompt: str, *, skip: dd.SkipConfig) -> dd.LLMTextColumnConfig:
    return dd.LLMTextColumnConfig(name=name, model_alias="teacher", prompt=prompt, skip=skip)


def _judge(name: str, prompt: str) -> dd.LLMJudgeColumnConfig:
    score = dd.Score(name="quality", description="how good it is", options=GRADES)
    return dd.LLMJudgeColumnConfig(name=name, model_alias="teacher", prompt=prompt, scores=[score])


def _unless_flow(flow: str) -> dd.SkipConfig:
    """What follows from a column that is skipped is skipped with it."""
    return dd.SkipConfig(when=f"{{{{ flow != '{flow}' }}}}")


def _unless_passed(verdict: str) -> dd.SkipConfig:
    return dd.SkipConfig(when=f"{{{{ {verdict}.quality.score < {PASSING} }}}}")


def _num_samples(designer: DataDesigner, builder: dd.DataDesignerConfigBuilder, rows: list[Record]) -> int:
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(rows)))
    made = designer.create(builder, num_records=len(rows)).load_dataset()
    return sum(_passed(verdict) for flow in FLOWS for verdict in made[f"{flow}_verdict"])


def _passed(verdict: object) -> bool:
    return isinstance(verdict, dict) and int(verdict["quality"]["score"]) >= PASSING


main()
