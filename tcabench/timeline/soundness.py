"""How sound each channel's readings were over the window. What is unsound is left out; the gap it leaves stays one."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from tcabench.records import Channel, Health, Kind, Window
from tcabench.timeline.frozen import COUNTERS, Still
from tcabench.timeline.track import Track
from tcabench.units import seconds

JUDGED = (Kind.POWER, Kind.ENERGY, Kind.FLOW, Kind.TEMPERATURE, Kind.HEAT, Kind.HEAT_ENERGY, Kind.WATER)
BRIDGED, JITTER = 2, 10  # a pause of 2 updates counts as covered, give or take a tenth of one
MISSING_REL = 0.05  # fewer are told as a number only
SPIKE = 10
FAILED = ("meter_error", "meter_dead", "meter_stuck", "sampler_lost", "sampler_silent")


def judge(
    track: Track, stills: Sequence[Still], events: Sequence[Mapping[str, Any]], window: Window, faults: Sequence[str]
) -> Health | None:
    """The channel's health; its frozen readings, `stills`, are taken out of `track`. None for a kind that no energy
    rests on. `faults` are those of its meter's clock. Times in words count from the window's start."""
    came = _inside(track.t_ns, window)
    told = [*faults, *_faults(track, stills, events, window)]
    late = _late(track, window)
    expected = (window.end_ns - window.start_ns) // track.due_ns
    _leave_out(track, stills)
    missing_ns = _uncovered_ns(track, window)
    told += _missing(came, expected, late)
    if not _inside(track.t_ns, window):
        told.append("not one sound reading in the window")
    if track.channel.kind not in JUDGED:
        return None
    return Health(
        channel=track.channel.id,
        expected=expected,
        got=came,
        late=late,
        duplicates=_inside(track.twice_ns, window),
        frozen_s=seconds(sum(_clipped_ns(start, end, window) for start, end in _still_spans(track, stills))),
        missing_s=seconds(missing_ns),
        lost_rel=missing_ns / (window.end_ns - window.start_ns),
        faults=tuple(told),
    )


def _faults(
    track: Track, stills: Sequence[Still], events: Sequence[Mapping[str, Any]], window: Window
) -> Iterator[str]:
    """What is wrong with the readings themselves, in words."""
    channel = track.channel
    yield from _failures(channel, events, window)
    for still in stills:
        value = track.samples[still.first].value
        yield f"frozen at {value:g} {channel.unit} {_from_to(still.start_ns, still.end_ns, window)} {still.why}"
    for start_ns, end_ns in track.stopped:
        yield f"its stamps stood still {_from_to(start_ns, end_ns, window)}"
    if track.disordered:
        yield f"{track.disordered} reading(s) were stamped earlier than one before: left out"
    yield from _falls(track, window) if channel.kind in COUNTERS else _spikes(track, window)


def _concerns(event: Mapping[str, Any], channel: Channel) -> bool:
    """Whether what the sampler met is about the meter that feeds this channel: one name may open several meters, each
    with channels below its own name; a sampler that is lost takes all of its meters along."""
    names = (str(event.get("meter", "")), *map(str, event.get("meters", ())))
    return any((name and f"{channel.id}.".startswith(f"{name}.")) or name == channel.meter for name in names)


def _failures(channel: Channel, events: Sequence[Mapping[str, Any]], window: Window) -> Iterator[str]:
    """What the sampler met with this meter in the window."""
    met = [event for event in events if event["event"] in FAILED and _concerns(event, channel)]
    met = [event for event in met if window.start_ns <= event["t"] < window.end_ns]
    if failed := sum(event["event"] == "meter_error" for event in met):
        yield f"{failed} read(s) of it failed"
    for event in met:
        if event["event"] != "meter_error":
            yield f"it stopped answering at {seconds(event['t'] - window.start_ns):.1f} s"


def _falls(track: Track, window: Window) -> Iterator[str]:
    for place, (before, after) in enumerate(pairwise(track.values), 1):
        if after < before:
            at_s, unit = seconds(track.t_ns[place] - window.start_ns), track.channel.unit
            yield f"the counter fell from {before:.10g} to {after:.10g} {unit} at {at_s:.1f} s (reset or wrapped)"


def _spikes(track: Track, window: Window) -> Iterator[str]:
    """Single readings of power far above the rest: told, not removed."""
    first, last = bisect_left(track.t_ns, window.start_ns), bisect_left(track.t_ns, window.end_ns)
    values = track.values[first:last]
    if track.channel.kind is not Kind.POWER or len(values) < SPIKE:
        return
    high = SPIKE * median(values)
    for i in range(1, len(values) - 1):
        if values[i] > high > 0 and values[i - 1] <= high and values[i + 1] <= high:
            at_s, unit = seconds(track.t_ns[first + i] - window.start_ns), track.channel.unit
            yield f"one single reading of {values[i]:g} {unit} at {at_s:.1f} s: more than 10 times the median"


def _missing(came: int, expected: int, late: int) -> Iterator[str]:
    """Readings that should have come, where there are many."""
    if expected - came > max(1, MISSING_REL * expected):
        yield f"{expected - came} of {expected} readings are missing"
    if late > max(1, MISSING_REL * expected):
        yield f"{late} of {came} readings came late"


def _late(track: Track, window: Window) -> int:
    """Readings that took longer than their period, or came more than half an update after they were due."""
    every_ns, period_ns = track.due_ns, track.channel.period_ns
    return sum(
        sample.read_ns > period_ns > 0 or (place > 0 and 2 * (t_ns - track.t_ns[place - 1]) > 3 * every_ns)
        for place, (t_ns, sample) in enumerate(zip(track.t_ns, track.samples, strict=True))
        if window.start_ns <= t_ns < window.end_ns
    )


def _leave_out(track: Track, stills: Sequence[Still]) -> None:
    """Take out what was frozen: all of a stretch but its first reading, which was news."""
    out = {place for still in stills for place in range(still.first + 1, still.last + 1)}
    if out:
        track.t_ns = [t_ns for place, t_ns in enumerate(track.t_ns) if place not in out]
        track.samples = [sample for place, sample in enumerate(track.samples) if place not in out]


def _uncovered_ns(track: Track, window: Window) -> int:
    """How much of the window lies in pauses between sound readings that are longer than two updates."""
    limit_ns = _bridged_ns(track.channel)
    inside = track.t_ns[bisect_left(track.t_ns, window.start_ns) : bisect_left(track.t_ns, window.end_ns)]
    before, after = bisect_left(track.t_ns, window.start_ns), bisect_left(track.t_ns, window.end_ns)
    first_ns = track.t_ns[before - 1] if before else window.start_ns
    last_ns = track.t_ns[after] if after < len(track.t_ns) else window.end_ns
    pauses = [(a, b) for a, b in pairwise([first_ns, *inside, last_ns]) if b - a > limit_ns]
    return sum(_clipped_ns(start_ns, end_ns, window) for start_ns, end_ns in pauses)


def _bridged_ns(channel: Channel) -> int:
    every_ns = max(channel.period_ns, channel.update_ns)
    return BRIDGED * every_ns + every_ns // JITTER


def _still_spans(track: Track, stills: Sequence[Still]) -> list[tuple[int, int]]:
    return [*((still.start_ns, still.end_ns) for still in stills), *track.stopped]


def _clipped_ns(start_ns: int, end_ns: int, window: Window) -> int:
    return max(0, min(end_ns, window.end_ns) - max(start_ns, window.start_ns))


def _inside(t_ns: Sequence[int], window: Window) -> int:
    """How many of the rising instants lie in the window."""
    return bisect_left(t_ns, window.end_ns) - bisect_left(t_ns, window.start_ns)


def _from_to(start_ns: int, end_ns: int, window: Window) -> str:
    start_s, end_s = seconds(start_ns - window.start_ns), seconds(end_ns - window.start_ns)
    return f"for {end_s - start_s:.1f} s from {start_s:.1f} s on"
