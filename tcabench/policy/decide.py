"""How much more measuring would decide an open clause, if any amount would."""

from math import sqrt

from tcabench.policy.checks.check import Facts
from tcabench.policy.limits import Limit, is_energy, plain
from tcabench.records import Quantity

NOT_BY_TIME = ("power_peak", "power_idle", "output_tokens", "window_s", "token_count_difference")
BETTER_METER = "No amount of measuring would decide it, a better meter might."


def decide(metric: str, value: Quantity, limit: Limit, facts: Facts) -> tuple[float | None, str]:
    """Further measuring time in s and the sentence that goes with it; (None, why) if time would not decide.

    The half-width towards the limit, h, is made of a part s that shrinks as 1/sqrt(time) and a rest r that does not:
    h^2 = r^2 + s^2. With the value where it is, the interval leaves the limit, at relative distance m, once the time
    has grown by s^2 / (m^2 - r^2). s is the run's `stat_rel` for figures of energy, and all of h for latencies and
    rates, which no meter's gain enters.
    """
    window_s = facts.get("window_s")
    if metric in NOT_BY_TIME or not window_s:
        return None, "A longer run would not decide it." if metric in NOT_BY_TIME else "There is no window to extend."
    if not value.value:
        return _from_zero(value, limit, float(window_s))
    if value.open_above and limit.value >= value.value:
        return None, "Too few values to bound it from above; a longer run has more."
    towards = value.value - value.low if limit.value <= value.value else value.high - value.value
    half, margin = towards / abs(value.value), abs(limit.value - value.value) / abs(value.value)
    known = facts.get("stat_rel") if is_energy(value.unit, metric) else half
    if known is None:
        return None, "The spread within the run is not known, so neither is the time that would decide it."
    spread = min(float(known), half)
    rest = sqrt(half * half - spread * spread)
    if margin <= rest:
        return None, BETTER_METER if rest else "The value lies on the limit itself; no time would decide it."
    growth = spread * spread / (margin * margin - rest * rest)
    extra_s = max(0.0, (growth - 1) * float(window_s))
    return extra_s, f"About {plain(extra_s)} s more of measuring would decide it, if the value stays where it is."


def _from_zero(value: Quantity, limit: Limit, window_s: float) -> tuple[float | None, str]:
    """The same for a value of 0, such as an error rate without an error: its interval, [0, h], shrinks as 1/time."""
    if not 0 < limit.value < value.high:
        return None, "The value lies on the limit itself; no time would decide it."
    extra_s = (value.high / limit.value - 1) * window_s
    return extra_s, f"About {plain(extra_s)} s more of measuring would decide it, if the value stays 0."
