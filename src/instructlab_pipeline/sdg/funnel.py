"""Where candidates went, in a few words."""

from collections import Counter
from collections.abc import Iterable

from instructlab_pipeline.sdg.rows import Rejected


def main_reasons(rejected: Iterable[Rejected], most: int = 3) -> str:
    counts = Counter(item.reason for item in rejected).most_common(most)
    return ", ".join(f"{count} {reason}" for reason, count in counts) or "the teacher wrote nothing"
