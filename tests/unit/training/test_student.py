"""The numbers of a step: packed samples are as good as one by one, in every family that training accepts."""

import json

import numpy as np
import pytest
import torch

from instructlab_pipeline.errors import SourceError, WorkerError
from instructlab_pipeline.training import attention
from instructlab_pipeline.training.batch import make_batch
from instructlab_pipeline.training.loss import CHUNK, Head, summed_loss
from instructlab_pipeline.training.model import PROVEN_FAMILIES, Student, check_isolation, load_student
from instructlab_pipeline.training.recompute import recompute_layers
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
PECULIAR = {
    "gemma": {"head_dim": 8},
    "gemma2": GEMMA_LIKE,
    "gemma3_text": GEMMA_LIKE,
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "attention_multiplier": 0.2},
    "mistral": {"sliding_window": 8},
    "phi3": {"sliding_window": 8},
    "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
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
        model.base_model.layers[0].mlp.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        loss = student(make_batch(samples(5, 17, 23, 2), scale=0.1, device=CPU))
        loss.backward()
        assert len(runs) == 1 + again
        results.append((loss, gradients(model)))
    (loss, kept), (same_loss, recomputed) = results
    assert torch.equal(loss, same_loss)
    assert torch.equal(kept, recomputed)


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
    assert "lm_head.weight" not in student.weights()
    assert student.lm.lm_head.weight is student.weights()["model.embed_tokens.weight"]
