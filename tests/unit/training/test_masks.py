"""Which tokens of a chat are learned from, by real tokenizers and templates."""

import numpy as np
import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.training.masks import Encoder, supervised_tokens
from servers.tiny_model import write_tiny_model

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How many moons?"},
    {"role": "assistant", "content": "It has 12 moons."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]
# as many models have it: no generation marks, a line break after each turn, a system turn of its own making
PLAIN_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{- '<|system|>You are kind.<|end|>\\n' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(write_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def plain_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    folder = write_tiny_model(tmp_path / "plain")
    (folder / "chat_template.jinja").write_text(PLAIN_TEMPLATE)
    return AutoTokenizer.from_pretrained(folder)


def learned(tokenizer, messages, *, unmask=False):
    """The chat's text with what is learned in brackets."""
    encoder = Encoder(tokenizer)
    [(ids, supervised)] = encoder.encode([encoder.render({"messages": messages, "unmask": unmask})])
    runs, text = np.flatnonzero(np.diff(np.concatenate([[0], supervised, [0]]))), []
    for start, end in zip([0, *runs], [*runs, len(ids)], strict=True):
        piece = tokenizer.decode(ids[start:end])
        text.append(f"[{piece}]" if start < end and supervised[start] else piece)
    return "".join(text)


def test_the_assistants_words_are_learned_with_the_end_of_their_turn(tokenizer):
    assert learned(tokenizer, CHAT) == (
        "<|system|>Be brief.<|end|><|user|>How many moons?<|end|><|assistant|>[It has 12 moons.<|end|>]"
        "<|user|>Sure?<|end|><|assistant|>[Yes.<|end|>]"
    )


def test_the_mask_is_the_one_that_transformers_makes(tokenizer):
    encoder = Encoder(tokenizer)
    [(ids, supervised)] = encoder.encode([encoder.render({"messages": CHAT})])
    expected = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert ids.tolist() == expected["input_ids"]
    assert supervised.tolist() == [bool(flag) for flag in expected["assistant_masks"]]


def test_a_template_without_marks_gives_the_same_spans(plain_tokenizer):
    assert learned(plain_tokenizer, CHAT) == (
        "<|system|>Be brief.<|end|>\n<|user|>How many moons?<|end|>\n<|assistant|>[It has 12 moons.<|end|>]\n"
        "<|user|>Sure?<|end|>\n<|assistant|>[Yes.<|end|>]\n"
    )


def test_an_unmasked_sample_is_learned_whole_but_for_its_system_turn(tokenizer):
    assert learned(tokenizer, CHAT[:3], unmask=True) == (
        "<|system|>Be brief.<|end|><|user|>[How many moons?<|end|><|assistant|>It has 12 moons.<|end|>]"
    )


def test_a_system_turn_that_the_template_puts_in_is_not_learned(plain_tokenizer):
    assert learned(plain_tokenizer, CHAT[1:3], unmask=True) == (
        "<|system|>You are kind.<|end|>\n<|user|>[How many moons?<|end|>\n<|assistant|>It has 12 moons.<|end|>\n]"
    )


def test_a_template_that_rewrites_earlier_turns_is_refused_rather_than_guessed(plain_tokenizer):
    plain_tokenizer.chat_template = (
        "{%- for message in messages -%}{{- loop.revindex ~ message['content'] -}}{%- endfor -%}"
    )
    with pytest.raises(ValueError, match="differently once another follows"):
        Encoder(plain_tokenizer).render({"messages": CHAT})


def test_a_model_without_a_chat_template_is_refused(plain_tokenizer):
    plain_tokenizer.chat_template = None
    with pytest.raises(SourceError, match="no chat template"):
        Encoder(plain_tokenizer)


def test_tokens_that_touch_a_span_are_supervised_but_never_the_first():
    offsets = [(0, 2), (2, 4), (4, 6), (6, 6), (6, 9)]
    assert supervised_tokens(offsets, [(3, 6)]).tolist() == [False, True, True, False, False]
    assert supervised_tokens(offsets, [(0, 9)]).tolist() == [False, True, True, True, True]
