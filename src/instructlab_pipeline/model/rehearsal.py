"""What the stages that follow do first with a model: load its tokenizer, lay out a chat, put its tensors together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import SourceError, boundary

CHAT = (
    {"role": "user", "content": "What colour is the sky?"},
    {"role": "assistant", "content": "It is blue."},
)
REMEDY = "point sdg_base_model at a model whose files belong together, as its authors published them"


def rehearse(uri: str, folder: Path, config: dict[str, Any]) -> None:
    """Do so once, before anything is spent.

    Raises:
        SourceError: the tokenizer does not load, its chat template fails, or it knows more tokens than the model.
    """
    from transformers import AutoTokenizer

    with boundary(SourceError, f"loading the tokenizer of {uri}", remedy=REMEDY), _silent():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        largest = max(tokenizer.get_vocab().values())
    with boundary(SourceError, f"laying out a chat with the chat template of {uri}", remedy=REMEDY):
        text = tokenizer.apply_chat_template(list(CHAT), tokenize=False)
    if not all(message["content"] in text for message in CHAT):
        raise SourceError(f"{uri}: the chat template leaves out what was said", remedy=REMEDY)
    vocab_size = config.get("vocab_size")
    if isinstance(vocab_size, int) and largest >= vocab_size:
        raise SourceError(
            f"{uri}: tokenizer.json numbers tokens up to {largest}, and config.json has a vocab_size of {vocab_size}",
            remedy=REMEDY,
        )


def assemble(uri: str, folder: Path) -> list[str]:
    """Put the model together as training will, but on torch's device `meta`: no number is read.

    Returns the tensors for which the model has no use.

    Raises:
        SourceError: it cannot be built, or tensors are missing or of other shapes, which would be filled at random.
    """
    from transformers import AutoModelForCausalLM

    try:
        with boundary(SourceError, f"putting together the tensors of {uri}", remedy=REMEDY), _silent():
            _, found = AutoModelForCausalLM.from_pretrained(
                folder, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
            )
    except SourceError as error:
        if not isinstance(error.__cause__, KeyError):
            raise
        message = f"{uri}: config.json asks for {error.__cause__}, which transformers does not know"
        raise SourceError(message, remedy=REMEDY) from error
    if missing := sorted(found["missing_keys"]):
        others = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise SourceError(f"{uri}: the weights lack what config.json describes: {missing[0]}{others}", remedy=REMEDY)
    for name, here, wanted in sorted(found["mismatched_keys"]):
        raise SourceError(
            f"{uri}: {name} is of the shape {list(here)}, and config.json describes {list(wanted)}", remedy=REMEDY
        )
    return sorted(found["unexpected_keys"])


@contextmanager
def _silent() -> Iterator[None]:
    """What transformers has to say we say ourselves."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
