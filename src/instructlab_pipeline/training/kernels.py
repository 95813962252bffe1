"""Fused kernels for GPUs, where they are installed (the extra `gpu`): norms, rotations and gates in one pass each.

Head and loss stay ours (loss.py), and compiled layers need none of it: the compiler fuses as well.
"""

from importlib.util import find_spec
from typing import Any


def use_liger(lm: Any) -> bool:
    """Put Liger's kernels into the layers of `lm`; says whether there are any for its family."""
    if find_spec("liger_kernel") is None:
        return False
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    apply = MODEL_TYPE_TO_APPLY_LIGER_FN.get(lm.config.model_type)
    if apply is None:
        return False
    apply(model=lm, cross_entropy=False, fused_linear_cross_entropy=False)
    return True
