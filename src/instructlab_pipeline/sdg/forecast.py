"""What generation will come to, from the flows alone: said before the first call is made."""

from collections.abc import Iterable

from instructlab_pipeline.sdg.flows import Flow, chosen_flows


def calls_expected(items: Iterable[tuple[str, int]], *, sdg_flows: str | None) -> int:
    """About how many calls lead to these accepted items, given as (kind of leaf, number of items)."""
    flows = chosen_flows(sdg_flows)
    return sum(calls_of_flow(flows[kind], number) for kind, number in items)


def calls_of_flow(flow: Flow, accepted: int) -> int:
    """A step is called once for each row that comes to it; rows multiply where a reply becomes several."""
    rows = accepted / flow.expected_yield / flow.fan_out / flow.steps[0].count
    calls = 0.0
    for step in flow.steps:
        calls += rows
        rows *= step.count
    return round(calls)
