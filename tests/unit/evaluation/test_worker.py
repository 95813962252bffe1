"""What a worker refuses in the user's words before the model fails at it in its own."""

from types import SimpleNamespace

import pytest

from instructlab_pipeline.errors import WorkerError
from instructlab_pipeline.evaluation.decoding import Prompt
from instructlab_pipeline.evaluation.worker import require_positions

PROMPTS = [Prompt(key="open", ids=[1] * 50), Prompt(key="given", ids=[1] * 50, continuation=[1] * 12)]
TABLE = {"max_position_embeddings": 64}


def test_a_question_longer_than_a_models_table_of_positions_is_refused_with_both_numbers():
    require_positions(SimpleNamespace(**TABLE), PROMPTS, max_new_tokens=14)
    with pytest.raises(WorkerError, match=r"takes 65 tokens with its answer, and the model has 64 positions"):
        require_positions(SimpleNamespace(**TABLE), PROMPTS, max_new_tokens=15)


def test_rotary_positions_have_no_end_and_no_question_is_none_too_long():
    require_positions(SimpleNamespace(**TABLE, rope_parameters={"rope_type": "default"}), PROMPTS, max_new_tokens=99)
    require_positions(SimpleNamespace(), PROMPTS, max_new_tokens=99)
    require_positions(SimpleNamespace(**TABLE), [], max_new_tokens=99)
