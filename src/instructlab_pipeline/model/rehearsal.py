"""What the stages that follow do first with a model: load its tokenizer, and lay out a chat."""

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

    with boundary(SourceError, f"loading the tokenizer of {uri}", remedy=REMEDY):
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
