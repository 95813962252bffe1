"""What `GET /statistics` tells."""

from collections import Counter
from typing import Any

from simulator.engine import Engine
from simulator.faults import Faults


def statistics(engine: Engine, faults: Faults, *, counts: Counter[str], seen: Counter[bytes]) -> dict[str, Any]:
    """`efficiency`: the least time in which the same work could have been done, over the time that it took.

    `window_s` runs from the first arrival to the last end, without the seconds of an outage that lie in it: nobody can
    use those. Tokens that were made for nobody count as work: the hardware was busy. `cached`: the share of the
    prompts' tokens that need not be read again, which are no work.
    """
    meter, hardware = engine.meter, engine.hardware
    window_s = meter.window_s - _outage_within(faults, meter.window_s)
    ideal_s = hardware.ideal_s(tokens_made=meter.tokens_made, tokens_read=meter.tokens_read)
    return {
        "window_s": round(window_s, 3),
        "ideal_s": round(ideal_s, 3),
        "efficiency": round(ideal_s / window_s, 4) if window_s else None,
        "utilisation": round(meter.slot_seconds / window_s / hardware.slots, 4) if window_s else None,
        "idle_s": round(window_s - meter.busy_s, 3),
        "tokens_made": round(meter.tokens_made),
        "tokens_wasted": round(meter.tokens_wasted),
        "tokens_read": round(meter.tokens_read),
        "cached": round(1 - meter.tokens_read / meter.prompt_tokens, 4) if meter.prompt_tokens else None,
        "most_active": meter.most_active,
        "longest_queue": meter.longest_queue,
        "active": engine.active,
        "waiting": len(engine.waiting),
        "counts": dict(counts),
        "repeated_prompts": sum(seen.values()) - len(seen),
        "timeline": [round(active, 1) for active in meter.timeline],
    }


def _outage_within(faults: Faults, window_s: float) -> float:
    start, end = faults.outage
    return max(0.0, min(end, window_s) - start)
