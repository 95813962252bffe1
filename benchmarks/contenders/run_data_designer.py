"""NeMo Data Designer: the chain of our flows as columns, one sample a record; what a judge refuses is skipped."""

import os

os.environ["NEMO_TELEMETRY_ENABLED"] = "false"  # read when it is imported

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner
from measure import job, measured
from rows import Record, knowledge_rows, skill_rows

GRADES = {5: "nothing to object to", 4: "a blemish", 3: "partly right", 2: "mostly wrong", 1: "wrong"}
PASSING = 4
TEXT = {"type": "string"}


def main() -> None:
    asked = job()
    pass_rate = asked["pass_rate"]
    work = (
        (_skills(asked), skill_rows(asked, samples_per_row=pass_rate**2)),
        (_knowledge(asked), knowledge_rows(asked, samples_per_row=pass_rate)),
    )
    designer = _designer(asked)
    measured(lambda: sum(_samples(designer, builder, rows) for builder, rows in work))


def _designer(asked: Record) -> DataDesigner:
    provider = dd.ModelProvider(name="benchmark", endpoint=asked["endpoint"], api_key="none")
    designer = DataDesigner(artifact_path=asked["folder"], model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
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


def _skills(asked: Record) -> dd.DataDesignerConfigBuilder:
    builder = _builder(asked)
    builder.add_column(
        _structured(
            "exercise",
            "The task: {{ task }}\nAn example: {{ example_question }}\nIts solution: {{ example_answer }}\n"
            "Write one new exercise for this task, about something else. This is batch {{ batch }}.",
            {"question": TEXT},
        )
    )
    builder.add_column(
        _judge(
            "exercise_verdict",
            "The task: {{ task }}\nAn exercise: {{ exercise.question }}\nDoes it belong to the task?",
        )
    )
    builder.add_column(
        dd.LLMTextColumnConfig(
            name="answer",
            model_alias="teacher",
            prompt="The task: {{ task }}\nAn example: {{ example_question }}\nIts solution: {{ example_answer }}\n"
            "Now solve this one: {{ exercise.question }}",
            skip=_unless_passed("exercise_verdict"),
        )
    )
    builder.add_column(
        _judge(
            "verdict",
            "The task: {{ task }}\nAn exercise: {{ exercise.question }}\nIts solution: {{ answer }}\nIs it right?",
        )
    )
    return builder


def _knowledge(asked: Record) -> dd.DataDesignerConfigBuilder:
    builder = _builder(asked)
    builder.add_column(
        _structured(
            "pair",
            "A text on {{ domain }}: {{ document }}\nAsked of another one: {{ icl_query_1 }} {{ icl_query_2 }}\n"
            "Write a question about the first text, and its answer. This is batch {{ batch }}.",
            {"question": TEXT, "answer": TEXT},
        )
    )
    builder.add_column(
        _judge(
            "verdict",
            "A text: {{ document }}\nA question: {{ pair.question }}\nIts answer: {{ pair.answer }}\nIs it true?",
        )
    )
    return builder


def _structured(name: str, prompt: str, properties: Record) -> dd.LLMStructuredColumnConfig:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return dd.LLMStructuredColumnConfig(name=name, model_alias="teacher", prompt=prompt, output_format=schema)


def _judge(name: str, prompt: str) -> dd.LLMJudgeColumnConfig:
    score = dd.Score(name="quality", description="how good it is", options=GRADES)
    return dd.LLMJudgeColumnConfig(name=name, model_alias="teacher", prompt=prompt, scores=[score])


def _unless_passed(verdict: str) -> dd.SkipConfig:
    return dd.SkipConfig(when=f"{{{{ {verdict}.quality.score < {PASSING} }}}}")


def _samples(designer: DataDesigner, builder: dd.DataDesignerConfigBuilder, rows: list[Record]) -> int:
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(rows)))
    made = designer.create(builder, num_records=len(rows)).load_dataset()
    return sum(_passed(verdict) for verdict in made["verdict"])


def _passed(verdict: object) -> bool:
    return isinstance(verdict, dict) and int(verdict["quality"]["score"]) >= PASSING


main()
