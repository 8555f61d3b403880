"""What a device's time-stamp can be: an instant from 1973 to 2100. Anything else is a clock that was never set, or a
register that says "none" (all ones)."""

from tcabench.units import NS_PER_S

EARLIEST_NS, LATEST_NS = 100_000_000 * NS_PER_S, 4_102_444_800 * NS_PER_S


def is_possible(ns: float) -> bool:
    """Whether an instant (Unix ns) can be the time of a reading; False for NaN."""
    return EARLIEST_NS <= ns < LATEST_NS
