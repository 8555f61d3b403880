"""How far a meter's own clock is ahead of the run's: bounded by each time that both were read.

A round trip that began at `before` and ended at `after` and brought the device's time d, cut down to multiples of r,
leaves d - after <= lead < d + r - before, whatever the way there and back took (as NTP does it: RFC 5905, section 8).
Many coarse readings at different phases of the device's second bound it far better than one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from tcabench.records import Window
from tcabench.units import seconds

# Two clocks may drift apart by so much: 500 ppm, the largest slew of a disciplined clock (adjtimex(2)); crystals of
# network equipment keep within 100 ppm (IEEE 802.3, tolerance of the bit rate).
PACE = 2000  # 1 ns in so many
STATED_NS = 1_000_000_000  # what a clock is trusted to that nobody compared with ours
K2 = 2 / sqrt(3)  # expanded uncertainty (k = 2) of a limit without a distribution: rectangular, JCGM 100, 4.3.7


@dataclass(frozen=True, slots=True)
class Exchange:
    """One comparison: at `t_ns` of the run's clock the device's, which tells the time in steps of `resolution_ns`, was
    ahead by `low_ns` to `high_ns`."""

    t_ns: int
    low_ns: int
    high_ns: int
    resolution_ns: int


@dataclass(frozen=True, slots=True)
class Lead:
    """The device's clock is ahead of the run's by `ns`, known to +-`limit_ns` all through the window."""

    ns: int
    limit_ns: int


@dataclass(frozen=True, slots=True)
class Jump:
    """The device's clock was set by about `by_ns` shortly before `t_ns`."""

    t_ns: int
    by_ns: int


@dataclass(frozen=True, slots=True)
class Wall:
    """Wall time (Unix) is ahead of the run's clock by `lead_ns`, known to +-`limit_ns`; it was set by `step_ns` while
    the run went on (0: it was not, or only one anchor tells of it)."""

    lead_ns: int
    limit_ns: int
    step_ns: int


def limit_k2(limit_ns: int) -> int:
    """The expanded uncertainty (k = 2), in ns, of what is known to +-`limit_ns` and no better."""
    return round(limit_ns * K2)


def wall_clock(events: Sequence[Mapping[str, Any]]) -> Wall | None:
    """The host's wall clock against the run's, from the anchors at its start and end; None without one."""
    anchors = [event for event in events if event["event"] in ("wall_anchor", "wall_anchor_end")]
    if not anchors:
        return None
    first, last = anchors[0], anchors[-1]
    lead_ns, later_ns = (int(anchor["wall_ns"]) - int(anchor["t"]) for anchor in (first, last))
    known_ns = int(first["error_ns"]) + int(last["error_ns"])
    moved_ns = later_ns - lead_ns
    if abs(moved_ns) > known_ns + (last["t"] - first["t"]) // PACE:
        return Wall(lead_ns, known_ns, moved_ns)
    return Wall(lead_ns, known_ns + abs(moved_ns), 0)


def exchanges(events: Sequence[Mapping[str, Any]], meter: str) -> tuple[Exchange, ...]:
    """Every comparison of that meter's clock with the run's, in order of time."""
    found = [_exchange(event) for event in events if event["event"] == "clock_exchange" and event["meter"] == meter]
    return tuple(sorted(found, key=lambda one: one.t_ns))


def _exchange(event: Mapping[str, Any]) -> Exchange:
    before, after, device = int(event["before_ns"]), int(event["after_ns"]), int(event["device_ns"])
    resolution = int(event["resolution_ns"])
    return Exchange((before + after) // 2, device - after, device + resolution - before, resolution)


def device_lead(compared: Sequence[Exchange], window: Window) -> Lead | Jump:
    """How far the device's clock is ahead of the run's, the same over the whole window; or that it jumped.

    Each comparison bounds the lead at its own instant, and at every other within what drift allows; where those
    bounds contradict each other, the clock was set. A clock that is set by less than its resolution goes unnoticed, and
    old and new bounds together would seem to say much: so the first, second and last third of the comparisons each
    speak for themselves, and the lead is only known to be one of what they say.

    raises: ValueError without a comparison.
    """
    if (jump := first_jump(compared)) is not None:
        return jump
    instants = (window.start_ns, (window.start_ns + window.end_ns) // 2, window.end_ns)
    bounds = [_bounds(part, t_ns) for part, t_ns in zip(_thirds(compared), instants, strict=True)]
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return Lead((low + high) // 2, (high - low + 1) // 2)


def first_jump(compared: Sequence[Exchange]) -> Jump | None:
    """The first comparison that those before it rule out."""
    low, high, t_ns = compared[0].low_ns, compared[0].high_ns, compared[0].t_ns
    for one in compared[1:]:
        drift = (one.t_ns - t_ns) // PACE + 1
        low, high, t_ns = low - drift, high + drift, one.t_ns
        if one.low_ns > high or one.high_ns < low:
            return Jump(one.t_ns, (one.low_ns + one.high_ns - low - high) // 2)
        low, high = max(low, one.low_ns), min(high, one.high_ns)
    return None


def _thirds(compared: Sequence[Exchange]) -> list[Sequence[Exchange]]:
    """The comparisons in three parts; all of them three times where there are fewer than three."""
    n = len(compared)
    return [compared] * 3 if n < 3 else [compared[n * i // 3 : n * (i + 1) // 3] for i in range(3)]


def _bounds(compared: Sequence[Exchange], t_ns: int) -> tuple[int, int]:
    """The lead at an instant, as far as all comparisons together bound it: (low, high) in ns."""
    drifts = [abs(t_ns - one.t_ns) // PACE + 1 for one in compared]
    low = max(one.low_ns - drift for one, drift in zip(compared, drifts, strict=True))
    high = min(one.high_ns + drift for one, drift in zip(compared, drifts, strict=True))
    return low, high


def jump_words(jump: Jump, window: Window) -> str:
    """What happened to the clock, for a reader."""
    way = "forward" if jump.by_ns > 0 else "back"
    at_s = seconds(jump.t_ns - window.start_ns)
    when = f"{at_s:.1f} s into" if at_s >= 0 else f"{-at_s:.1f} s before"
    return f"its clock jumped {way} by {abs(seconds(jump.by_ns)):.1f} s, noticed {when} the window"
