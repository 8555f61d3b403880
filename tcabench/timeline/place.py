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
from tcabench.timeline.track import Track, ages_ns, by_host, by_stamp, interval_ns, is_live, read_error_ns
from tcabench.units import NS_PER_S, seconds

Read = tuple[Channel, Sequence[PowerSample]]
HOST, EXCHANGE, STATED, MARKER = "host clock", "clock exchange", "stated clock", "load marker"
UNCHECKED = "its readings did not come while the run went on, so nothing shows whether that clock is right"


@dataclass(slots=True)
class Placed:
    """One meter: its channels' readings, how they were aligned, what was wrong with its clock, and by how much (ns)
    the age of its readings may change between the marker and the window beyond drift (None: by drift alone).

    `instead`: the same readings without their stamps, where these cannot be right when held against our reads."""

    tracks: list[Track]
    alignment: Alignment
    faults: tuple[str, ...] = ()
    ageing_ns: int | None = None
    is_settled: bool = False
    instead: "Placed | None" = None


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
        return _stated(name, reads, wall, window)
    lead = device_lead(compared, window)
    if isinstance(lead, Jump):
        return _untrusted(name, reads, window, jump_words(lead, window))
    return _compared(name, reads, wall, lead, max(1, *(one.resolution_ns for one in compared)), window)


def trusted(meter: Placed) -> Placed:
    """That meter, or what is left of it without its stamps where these cannot be right and no load marker timed it."""
    return meter.instead if meter.instead and meter.alignment.method != MARKER else meter


def _by_host(name: str, reads: Sequence[Read], window: Window) -> Placed:
    """A meter without a clock: each reading holds when we read it."""
    found = [by_host(channel, samples) for channel, samples in reads]
    ageing_ns = max((min(one.period_ns, one.update_ns or one.period_ns) for one in _of_energy(reads)), default=None)
    return Placed(found, Alignment(name, 0, read_error_ns(found, window), HOST), ageing_ns=ageing_ns)


def _untrusted(name: str, reads: Sequence[Read], window: Window, why: str, behind_ns: int = 0) -> Placed:
    """A meter whose stamps cannot be used: each reading is up to an update older than the call that read it, or up to
    `behind_ns` where its stamps say so: a clock that is slow looks like readings that are late."""
    found = [by_host(channel, samples) for channel, samples in reads]
    old_ns = max(behind_ns, *(interval_ns(channel) for channel in _of_energy(reads) or [one for one, _ in reads]))
    alignment = Alignment(name, 0, limit_k2(old_ns) + read_error_ns(found, window), HOST, why=why)
    return Placed(found, alignment, (f"{why}: its stamps are not used",), is_settled=True)


def _compared(
    name: str, reads: Sequence[Read], wall: Wall | None, lead: Lead, resolution_ns: int, window: Window
) -> Placed:
    """A meter whose clock was compared with ours. The shift that is told counts from the host's wall time."""
    cut_ns = _cut_ns(reads, resolution_ns)
    found = [_by_own(channel, samples, lead.ns - cut_ns // 2) for channel, samples in reads]
    shift_ns = lead.ns - cut_ns // 2 - wall.lead_ns if wall else 0
    limit_ns = lead.limit_ns + cut_ns // 2
    placed = Placed(found, Alignment(name, shift_ns, limit_k2(limit_ns), EXCHANGE), ageing_ns=2 * lead.limit_ns)
    return _held_against_reads(placed, reads, max(limit_ns, STATED_NS), window)


def _stated(name: str, reads: Sequence[Read], wall: Wall, window: Window) -> Placed:
    """A meter whose clock was never compared with ours: it is taken for wall time, good to 1 s."""
    cut_ns = _cut_ns(reads, NS_PER_S)
    found = [_by_own(channel, samples, wall.lead_ns - cut_ns // 2) for channel, samples in reads]
    limit_ns = STATED_NS + wall.limit_ns + abs(wall.step_ns) + cut_ns // 2
    why = f"its clock was never compared with ours: taken for wall time to +-{seconds(limit_ns):.1f} s"
    if not any(is_live(track, window) for track in found):
        why += f"; {UNCHECKED}"
    stepped = f"the host's wall clock was set by {seconds(wall.step_ns):+.1f} s while the run went on"
    alignment = Alignment(name, -(cut_ns // 2), limit_k2(limit_ns), STATED, why=why)
    placed = Placed(found, alignment, (stepped,) if wall.step_ns else ())
    return _held_against_reads(placed, reads, limit_ns, window)


def _held_against_reads(placed: Placed, reads: Sequence[Read], limit_ns: int, window: Window) -> Placed:
    """That meter, its clock known to +-`limit_ns`, with a fault and what to take instead where its stamps lie after the
    call that read them, or before it by more than the documents explain all through the run."""
    ahead_ns = max(track.ahead_ns for track in placed.tracks)
    behind_ns = 0 if ahead_ns > limit_ns else _behind_ns(placed.tracks, limit_ns, window)
    if ahead_ns <= limit_ns and not behind_ns:
        return placed
    why = f"its stamps lie up to {seconds(ahead_ns):.1f} s after the call that read them"
    if behind_ns:
        why = f"its newest stamps lie {seconds(behind_ns):.1f} s or more before the call that read them"
    instead = _untrusted(placed.alignment.meter, reads, window, why, behind_ns)
    instead.faults = (*placed.faults, *instead.faults)
    placed.faults, placed.instead = (*placed.faults, why), instead
    return placed


def _behind_ns(found: Sequence[Track], limit_ns: int, window: Window) -> int:
    """By how much (ns) the freshest of all readings was older than the call that read it, of the channels that were
    read while the run went on; 0 where the clock's limit and the channel's update, averaging and period explain it."""
    ages = [(min(ages_ns(track)), track.channel) for track in found if is_live(track, window)]
    if not ages:
        return 0
    age_ns, channel = min(ages, key=lambda one: one[0])
    return age_ns if age_ns > limit_ns + channel.update_ns + channel.average_ns + channel.period_ns else 0


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
