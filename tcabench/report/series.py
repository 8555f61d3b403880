"""Long series made short enough to draw: power envelopes with their gaps, and empirical distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tcabench.records import Channel, Kind, PowerSample, Role
from tcabench.units import seconds

POINTS = 600
ECDF_POINTS = 200
GAP_S, GAP_PERIODS = 1.0, 5  # the longest pause that the energy stage draws a line over
COUNTER_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without readings, in s of the chart's axis."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Envelope:
    """One power series over time: per bin the lowest, mean and highest reading in W.

    `breaks` are the indices before which a gap lies: the line is interrupted there.
    """

    label: str
    channel: str
    is_estimate: bool
    t_s: tuple[float, ...]
    low_w: tuple[float, ...]
    mean_w: tuple[float, ...]
    high_w: tuple[float, ...]
    breaks: tuple[int, ...]
    gaps: tuple[Gap, ...]
    readings: int


@dataclass(frozen=True, slots=True)
class Ecdf:
    """Sorted values in s and the share of all values at or below each; `count` values in all."""

    x_s: tuple[float, ...]
    share: tuple[float, ...]
    count: int


def drawn_channels(channels: Sequence[Channel]) -> list[Channel]:
    """One channel per domain: its power reading, else its energy counter (drawn as power between readings). What is
    only shown for information is not drawn."""
    chosen: dict[str, Channel] = {}
    for channel in (one for one in channels if one.role is not Role.INFO):
        known = chosen.get(channel.domain)
        is_better = channel.kind is Kind.POWER and known is not None and known.kind is Kind.ENERGY
        if is_better or (known is None and channel.kind in (Kind.POWER, Kind.ENERGY)):
            chosen[channel.domain] = channel
    return list(chosen.values())


def envelope(channel: Channel, samples: Sequence[PowerSample], zero_ns: int) -> Envelope | None:
    """The series of `channel` in at most `POINTS` bins, or None when it has no reading. Time counts from `zero_ns`."""
    rows = sorted((s.t_ns, s.value) for s in samples if s.channel == channel.id)
    t_s = [seconds(t - zero_ns) for t, _ in rows]
    value = [v for _, v in rows]
    gaps = find_gaps(t_s, channel.period_ns)
    if channel.kind is Kind.ENERGY:
        t_s, value = counter_power(t_s, value)
    if not t_s:
        return None
    return binned(channel, t_s, value, gaps)


def find_gaps(t_s: Sequence[float], period_ns: int) -> tuple[Gap, ...]:
    """Pauses longer than 1 s, or than five periods of a slower meter."""
    limit_s = max(GAP_S, GAP_PERIODS * seconds(period_ns))
    return tuple(Gap(a, b) for a, b in pairwise(t_s) if b - a > limit_s)


def counter_power(t_s: Sequence[float], energy_j: Sequence[float]) -> tuple[list[float], list[float]]:
    """Mean power in W between counter readings at least `COUNTER_STEP_S` apart, at the middle of each step."""
    mid_s: list[float] = []
    power_w: list[float] = []
    if not t_s:
        return mid_s, power_w
    t0, e0 = t_s[0], energy_j[0]
    for t, e in zip(t_s[1:], energy_j[1:], strict=True):
        if t - t0 >= COUNTER_STEP_S:
            mid_s.append((t + t0) / 2)
            power_w.append((e - e0) / (t - t0))
            t0, e0 = t, e
    return mid_s, power_w


def binned(channel: Channel, t_s: Sequence[float], value: Sequence[float], gaps: tuple[Gap, ...]) -> Envelope:
    """Bins of equal readings, never across a gap, each with its lowest, mean and highest value."""
    import pandas as pd

    frame = pd.DataFrame({"t": t_s, "w": value})
    frame["run"] = frame["t"].apply(lambda t: sum(t >= g.end_s for g in gaps))
    per_bin = max(1, -(-len(frame) // POINTS))
    frame["bin"] = frame.groupby("run").cumcount() // per_bin
    table = frame.groupby(["run", "bin"], as_index=False).agg(
        t=("t", "mean"), low=("w", "min"), mean=("w", "mean"), high=("w", "max")
    )
    runs = table["run"].tolist()
    return Envelope(
        label=channel.domain,
        channel=channel.id,
        is_estimate=channel.is_estimate,
        t_s=tuple(table["t"].tolist()),
        low_w=tuple(table["low"].tolist()),
        mean_w=tuple(table["mean"].tolist()),
        high_w=tuple(table["high"].tolist()),
        breaks=tuple(i for i in range(1, len(runs)) if runs[i] != runs[i - 1]),
        gaps=gaps,
        readings=len(frame),
    )


def ecdf(values_s: Sequence[float]) -> Ecdf | None:
    """The empirical distribution in at most `ECDF_POINTS` steps, first and last value kept; None without values."""
    import pandas as pd

    if not values_s:
        return None
    ordered = pd.Series(sorted(values_s))
    ranks = sorted({round(i * (len(ordered) - 1) / (ECDF_POINTS - 1)) for i in range(ECDF_POINTS)})
    picked = ordered.iloc[ranks]
    return Ecdf(
        x_s=tuple(picked.tolist()),
        share=tuple((rank + 1) / len(ordered) for rank in ranks),
        count=len(ordered),
    )
