"""A Llama small enough to build in a test: a complete Hugging Face folder, written without torch.

The same arguments give the same bytes.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
HEAD_SIZE = 16
INIT_SCALE = 0.05
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
CORPUS = (
    "What colour is the sky at noon? The sky at noon is blue.",
    "Which river flows past the old mill? The river Aller flows past the old mill.",
    "How many moons does the planet have? It has 12 moons, and 3 of them are round.",
    "Who wrote the letter? The keeper of the lighthouse wrote the letter in 1873.",
)


def write_tiny_model(
    folder: Path,
    *,
    vocab_size: int = 400,
    hidden: int = 32,
    layers: int = 2,
    seed: int = 0,
    corpus: Iterable[str] = CORPUS,
) -> Path:
    """Random weights, tied embeddings, and a byte-level BPE tokenizer trained on `corpus`.

    `hidden` is a multiple of 32. The vocabulary has at least the 256 bytes and the 5 special tokens, and can stay below
    `vocab_size` where the corpus is small; the embedding has `vocab_size` rows all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, vocab_size, corpus)
    config = _config(vocab_size, hidden, layers)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"eos_token_id": 1, "pad_token_id": 0, "do_sample": False})
    save_file(_weights(config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _write_tokenizer(folder: Path, vocab_size: int, corpus: Iterable[str]) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "eos_token": "<|end|>",
        "extra_special_tokens": list(SPECIAL[2:]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _config(vocab_size: int, hidden: int, layers: int) -> dict[str, object]:
    heads = hidden // HEAD_SIZE
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
        "dtype": "float32",
    }


def _weights(config: dict[str, object], seed: int) -> dict[str, np.ndarray]:
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    keys = int(config["num_key_value_heads"]) * HEAD_SIZE
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * INIT_SCALE).astype(np.float32)

    weights = {"model.embed_tokens.weight": normal(int(config["vocab_size"]), hidden)}
    for layer in range(int(config["num_hidden_layers"])):
        parts = {
            "self_attn.q_proj": normal(hidden, hidden),
            "self_attn.k_proj": normal(keys, hidden),
            "self_attn.v_proj": normal(keys, hidden),
            "self_attn.o_proj": normal(hidden, hidden),
            "mlp.gate_proj": normal(inner, hidden),
            "mlp.up_proj": normal(inner, hidden),
            "mlp.down_proj": normal(hidden, inner),
            "input_layernorm": np.ones(hidden, np.float32),
            "post_attention_layernorm": np.ones(hidden, np.float32),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": value for name, value in parts.items()}
    return weights | {"model.norm.weight": np.ones(hidden, np.float32)}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
