"""Every meter's readings on the run's clock, as well as clocks alone can tell: the step before the load marker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from tcabench.records import Alignment, Channel, Kind, PowerSample, Window
from tcabench.timeline.offset import (
    STATED_NS,
    Exchange,
    Jump,
    Lead,
    Wall,
    device_lead,
    exchanges,
    jump_words,
    limit_k2,
    wall_clock,
)
from tcabench.timeline.track import Track, by_host, by_stamp, interval_ns, read_error_ns
from tcabench.units import NS_PER_S, seconds

Read = tuple[Channel, Sequence[PowerSample]]
HOST, EXCHANGE, STATED, MARKER = "host clock", "clock exchange", "stated clock", "load marker"


@dataclass(slots=True)
class Placed:
    """One meter: its channels' readings, how they were aligned, what was wrong with its clock, and by how much (ns)
    the age of its readings may change between the marker and the window beyond drift (None: by drift alone)."""

    tracks: list[Track]
    alignment: Alignment
    faults: tuple[str, ...] = ()
    ageing_ns: int | None = None
    is_settled: bool = False


def place(
    channels: Sequence[Channel],
    samples: Mapping[str, Sequence[PowerSample]],
    events: Sequence[Mapping[str, Any]],
    window: Window,
) -> list[Placed]:
    """Every meter, in the order of its first channel. Its own stamps are used where its clock was compared with ours,
    or at least states wall time; a clock that jumped is not trusted at all."""
    wall, read = wall_clock(events), dict[str, list[Read]]()
    for channel in channels:
        read.setdefault(channel.meter, []).append((channel, samples[channel.id]))
    return [_meter(name, reads, exchanges(events, name), wall, window) for name, reads in read.items()]


def _meter(name: str, reads: Sequence[Read], compared: Sequence[Exchange], wall: Wall | None, window: Window) -> Placed:
    if not any(channel.has_own_clock for channel, _ in reads):
        return _by_host(name, reads, window)
    if not compared:
        if wall is None:
            return _untrusted(name, reads, window, "nothing tells how its clock stands to ours")
        return _stated(name, reads, wall)
    lead = device_lead(compared, window)
    if isinstance(lead, Jump):
        return _untrusted(name, reads, window, jump_words(lead, window))
    return _compared(name, reads, wall, lead, max(1, *(one.resolution_ns for one in compared)))


def _by_host(name: str, reads: Sequence[Read], window: Window) -> Placed:
    """A meter without a clock: each reading holds when we read it."""
    found = [by_host(channel, samples) for channel, samples in reads]
    ageing_ns = max((min(one.period_ns, one.update_ns or one.period_ns) for one in _of_energy(reads)), default=None)
    return Placed(found, Alignment(name, 0, read_error_ns(found, window), HOST), ageing_ns=ageing_ns)


def _untrusted(name: str, reads: Sequence[Read], window: Window, why: str) -> Placed:
    """A meter whose stamps cannot be used: each reading is up to an update older than the call that read it."""
    found = [by_host(channel, samples) for channel, samples in reads]
    old_ns = max(interval_ns(channel) for channel in _of_energy(reads) or [channel for channel, _ in reads])
    alignment = Alignment(name, 0, limit_k2(old_ns) + read_error_ns(found, window), HOST, why=why)
    return Placed(found, alignment, (f"{why}: its stamps are not used",), is_settled=True)


def _compared(name: str, reads: Sequence[Read], wall: Wall | None, lead: Lead, resolution_ns: int) -> Placed:
    """A meter whose clock was compared with ours. The shift that is told counts from the host's wall time."""
    cut_ns = _cut_ns(reads, resolution_ns)
    found = [_by_own(channel, samples, lead.ns - cut_ns // 2) for channel, samples in reads]
    shift_ns = lead.ns - cut_ns // 2 - wall.lead_ns if wall else 0
    limit_ns = lead.limit_ns + cut_ns // 2
    alignment = Alignment(name, shift_ns, limit_k2(limit_ns), EXCHANGE)
    return Placed(found, alignment, _ahead(found, limit_ns), ageing_ns=2 * lead.limit_ns)


def _stated(name: str, reads: Sequence[Read], wall: Wall) -> Placed:
    """A meter whose clock was never compared with ours: it is taken for wall time, good to 1 s."""
    cut_ns = _cut_ns(reads, NS_PER_S)
    found = [_by_own(channel, samples, wall.lead_ns - cut_ns // 2) for channel, samples in reads]
    limit_ns = STATED_NS + wall.limit_ns + abs(wall.step_ns) + cut_ns // 2
    why = f"its clock was never compared with ours: taken for wall time to +-{seconds(limit_ns):.1f} s"
    stepped = f"the host's wall clock was set by {seconds(wall.step_ns):+.1f} s while the run went on"
    faults = (*((stepped,) if wall.step_ns else ()), *_ahead(found, limit_ns))
    return Placed(found, Alignment(name, -(cut_ns // 2), limit_k2(limit_ns), STATED, why=why), faults)


def _of_energy(reads: Sequence[Read]) -> list[Channel]:
    """The channels that an energy may be taken from."""
    return [channel for channel, _ in reads if channel.kind in (Kind.POWER, Kind.ENERGY)]


def _cut_ns(reads: Sequence[Read], resolution_ns: int) -> int:
    """To multiples of what the stamps were cut down, in ns, `resolution_ns` at most: they say when a reading was taken
    up to so much too early."""
    stamps = (sample.device_ns or 0 for channel, samples in reads if channel.has_own_clock for sample in samples)
    return gcd(resolution_ns, *stamps)


def _by_own(channel: Channel, samples: Sequence[PowerSample], lead_ns: int) -> Track:
    return by_stamp(channel, samples, lead_ns) if channel.has_own_clock else by_host(channel, samples)


def _ahead(found: Sequence[Track], limit_ns: int) -> tuple[str, ...]:
    """A stamp that lies after the reading came is wrong: the clock was set, or runs ahead of what it says."""
    ahead_ns = max(track.ahead_ns for track in found)
    if ahead_ns <= limit_ns + STATED_NS:
        return ()
    return (f"its stamps lie up to {seconds(ahead_ns):.1f} s after the call that read them",)
