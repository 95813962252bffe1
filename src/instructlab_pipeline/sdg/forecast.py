"""What generation will come to, from the flows alone: said before the first call is made."""

from collections.abc import Iterable

from instructlab_pipeline.sdg.flows import Flow, built_in_flow


def calls_expected(items: Iterable[tuple[str, int]]) -> int:
    """About how many calls lead to these accepted items, given as (kind of leaf, number of items)."""
    return sum(calls_of_flow(built_in_flow(kind), number) for kind, number in items)


def calls_of_flow(flow: Flow, accepted: int) -> int:
    """A step is called once for each row that comes to it; rows multiply where a reply becomes several."""
    rows = accepted / flow.expected_yield / flow.items_per_call
    calls = 0.0
    for step in flow.steps:
        calls += rows
        rows *= step.count
    return round(calls)
