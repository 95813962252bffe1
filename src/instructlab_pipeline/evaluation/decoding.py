"""What a model is made to say: greedy answers, and the likelihood of given ones, a batch at a time.

Prompts are padded on the left, so that answers begin, and given texts end, in the same column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from instructlab_pipeline.errors import WorkerError

if TYPE_CHECKING:
    from torch import Tensor

NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
Result = TypeVar("Result")
Ids = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Token ids, ready for the answer's first token, and those of a given answer where its likelihood is wanted."""

    key: str
    ids: Ids
    continuation: Ids = ()


def in_batches(
    work: Callable[[Sequence[Prompt]], Iterator[Mapping[str, Result]]], prompts: Sequence[Prompt], size: int
) -> Iterator[Mapping[str, Result]]:
    """What `work` makes of one batch after the other, as it comes, by the prompts' keys.

    The longest prompts come first, so that batches carry little padding. Where memory runs out, what the batch has not
    finished is tried again, and this batch and all later ones are half as large.

    Raises:
        WorkerError: there is no memory for one prompt alone.
    """
    waiting = sorted(prompts, key=lambda prompt: (-len(prompt.ids) - len(prompt.continuation), prompt.key))
    while waiting:
        batch, finished = waiting[:size], set[str]()
        try:
            for results in work(batch):
                finished |= results.keys()
                yield results
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise _too_large(batch[0]) from error
            size = len(batch) // 2
        waiting[: len(batch)] = [prompt for prompt in batch if prompt.key not in finished]


def greedy_answers(model: Any, ends: Ids, prompts: Sequence[Ids], max_new_tokens: int) -> Iterator[Mapping[int, Ids]]:
    """The likeliest next token, again and again, until one of `ends` or the limit; the end is left out.

    Each answer comes as soon as it is finished, by its prompt's place in `prompts`. Its row then leaves the batch, and
    its part of the KV cache with it: a batch costs what its answers cost, and not what its longest one would.
    """
    import torch
    from transformers import DynamicCache

    answers: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    ids_BT, mask_BT = _left_padded(prompts, model.device)  # noqa: N806 - shape suffix
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)  # noqa: N806 - as above
    cache = DynamicCache(config=model.config)
    for length in range(1, max_new_tokens + 1):
        tokens_B = _likeliest(model, ids_BT, mask_BT, positions_BT, cache)  # noqa: N806 - as above
        tokens = tokens_B.tolist()
        open_rows = [place for place, token in enumerate(tokens) if token not in ends]
        for place in open_rows:
            answers[rows[place]].append(tokens[place])
        if length == max_new_tokens:
            open_rows = []
        if len(open_rows) < len(rows):
            going_on = [rows[place] for place in open_rows]
            yield {row: answers[row] for row in sorted(set(rows).difference(going_on))}
            if not going_on:
                return
            kept = torch.tensor(open_rows, device=model.device)
            cache.batch_select_indices(kept)
            rows, tokens_B, mask_BT, positions_BT = going_on, tokens_B[kept], mask_BT[kept], positions_BT[kept]  # noqa: N806
        ids_BT = tokens_B[:, None]  # noqa: N806 - as above
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(rows), 1)], dim=1)  # noqa: N806 - as above
        positions_BT = positions_BT[:, -1:] + 1  # noqa: N806 - as above


def _likeliest(model: Any, ids_BT: "Tensor", mask_BT: "Tensor", positions_BT: "Tensor", cache: Any) -> "Tensor":  # noqa: N803
    """The next token of each row; `cache` holds all but `ids_BT` before, and these too afterwards."""
    import torch

    with torch.inference_mode():
        logits: Tensor = model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits.argmax(-1)


def log_likelihoods(model: Any, prompts: Sequence[Prompt]) -> list[float]:
    """The log-likelihood of each prompt's continuation, in nats, all its tokens together."""
    import torch

    ids_BT, mask_BT = _left_padded([[*prompt.ids, *prompt.continuation] for prompt in prompts], model.device)  # noqa: N806 - shape suffix
    longest = max(len(prompt.continuation) for prompt in prompts)
    with torch.inference_mode():
        logits_BTV = model(  # noqa: N806 - shape suffix
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=longest + 1,
        ).logits[:, :-1]
        log_BTV = logits_BTV.float().log_softmax(-1)  # noqa: N806 - shape suffix
        nats_BT = log_BTV.gather(2, ids_BT[:, -longest:, None])[..., 0].double()  # noqa: N806 - as above
        return [float(nats_BT[row, -len(prompt.continuation) :].sum()) for row, prompt in enumerate(prompts)]


def _left_padded(prompts: Sequence[Ids], device: Any) -> "tuple[Tensor, Tensor]":
    """Ids and the mask that tells them from padding, both [prompts, longest]."""
    import torch

    width = max(map(len, prompts))
    ids = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _is_out_of_memory(error: Exception) -> bool:
    """A GPU's allocator and Python's have classes of their own; other libraries have only their words."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in NO_MEMORY)


def _too_large(prompt: Prompt) -> WorkerError:
    return WorkerError(
        f"there is not enough memory for a single question of {len(prompt.ids) + len(prompt.continuation)} tokens",
        remedy="give this step more memory, or have the model served (eval_candidate_endpoint)",
    )
