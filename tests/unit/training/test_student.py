"""The numbers of a step: packed samples are as good as one by one, in every family that training accepts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from instructlab_pipeline.errors import SourceError, WorkerError
from instructlab_pipeline.training import attention
from instructlab_pipeline.training.batch import make_batch
from instructlab_pipeline.training.export import export
from instructlab_pipeline.training.families import PROVEN_FAMILIES
from instructlab_pipeline.training.loss import CHUNK, Head, summed_loss
from instructlab_pipeline.training.model import (
    Student,
    adapt,
    beyond_positions,
    check_isolation,
    load_student,
)
from instructlab_pipeline.training.recompute import recompute_layers
from instructlab_pipeline.training.world import World
from servers.tiny_model import write_tiny_model

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GEMMA_LIKE = {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
PECULIAR = {
    "gemma": {"head_dim": 8},
    "gemma2": GEMMA_LIKE,
    "gemma3_text": GEMMA_LIKE,
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "attention_multiplier": 0.2},
    "granitemoe": {**EXPERTS, "logits_scaling": 3.0, "embedding_multiplier": 2.0},
    "granitemoeshared": {**EXPERTS, "shared_intermediate_size": 16},
    "mistral": {"sliding_window": 8},
    "mixtral": EXPERTS,
    "olmo3": {"sliding_window": 8},
    "phi3": {"sliding_window": 8},
    "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}


def samples(*lengths):
    random = np.random.default_rng(0)
    return [(random.integers(3, 97, length, dtype=np.uint32), np.arange(length) > 0) for length in lengths]


def family_model(family, implementation):
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**SMALL, **PECULIAR.get(family, {}))
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def gradients(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


@pytest.mark.parametrize("family", PROVEN_FAMILIES)
def test_packed_samples_give_the_loss_and_gradients_of_one_by_one(family):
    lengths = (5, 17, 23, 2)
    scale = 1 / (sum(lengths) - len(lengths))
    ours, theirs = family_model(family, attention.register()), family_model(family, "eager")
    loss = Student(ours, {})(make_batch(samples(*lengths), scale=scale, device=CPU))
    loss.backward()
    expected = 0.0
    for ids, _ in samples(*lengths):
        inputs = torch.from_numpy(ids.astype(np.int64))[None]
        logits = theirs(input_ids=inputs, use_cache=False).logits[0, :-1]
        one = torch.nn.functional.cross_entropy(logits, inputs[0, 1:], reduction="sum") * scale
        one.backward()
        expected += one.item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    difference = (gradients(ours) - gradients(theirs)).abs().max() / gradients(theirs).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("family", PROVEN_FAMILIES)
def test_layers_that_are_recomputed_give_the_same_gradients_bit_by_bit(family):
    results = []
    for again in (False, True):
        model = family_model(family, attention.register())
        if again:
            recompute_layers(model)
        student = Student(model, {}).train()
        runs = []
        model.base_model.layers[0].self_attn.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        loss = student(make_batch(samples(5, 17, 23, 2), scale=0.1, device=CPU))
        loss.backward()
        assert len(runs) == 1 + again
        results.append((loss, gradients(model)))
    (loss, kept), (same_loss, recomputed) = results
    assert torch.equal(loss, same_loss)
    assert torch.equal(kept, recomputed)


@pytest.mark.filterwarnings("ignore")  # uncompiled, FlexAttention warns that it is slow
@pytest.mark.parametrize("window", [None, 8])
def test_flex_attention_sees_what_attention_sample_by_sample_sees(window):
    from torch.nn.attention.flex_attention import flex_attention

    torch.manual_seed(0)
    lengths = [5, 17, 23, 2]
    query, key, value = (torch.randn(1, heads, sum(lengths), 8) for heads in (4, 2, 2))
    form = attention.Form(scaling=0.3, window=window, softcap=5.0)
    layout = attention.Layout(lengths, None)
    expected, _ = attention.packed_attention(
        None, query, key, value, None, layout=layout, scaling=0.3, sliding_window=window, softcap=5.0
    )
    at_once = attention.flexible(query, key, value, form, layout, kernel=flex_attention)
    torch.testing.assert_close(at_once, expected, rtol=1e-5, atol=1e-5)
    assert list(layout.block_masks) == [window]


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.slow
def test_compiled_layers_give_the_same_loss_and_gradients_and_serve_every_pack():
    from torch._dynamo.utils import counters

    packs = [(5, 17, 23, 2), (9, 30), (4, 4, 4, 4, 4), (40,)]
    results = []
    for compiled in (False, True):
        student = Student(family_model("llama", attention.register()), {})
        student = adapt(student, SimpleNamespace(lora_rank=0, compile=compiled))
        losses = []
        for lengths in packs:
            loss = student(make_batch(samples(*lengths), scale=0.1, device=CPU))
            loss.backward()
            losses.append(loss.item())
            counters.clear() if lengths is packs[0] else None
        results.append((losses, gradients(student.lm)))
    assert counters["frames"]["total"] == 0  # nothing was compiled after the first pack
    (plain, plain_gradients), (fused, fused_gradients) = results
    assert fused == pytest.approx(plain, rel=1e-6)
    assert (fused_gradients - plain_gradients).abs().max() / plain_gradients.abs().max() < 1e-5


@pytest.mark.parametrize("family", ["llama", "granitemoe", "qwen3_moe"])
def test_adapters_change_nothing_at_first_learn_alone_and_are_merged_into_what_is_exported(family, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = saved_family(family, tmp_path / "base")
    batch = make_batch(samples(5, 17, 23, 2), scale=0.02, device=CPU)
    base = load_student(folder)
    student = adapt(load_student(folder), SimpleNamespace(lora_rank=2, seed=1, compile=False))
    assert student(batch).item() == base(batch).item()
    optimizer = torch.optim.SGD(student.learning(), lr=10.0)
    assert sum(weight.numel() for weight in student.learning()) < 0.2 * sum(w.numel() for w in base.learning())
    for _ in range(3):
        student(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    export(student, folder, tmp_path / "tuned", World(rank=0, size=1, local_rank=0, device=CPU))
    tuned = load_student(tmp_path / "tuned")
    assert tuned(batch).item() == pytest.approx(student(batch).item(), rel=1e-3)
    assert tuned(batch).item() < 0.995 * base(batch).item()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned", dtype=torch.float32)
    assert sorted(loaded.state_dict()) == sorted(base.lm.state_dict())


@pytest.mark.parametrize("family", ["llama", "granitemoe", "mixtral", "qwen3_moe"])
def test_an_untouched_model_is_exported_as_the_tensors_that_it_was_loaded_from(family, tmp_path):
    from safetensors.torch import load_file

    folder = saved_family(family, tmp_path / "base")
    alone = World(rank=0, size=1, local_rank=0, device=CPU)
    export(load_student(folder), folder, tmp_path / "copy", alone, shard_bytes=20_000)
    index = json.loads((tmp_path / "copy" / "model.safetensors.index.json").read_text())
    copied = {}
    for name in sorted(set(index["weight_map"].values())):
        copied |= load_file(tmp_path / "copy" / name)
    expected = load_file(folder / "model.safetensors")
    assert sorted(copied) == sorted(index["weight_map"]) == sorted(expected)
    assert all(torch.equal(copied[name], expected[name]) for name in expected)
    assert copied["model.norm.weight"].dtype == torch.bfloat16


def saved_family(family, folder):
    family_model(family, "eager").to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_the_loss_in_chunks_is_the_plain_cross_entropy():
    torch.manual_seed(0)
    head = Head(divisor=2.0, softcap=5.0)
    hidden, weight = torch.randn(CHUNK + 100, 8, dtype=torch.float64), torch.randn(50, 8, dtype=torch.float64)
    targets = torch.randint(0, 50, (CHUNK + 100,))
    results = []
    for in_chunks in (True, False):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        if in_chunks:
            loss = summed_loss(h, w, targets, head=head, scale=0.01)
        else:
            logits = torch.tanh((h @ w.t()) / 2.0 / 5.0) * 5.0
            loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") * 0.01
        loss.backward()
        results.append((loss.item(), h.grad, w.grad))
    (ours, ours_h, ours_w), (plain, plain_h, plain_w) = results
    assert ours == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(ours_h, plain_h, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours_w, plain_w, rtol=1e-4, atol=1e-6)


def test_targets_stay_within_their_sample():
    batch = make_batch(samples(3, 4), scale=1.0, device=CPU)
    assert batch.before.tolist() == [0, 1, 3, 4, 5]
    assert batch.targets.tolist() == batch.ids[0][[1, 2, 4, 5, 6]].tolist()
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3]]


class WithCache(Student):
    """What transformers does by default: with a cache, packed samples see each other, in silence."""

    def forward(self, batch):
        hidden = self.lm.base_model(input_ids=batch.ids, position_ids=batch.positions, use_cache=True)
        weight = self.lm.get_output_embeddings().weight
        return summed_loss(
            hidden.last_hidden_state[0][batch.before], weight, batch.targets, head=self.head, scale=batch.scale
        )


def test_a_leak_between_packed_samples_stops_the_run():
    with pytest.raises(WorkerError, match="packed samples see each other"):
        check_isolation(WithCache(family_model("llama", "sdpa"), {}), CPU)


def test_our_own_attention_passes_the_check_for_leaks():
    check_isolation(Student(family_model("llama", attention.register()), {}), CPU)


def test_a_family_that_is_not_proven_is_refused_by_name(tmp_path):
    folder = write_tiny_model(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "gpt_neox"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError, match="gpt_neox") as caught:
        load_student(folder)
    assert "llama" in caught.value.remedy


@pytest.mark.parametrize(("rotation", "limit"), [("longrope", 16), ("dynamic", 64)])
def test_a_rotation_that_depends_on_the_longest_sample_of_a_pack_is_kept_to_lengths_where_it_does_not(
    rotation, limit, tmp_path
):
    write_tiny_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    told = {"rope_type": rotation, "rope_theta": 1e4, "factor": 2.0}
    if rotation == "longrope":
        told |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": 16}
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64, "rope_parameters": told}))
    load_student(tmp_path, longest=limit)
    with pytest.raises(SourceError, match=f"more than {limit} tokens") as raised:
        load_student(tmp_path, longest=limit + 1)
    assert f"train_sequence_length to {limit}" in raised.value.remedy


def test_samples_longer_than_the_model_was_made_for_are_told_and_not_refused(tmp_path):
    folder = write_tiny_model(tmp_path)
    assert beyond_positions(folder, longest=2048) is None
    assert "up to 2049 tokens, and the model was made for 2048" in str(beyond_positions(folder, longest=2049))


def test_a_weight_that_its_files_lack_is_named_instead_of_made_up(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = write_tiny_model(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"model\.norm\.weight"):
        load_student(folder)


def test_dropout_is_off_and_tied_weights_appear_once(tmp_path):
    student = load_student(write_tiny_model(tmp_path))
    assert student.training
    assert "lm_head.weight" not in student.stored
    assert student.lm.lm_head.weight is student.lm.model.embed_tokens.weight
