"""What a worker's memory is planned to hold, and that a model's files and its activations agree with the plan."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.training.hardware import gpu_memory, host_memory, processors
from instructlab_pipeline.training.launch import Processes, fit
from instructlab_pipeline.training.memory import Demand, Limits, choose, plan_memory, sentence
from instructlab_pipeline.training.shape import Shape, read_shape
from servers.tiny_model import write_tiny_model
from servers.training_inputs import sealed_model, training_job

GIB = 1 << 30
EIGHT_BILLION = Shape(
    parameters=8_030_261_248, layers=32, hidden=4096, inner=14336, queries=4096, keys=1024, vocabulary=128256
)
ROOMY = Limits(allowed=None, host=1 << 60, gpu=None)


def demand(**changes):
    return Demand(**({"workers": 1, "tokens": 16384, "longest": 2048, "cuda": False} | changes))


def test_states_are_16_bytes_a_parameter_over_the_workers():
    alone, shared = (plan_memory(EIGHT_BILLION, demand(workers=workers)) for workers in (1, 4))
    assert alone.states == 16 * EIGHT_BILLION.parameters
    assert shared.states == alone.states // 4
    assert (alone.loading, alone.gathered) == (4 * EIGHT_BILLION.parameters, 0)
    assert shared.loading == 5 * EIGHT_BILLION.parameters
    assert 0 < shared.gathered < shared.loading


def test_a_job_that_fits_is_left_as_it_is():
    assert choose(EIGHT_BILLION, demand(), ROOMY).demand == demand()


def test_on_a_cpu_micro_batches_shrink_until_they_fit():
    room = plan_memory(EIGHT_BILLION, demand(tokens=4096)).host
    plan = choose(EIGHT_BILLION, demand(), Limits(allowed=room, host=1 << 60, gpu=None))
    assert plan.demand == demand(tokens=4096)
    assert choose(EIGHT_BILLION, demand(), Limits(allowed=None, host=room, gpu=None)).demand == plan.demand


def test_on_a_gpu_layers_are_recomputed_before_micro_batches_shrink():
    on_gpu = demand(workers=8, cuda=True)
    limits = Limits(allowed=200 * GIB, host=200 * GIB, gpu=80 * GIB)
    assert plan_memory(EIGHT_BILLION, on_gpu).gpu > limits.gpu
    plan = choose(EIGHT_BILLION, on_gpu, limits)
    assert (plan.demand.recompute, plan.demand.tokens) == (True, 16384)
    assert "GPU memory" in sentence(plan, limits)
    assert "recomputed" in sentence(plan, limits)


def test_states_leave_the_gpu_last_of_all_and_go_to_the_host():
    alone = demand(cuda=True)
    limits = Limits(allowed=None, host=400 * GIB, gpu=80 * GIB)
    plan = choose(EIGHT_BILLION, alone, limits)
    assert plan.demand == demand(cuda=True, recompute=True, tokens=2048, offload=True)
    assert plan.fits(limits)
    assert plan.host > plan.states > plan.gpu
    assert "states in the host's memory" in sentence(plan, limits)


def test_adapters_need_4_bytes_a_parameter_and_little_more():
    everything, adapters = (plan_memory(EIGHT_BILLION, demand(lora_rank=rank)) for rank in (0, 16))
    assert 4 * EIGHT_BILLION.parameters < adapters.states < 0.27 * everything.states
    assert adapters.copy < 0.01 * everything.copy
    assert "adapters of rank 16" in sentence(adapters, ROOMY)


def test_moments_of_8_bits_save_6_bytes_a_parameter_of_states_and_of_checkpoints():
    wide, narrow = (plan_memory(EIGHT_BILLION, demand(moments_8bit=chosen)) for chosen in (False, True))
    for part in ("states", "copy"):
        saved = getattr(wide, part) - getattr(narrow, part)
        assert saved == pytest.approx(6 * EIGHT_BILLION.parameters, rel=0.01)
    assert "(10 bytes each)" in sentence(narrow, ROOMY)


@given(workers=st.integers(1, 16), tokens=st.integers(1, 64), cuda=st.booleans())
def test_each_smaller_demand_needs_no_more_and_keeps_room_for_the_longest_sample(workers, tokens, cuda):
    demands = list(demand(workers=workers, tokens=2048 * tokens, cuda=cuda).smaller())
    sizes = [plan_memory(EIGHT_BILLION, one).step for one in demands]
    assert sizes == sorted(sizes, reverse=True)
    assert demands[-1].tokens == 2048
    assert all(one.workers == workers for one in demands)


def test_the_shape_is_read_from_headers_and_counts_what_torch_counts(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = write_tiny_model(tmp_path, hidden=64)
    shape = read_shape(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert shape.parameters == model.num_parameters()
    assert shape.layer == sum(weight.numel() for weight in model.model.layers[0].parameters() if weight.ndim == 2)
    assert (shape.layers, shape.hidden, shape.queries, shape.keys) == (2, 64, 64, 32)


def test_of_a_mixture_those_experts_count_that_see_a_token():
    dense = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_attention_heads": 4,
        "vocab_size": 97,
    }
    granite = {"num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 16}
    qwen = {"num_experts": 8, "num_experts_per_tok": 4, "moe_intermediate_size": 10}
    inner = [Shape.of(dense | kind, parameters=1).inner for kind in ({}, granite, qwen)]
    assert inner == [32, 80, 40]


def test_a_model_that_does_not_say_its_shape_is_a_source_error(tmp_path):
    folder = write_tiny_model(tmp_path)
    (folder / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="num_attention_heads") as caught:
        read_shape(folder)
    assert "sdg_base_model" in caught.value.remedy


def test_the_estimate_of_activations_is_what_a_llama_keeps(tmp_path):
    folder = write_tiny_model(tmp_path, hidden=128, layers=6)
    planned = plan_memory(read_shape(folder), demand(tokens=1024)).activations
    assert bytes_kept(folder, tokens=1024) == pytest.approx(planned, rel=0.1)


@pytest.mark.filterwarnings("ignore:A saved_tensors_hooks context:FutureWarning")  # it only counts what is saved
def test_layers_that_are_recomputed_keep_what_comes_in(tmp_path):
    folder = write_tiny_model(tmp_path, hidden=128, layers=6)
    shape = read_shape(folder)
    planned = plan_memory(shape, demand(tokens=1024, recompute=True)).activations
    kept = bytes_kept(folder, tokens=1024, recompute=True)
    assert 4 * 1024 * shape.layers * shape.hidden <= kept < planned < bytes_kept(folder, tokens=1024)


def bytes_kept(folder, *, tokens, recompute=False):
    """Of all that one way forward keeps for the way back, weights and the head's gradient left out."""
    import torch

    from instructlab_pipeline.training.batch import make_batch
    from instructlab_pipeline.training.model import load_student

    student = load_student(folder, recompute=recompute)
    known = {weight.untyped_storage().data_ptr() for weight in student.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tuple(tensor.shape) != tuple(student.lm.lm_head.weight.shape):
            kept[storage.data_ptr()] = tensor
        return tensor

    ids = np.random.default_rng(0).integers(0, 256, 64, dtype=np.uint32)
    batch = make_batch([(ids, np.arange(64) > 0)] * (tokens // 64), scale=1.0, device=torch.device("cpu"))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        student(batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.fixture
def job(tmp_path):
    model = sealed_model(tmp_path / "model")
    return training_job(tmp_path, model, tmp_path / "phase_2.jsonl", micro_batch_tokens=1 << 20)


def test_the_plan_is_told_and_shrinks_the_job(job):
    seen = []
    smaller = fit(job, Processes(workers=1, cpus=1, memory=GIB), Events(listeners=[seen.append]))
    assert job.max_sample_tokens < smaller.micro_batch_tokens < job.micro_batch_tokens
    assert f"micro-batches of {smaller.micro_batch_tokens} tokens" in seen[0]["message"]
    assert "train_memory_per_worker allows 1 GiB" in seen[0]["message"]


def test_a_plan_that_cannot_fit_stops_before_any_worker_starts_and_says_what_to_change(job):
    with pytest.raises(UsageError, match="train_memory_per_worker allows 100 MiB") as caught:
        fit(job, Processes(workers=1, cpus=1, memory=100 << 20), Events())
    assert "train_num_workers" in caught.value.remedy
    assert not job.work.exists()


def test_a_machine_too_small_is_a_notice():
    limits = Limits(allowed=None, host=GIB, gpu=None)
    plan = choose(EIGHT_BILLION, demand(), limits)
    assert not plan.fits(limits)
    assert plan.is_allowed(limits)
    assert "this machine has 1 GiB" in sentence(plan, limits)


def test_the_machine_knows_its_memory(monkeypatch):
    assert host_memory() > 1 << 28
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_memory() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", "")
    assert gpu_memory() == []


@pytest.mark.parametrize(("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_a_containers_limit_counts_as_its_processors(tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert processors(tmp_path / "cpu.max") == (expected or len(os.sched_getaffinity(0)))
    assert processors(tmp_path / "no-container") == len(os.sched_getaffinity(0))
