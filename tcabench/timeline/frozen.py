"""Readings that stand still although what they measure moved. Such a reading is no reading: it leaves a gap.

A meter with a coarse digit shows one value for minutes under a steady load and is sound; the same stillness while
another meter moves, across the start of the load, or from a channel that otherwise never repeats itself, is not.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from statistics import median

from tcabench.records import Channel, Kind, Role, Window
from tcabench.timeline.track import Track, interval_ns, still_limit_ns
from tcabench.units import NS_PER_S, seconds

MOVED_REL, MOVED_DIGITS = 0.05, 3  # another meter moved by more than 5 %, and by more than 3 of this one's digits
PLANT_MOVED_REL = 0.2  # what follows the load slowly, or not at all
FINE_REL = 0.005  # a digit this small beside the value would show any noise
HABIT, HABIT_BESIDE = 0.9, 0.5  # share of updates that bring news: telling alone, telling beside a meter that moved
LONG_UPDATES, LONG_NS, PLANT_NS = 30, 15_000_000_000, 60_000_000_000
STEPS, FEWEST_STEPS = 10, 5  # a counter's pause in its usual steps
GUARD_NS = 2_000_000_000
RANK = {"chip": 0, "node": 1, "rack": 2, "facility": 3}
FOLLOWS = (Role.LOAD, Role.IT, Role.UPSTREAM, Role.SITE)
STATES = (Kind.POWER, Kind.HEAT, Kind.TEMPERATURE, Kind.FLOW)
COUNTERS = (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)


@dataclass(frozen=True, slots=True)
class Still:
    """Readings `first` to `last` of a track are the same; the next other one came at `end_ns` (the last reading where
    there is none). `why` says what tells that they are frozen."""

    first: int
    last: int
    start_ns: int
    end_ns: int
    why: str = ""


def frozen(track: Track, everyone: Sequence[Track], window: Window) -> list[Still]:
    """The stretches of a channel in which its readings were frozen."""
    channel = track.channel
    if channel.is_estimate or channel.role is Role.INFO or channel.kind not in (*STATES, *COUNTERS):
        return []
    found = []
    for still in _stills(track):
        why = _why_counter(track, still, everyone) if channel.kind in COUNTERS else _why(track, still, everyone, window)
        if why:
            found.append(Still(still.first, still.last, still.start_ns, still.end_ns, why))
    return found


def _stills(track: Track) -> Iterator[Still]:
    """Every stretch of equal readings that is longer than 10 updates and 5 s."""
    limit_ns, values, first = still_limit_ns(track.channel), track.values, 0
    for place in range(1, len(values) + 1):
        if place < len(values) and values[place] == values[first]:
            continue
        if track.t_ns[place - 1] - track.t_ns[first] > limit_ns:
            end_ns = track.t_ns[min(place, len(values) - 1)]
            yield Still(first, place - 1, track.t_ns[first], end_ns)
        first = place


def _why(track: Track, still: Still, everyone: Sequence[Track], window: Window) -> str:
    """What tells that a state (power, temperature, flow) is frozen; "" where nothing does."""
    channel, value = track.channel, track.samples[still.first].value
    is_fine, habit = channel.resolution <= FINE_REL * abs(value), _habit(track, still)
    is_loose = channel.kind is not Kind.POWER or channel.role not in FOLLOWS
    if is_loose and still.end_ns - still.start_ns <= max(PLANT_NS, LONG_UPDATES * interval_ns(channel)):
        return ""
    for other in everyone:
        beside = is_fine and habit >= HABIT_BESIDE
        if not _may_tell(other, track) or not (beside or (not is_loose and _holds(channel, other.channel))):
            continue
        if moved := _moved(other, track, still, PLANT_MOVED_REL if is_loose else MOVED_REL):
            return f"while {other.channel.id} moved by {100 * moved:.0f} %"
    if not is_loose and (crossed := _crossed(track, still, window, is_fine)):
        return crossed
    is_long = still.end_ns - still.start_ns > max(LONG_NS, LONG_UPDATES * interval_ns(channel))
    is_busy = still.end_ns > window.load_start_ns and still.start_ns < window.end_ns
    if is_fine and is_long and is_busy and habit >= HABIT:
        return f"though {100 * habit:.0f} % of its other updates brought a new value"
    return ""


def _may_tell(other: Track, track: Track) -> bool:
    """Whether another channel's power may show that this one should have moved."""
    return _is_load_power(other.channel) and other.channel.meter != track.channel.meter and len(other.t_ns) > 1


def _is_load_power(channel: Channel) -> bool:
    return channel.kind is Kind.POWER and channel.role is Role.LOAD and not channel.is_estimate


def _holds(outer: Channel, inner: Channel) -> bool:
    """Whether all that `inner` draws passes through `outer`, too, or is the same."""
    if inner.domain == outer.domain or inner.inside == outer.domain:
        return True
    return RANK.get(inner.boundary, 0) < RANK.get(outer.boundary, 0)


def _moved(other: Track, track: Track, still: Still, least_rel: float) -> float:
    """By how much of its mean another power moved during a stretch, looked at as coarsely as this channel would show
    it; 0.0 where that is too little to tell."""
    channel = track.channel
    slow_ns = 2 * max(interval_ns(channel), interval_ns(other.channel)) + channel.average_ns
    block_ns = max(NS_PER_S, slow_ns)
    whole = (track.t_ns[still.last] - slow_ns - still.start_ns) // block_ns
    means = _block_means(other, still.start_ns, block_ns, whole)
    if len(means) < 2 or (mean := fsum(means) / len(means)) <= 0:
        return 0.0
    swing = max(means) - min(means)
    digits = MOVED_DIGITS * channel.resolution if channel.kind is Kind.POWER else 0.0
    return swing / mean if swing > least_rel * mean and swing > digits else 0.0


def _crossed(track: Track, still: Still, window: Window, is_fine: bool) -> str:
    """Whether a load meter shows the same before and after the load began or ended. With a coarse digit that tells
    something only if it never showed anything else."""
    if track.channel.role is not Role.LOAD:
        return ""
    guard_ns = max(GUARD_NS, 3 * interval_ns(track.channel) + track.channel.average_ns)
    is_all = still.first == 0 and still.last == len(track.t_ns) - 1
    edges = ((window.load_start_ns, "before and under load"), (window.drain_end_ns, "under load and after it"))
    for edge_ns, name in edges:
        if (is_fine or is_all) and still.start_ns + guard_ns < edge_ns < track.t_ns[still.last] - guard_ns:
            return f"the same {name}"
    return ""


def _habit(track: Track, still: Still) -> float:
    """The share (0..1) of updates beside a stretch that bring a new value; 0.0 where there are too few to tell."""
    inside_ns = track.t_ns[still.last] - still.start_ns
    updates = (track.t_ns[-1] - track.t_ns[0] - inside_ns) / max(1, interval_ns(track.channel))
    if updates < LONG_UPDATES:
        return 0.0
    values = track.values
    news = sum(values[i] != values[i - 1] for i in range(1, len(values)) if not still.first < i <= still.last)
    return min(1.0, news / updates)


def _why_counter(track: Track, still: Still, everyone: Sequence[Track]) -> str:
    """What tells that a counter should have moved on; "" where nothing does."""
    channel = track.channel
    until_ns = track.t_ns[still.last] - 2 * interval_ns(channel)
    powers = [other for other in everyone if _is_load_power(other.channel) and _holds(channel, other.channel)]
    for other in powers if channel.kind is Kind.ENERGY and channel.role in FOLLOWS else []:
        if (energy_j := _energy_j(other, still.start_ns, until_ns)) > MOVED_DIGITS * channel.resolution > 0:
            return f"while {other.channel.id} shows {energy_j:.3g} J"
    usual_ns = _usual_step_ns(track, still)
    if usual_ns and still.end_ns - still.start_ns > STEPS * usual_ns:
        return f"though it usually steps every {seconds(usual_ns):.1f} s"
    return ""


def _usual_step_ns(track: Track, still: Still) -> int:
    """The median time between a counter's steps beside a stretch, in ns; 0 where there are too few."""
    values = track.values
    steps_ns = [track.t_ns[i] for i in range(1, len(values)) if values[i] != values[i - 1]]
    gaps_ns = [b - a for a, b in pairwise(steps_ns) if not a <= still.start_ns < b]
    return int(median(gaps_ns)) if len(gaps_ns) >= FEWEST_STEPS else 0


def _energy_j(power: Track, start_ns: int, end_ns: int) -> float:
    """Energy in J by the power readings within a span, each held to the next."""
    first, last = bisect_left(power.t_ns, start_ns), bisect_right(power.t_ns, end_ns)
    places = range(first, last - 1)
    return fsum(power.samples[i].value * (power.t_ns[i + 1] - power.t_ns[i]) for i in places) / NS_PER_S


def _block_means(track: Track, start_ns: int, block_ns: int, number: int) -> list[float]:
    """Mean values over so many blocks of time from `start_ns` on; blocks without a reading have none."""
    first, last = bisect_left(track.t_ns, start_ns), bisect_left(track.t_ns, start_ns + number * block_ns)
    blocks: dict[int, list[float]] = {}
    for place in range(first, last):
        blocks.setdefault((track.t_ns[place] - start_ns) // block_ns, []).append(track.samples[place].value)
    return [fsum(block) / len(block) for block in blocks.values()]
