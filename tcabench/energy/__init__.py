"""Turns samples into the energy of the window, with its interval, its budget and the grade the evidence earns.

Standard library only, sums through `math.fsum`, no functions but sqrt: a verifier elsewhere gets the same digits.
"""

from collections.abc import Iterable, Sequence
from math import fsum

from tcabench.energy import budget
from tcabench.energy.boundary import BOUNDARIES, domains_inside
from tcabench.energy.domain import Metered, Track
from tcabench.energy.grade import grade
from tcabench.energy.series import by_channel
from tcabench.energy.trapezoid import peak_w
from tcabench.records import Channel, Component, Energy, NotMetered, PowerSample, Quantity, Value, Window
from tcabench.units import seconds

__all__ = ["BLOCKS", "BOUNDARIES", "integrate"]

BLOCKS = 12


def integrate(channels: Sequence[Channel], samples: Iterable[PowerSample], window: Window, boundary: str) -> Energy:
    """Energy in J over [window.start_ns, window.end_ns) of everything metered at `boundary`, and what follows from it.

    Each domain counts once: by its energy counter, read at its steps, where that can be used; else by the integral
    of its power. The total is NotMetered as soon as one domain inside is. `mean_power`, `peak_power`, `idle_power`
    are in W; `block_j` holds the energy of 12 equal blocks of the window (empty without a total).

    raises: UsageError for a boundary that does not exist.
    """
    series = by_channel(samples)
    tracks = [Track(domain, series) for domain in domains_inside(channels, boundary)]
    metered = (
        [track.over(window.start_ns, window.end_ns) for track in tracks] if window.start_ns < window.end_ns else []
    )
    window_s = seconds(window.end_ns - window.start_ns)
    total, components = _total(metered, window, _nothing_there(channels, boundary, window))
    earned, why = (None, total.why) if isinstance(total, NotMetered) else grade(metered, window_s)
    return Energy(
        boundary=boundary,
        total=total,
        mean_power=_mean_power(total, window_s),
        peak_power=_peak_power(tracks, window.start_ns, window.end_ns),
        idle_power=_idle_power(tracks, window),
        domains=tuple(one.record(window.start_ns, window.end_ns) for one in metered),
        components=components,
        grade=earned,
        grade_why=why,
        block_j=() if isinstance(total, NotMetered) else _blocks_j(metered, window),
    )


def _total(metered: Sequence[Metered], window: Window, why_none: str) -> tuple[Value, tuple[Component, ...]]:
    holes = [f"{one.domain}: {one.energy_j.why}" for one in metered if isinstance(one.energy_j, NotMetered)]
    if holes or not metered:
        return NotMetered("; ".join(holes) or why_none), ()
    parts = [(one.energy_j, one.components) for one in metered if not isinstance(one.energy_j, NotMetered)]
    components = budget.added(parts)
    return budget.quantity(fsum(energy_j for energy_j, _ in parts), components, "J"), components


def _nothing_there(channels: Sequence[Channel], boundary: str, window: Window) -> str:
    if window.start_ns >= window.end_ns:
        return "the window is empty"
    elsewhere = sorted({channel.boundary for channel in channels})
    return f"no meter at boundary {boundary!r}" + (f" (there are at: {', '.join(elsewhere)})" if elsewhere else "")


def _mean_power(total: Value, span_s: float) -> Value:
    if isinstance(total, NotMetered):
        return total
    return Quantity(total.value / span_s, total.low / span_s, total.high / span_s, "W")


def _idle_power(tracks: Sequence[Track], window: Window) -> Value:
    start_ns, end_ns = window.idle_start_ns, window.idle_end_ns
    if start_ns >= end_ns:
        return NotMetered("the run had no idle phase")
    total, _ = _total([track.over(start_ns, end_ns) for track in tracks], window, "no meter at this boundary")
    return _mean_power(total, seconds(end_ns - start_ns))


def _peak_power(tracks: Sequence[Track], start_ns: int, end_ns: int) -> Value:
    """The highest power any reading shows; what happened between two readings may have been higher."""
    powers = [track.power for track in tracks if track.power is not None]
    if not tracks or len(powers) < len(tracks):
        without = ", ".join(track.name for track in tracks if track.power is None)
        return NotMetered(f"no power readings of {without}" if without else "no meter at this boundary")
    peak = peak_w([power.series for power in powers], start_ns, end_ns)
    if peak is None:
        return NotMetered("no power reading within the window for at least one domain")
    low = min(power.channel.gain_low for power in powers)
    high = max(power.channel.gain_high for power in powers)
    return Quantity(peak, peak * low, peak * high, "W")


def _blocks_j(metered: Sequence[Metered], window: Window) -> tuple[float, ...]:
    span_ns = window.end_ns - window.start_ns
    ends_ns = [window.start_ns + span_ns * block // BLOCKS for block in range(BLOCKS + 1)]
    return tuple(
        fsum(one.source.part_j(ends_ns[block], ends_ns[block + 1]) for one in metered) for block in range(BLOCKS)
    )
