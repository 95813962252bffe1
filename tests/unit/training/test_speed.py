"""How much work a step is, what a meter says of it, and which loss is a spike."""

import time
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.training.meter import Meter
from instructlab_pipeline.training.shape import read_shape
from instructlab_pipeline.training.speed import GPU_PEAKS, peak_flops, step_flops
from instructlab_pipeline.training.spike import IN_A_ROW, LEAST, REMEMBERED, RISE, is_spike, remembered
from instructlab_pipeline.training.world import World
from servers.tiny_model import write_tiny_model

CPU = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))


def test_the_formula_counts_the_matrix_products_that_torch_counts(tmp_path):
    """Torch counts attention on some CPUs only, and never a product that is added in place."""
    from torch.utils.flop_counter import FlopCounterMode

    from instructlab_pipeline.training.batch import make_batch
    from instructlab_pipeline.training.model import load_student

    folder = write_tiny_model(tmp_path, hidden=64)
    shape, length, supervised = read_shape(folder), 30, 19
    samples = [(np.arange(length, dtype=np.uint32), np.arange(length) >= length - supervised)] * 4
    student = load_student(folder)
    batch = make_batch(samples, scale=1.0, device=CPU.device)
    with FlopCounterMode(display=False) as counter:
        student(batch).backward()
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    added_in_place = 2 * shape.embedding * 4 * supervised  # the gradient of the head's weight
    attention = 3 * shape.layers * 2 * shape.queries * 4 * length**2
    formula = step_flops(shape, np.array([length] * 4), supervised=4 * supervised)
    assert formula == pytest.approx(counted + added_in_place + attention)


def test_a_cpu_is_measured_in_a_moment():
    started = time.process_time()
    peak = peak_flops(CPU.device)
    assert peak > 1e8
    assert time.process_time() - started < 10


def test_the_first_name_in_the_table_that_fits_is_the_right_one():
    def found(name):
        return next(known for known in GPU_PEAKS if known in name)

    assert found("NVIDIA H100 PCIe") == "H100 PCIe"
    assert found("NVIDIA H100 80GB HBM3") == "H100"
    assert found("NVIDIA L40S") == "L40S"
    assert found("NVIDIA A100-SXM4-80GB") == "A100"
    assert found("NVIDIA H200") == "H200"


def test_a_meter_tells_where_the_time_went_and_what_was_idle(tmp_path):
    meter = Meter(read_shape(write_tiny_model(tmp_path)), CPU, budget=100)
    with meter.part("of the step before"):
        pass
    meter.start()
    for _ in range(2):
        with meter.part("data"):
            time.sleep(0.01)
    figures = meter.read(np.array([50, 70]), supervised=100, micro_batches=2)
    assert 0.02 <= figures["data_s"] <= figures["seconds"]
    assert (figures["tokens"], figures["supervised_tokens"], figures["idle_share"]) == (120, 100, 0.4)
    assert figures["mfu"] > 0
    assert figures["memory_bytes"] > 1 << 26
    assert [name for name in figures if name.endswith("_s")] == ["data_s"]


def test_a_gpu_that_is_not_known_has_no_utilization(tmp_path):
    other = SimpleNamespace(leads=False, device=None, size=1, is_cuda=False)
    meter = Meter(read_shape(write_tiny_model(tmp_path)), other, budget=100)
    assert meter.read(np.array([50]), supervised=10, micro_batches=1)["mfu"] is None


def test_a_loss_that_leaps_and_stays_is_a_spike():
    steady = [1.0, 1.1, 0.9, 1.05] * 8
    high = [3.2] * (IN_A_ROW - 1)
    assert is_spike(3.2, [*steady, *high])
    assert not is_spike(1.0 + RISE, [*steady, *high])


def test_odd_steps_are_no_spike_and_hide_none():
    steady = [1.0, 1.1, 0.9, 1.05] * 8
    assert not is_spike(9.0, steady)
    assert not is_spike(9.0, [*steady, *[9.0] * (IN_A_ROW - 2)])
    assert is_spike(9.0, [9.0, 9.0, *steady, *[9.0] * (IN_A_ROW - 1)])


def test_noise_moves_the_bound():
    noisy = [1.0, 3.0, 0.5, 4.0, 2.0, 5.0] * 6
    assert not is_spike(9.0, [*noisy, *[9.0] * (IN_A_ROW - 1)])


@given(st.lists(st.floats(0, 20), max_size=LEAST - 1), st.floats(0, 1e6))
def test_nothing_is_a_spike_before_enough_is_known(recent, loss):
    assert not is_spike(loss, recent)


@given(st.lists(st.floats(0, 20), min_size=LEAST, max_size=REMEMBERED), st.data())
def test_a_loss_near_the_median_or_below_is_no_spike(recent, data):
    loss = data.draw(st.floats(0, median(recent[: 1 - IN_A_ROW]) + RISE))
    assert not is_spike(loss, recent)


def test_only_the_last_losses_are_remembered():
    recent = []
    for step in range(REMEMBERED + 5):
        recent = remembered(recent, float(step))
    assert recent == [float(step) for step in range(5, REMEMBERED + 5)]
