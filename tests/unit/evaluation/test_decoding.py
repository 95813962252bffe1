"""Batches that shrink where memory runs out."""

import pytest

from instructlab_pipeline.errors import WorkerError
from instructlab_pipeline.evaluation.decoding import Prompt, in_batches

PROMPTS = [Prompt(key=str(length), ids=[1] * length) for length in (3, 9, 5, 7, 1, 8, 2)]


class Memory:
    """Work that needs as much memory as its batch has prompts, and fails beyond `room` as a CPU's allocator does."""

    def __init__(self, room: int):
        self.room = room
        self.tried = []

    def __call__(self, batch):
        self.tried.append(len(batch))
        if len(batch) > self.room:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
        yield {prompt.key: len(prompt.ids) for prompt in batch}


def lengths(work, size: int) -> list[int]:
    return [length for results in in_batches(work, PROMPTS, size) for length in results.values()]


def test_the_longest_prompts_come_first():
    assert lengths(Memory(9), 3) == [9, 8, 7, 5, 3, 2, 1]


def test_batches_stay_as_small_as_memory_once_made_them():
    memory = Memory(2)
    assert lengths(memory, 6) == [9, 8, 7, 5, 3, 2, 1]
    assert memory.tried == [6, 3, 1, 1, 1, 1, 1, 1, 1]


def test_what_a_batch_had_finished_when_memory_ran_out_is_not_done_again():
    tried = []

    def work(batch):
        tried.append([prompt.key for prompt in batch])
        yield {batch[1].key: len(batch[1].ids)} if len(batch) > 1 else {batch[0].key: len(batch[0].ids)}
        if len(batch) > 1:
            raise MemoryError

    assert lengths(work, 3) == [8, 9, 7, 5, 3, 2, 1]
    assert tried == [["9", "8", "7"], ["9"], ["7"], ["5"], ["3"], ["2"], ["1"]]


def test_a_gpus_complaint_is_understood_as_well():
    import torch

    def work(batch):
        if len(batch) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        yield {prompt.key: len(prompt.ids) for prompt in batch}

    assert lengths(work, 7) == [9, 8, 7, 5, 3, 2, 1]


@pytest.mark.parametrize(
    "complaint", [MemoryError(), RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")]
)
def test_other_libraries_complaints_are_understood_too(complaint):
    def work(batch):
        if len(batch) > 2:
            raise complaint
        yield {prompt.key: len(prompt.ids) for prompt in batch}

    assert lengths(work, 7) == [9, 8, 7, 5, 3, 2, 1]


def test_one_prompt_that_is_too_much_is_an_error_in_the_users_words():
    with pytest.raises(WorkerError, match="not enough memory for a single question of 9 tokens") as caught:
        lengths(Memory(0), 4)
    assert "more memory" in caught.value.remedy


def test_any_other_error_is_not_taken_for_a_lack_of_memory():
    def work(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        lengths(work, 4)
