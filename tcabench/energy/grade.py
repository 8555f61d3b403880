"""The evidence grade of an energy: computed from how it was metered, with the sentence that says why."""

from collections.abc import Sequence

from tcabench.energy.domain import LARGEST_RESIDUAL, Metered

SHORTEST_S = 30.0


def grade(metered: Sequence[Metered], window_s: float) -> tuple[str, str]:
    """("E0".."E2", why) of a total made of `metered`, all of which gave a number.

    E0: an estimate is in it. E1: polled power, or a counter that does not reach E2. E2: energy counters throughout,
    read at their steps, over at least 30 s, each within 2 % of the integral of power. Higher grades need meters
    beyond the device's own.
    """
    estimates = [one.source.channel.id for one in metered if one.source.channel.is_estimate]
    if estimates:
        return "E0", f"{', '.join(estimates)} is an estimate, not a measurement"
    for one in metered:
        if why := _below_e2(one):
            return "E1", why
    if window_s < SHORTEST_S:
        return "E1", f"energy counters over {window_s:.1f} s: E2 needs at least {SHORTEST_S:g} s"
    largest = max((abs(one.residual_rel) for one in metered if one.residual_rel is not None), default=0.0)
    return "E2", (
        f"energy counters read at their steps over {window_s:.1f} s, within {100 * largest:.2f} % of the integral of "
        f"power (limit {100 * LARGEST_RESIDUAL:g} %)"
    )


def _below_e2(one: Metered) -> str:
    """Why this domain cannot be E2; "" if it can."""
    if one.source.method != "counter":
        return f"{one.domain}: polled power" + (f", for {one.why_not_counter}" if one.why_not_counter else "")
    if one.residual_rel is None:
        return f"{one.domain}: an energy counter with no power readings to check it against"
    if abs(one.residual_rel) > LARGEST_RESIDUAL:
        return (
            f"{one.domain}: energy counter and integral of power differ by {100 * one.residual_rel:+.1f} %, "
            f"E2 allows {100 * LARGEST_RESIDUAL:g} %"
        )
    return ""
