"""One channel's readings in order of time, those that came twice or cannot be placed left out and counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import attrgetter

from tcabench.records import Channel, PowerSample, Window
from tcabench.timeline.offset import limit_k2

LEAST_STILL_NS = 5_000_000_000
STILL_UPDATES = 10


@dataclass(slots=True)
class Track:
    """The readings of `channel`: `t_ns` is when each holds by the run's clock, as far as it is known by now.

    `is_stamped`: the instants come from the meter's own stamps. `twice_ns`: when (read by our clock) a reading came
    that was there before; `disordered`: how many stamps went back; `ahead_ns`: how far the boldest stamp lies after
    the end of the call that read it; `stopped`: spans in which the stamps stood still though reads went on.
    """

    channel: Channel
    is_stamped: bool = False
    t_ns: list[int] = field(default_factory=list)
    samples: list[PowerSample] = field(default_factory=list)
    twice_ns: list[int] = field(default_factory=list)
    disordered: int = 0
    ahead_ns: int = 0
    stopped: list[tuple[int, int]] = field(default_factory=list)

    @property
    def due_ns(self) -> int:
        """How often a reading is due, in ns: by our schedule, or by the meter's updates where it stamps them (it gives
        each once, whether or not its stamps can be used)."""
        channel = self.channel
        return max(1, channel.update_ns if channel.has_own_clock and channel.update_ns else channel.period_ns)

    @property
    def values(self) -> list[float]:
        return [sample.value for sample in self.samples]

    def moved_back(self, shift_ns: int) -> None:
        """Put every reading `shift_ns` earlier."""
        if shift_ns:
            self.t_ns = [t_ns - shift_ns for t_ns in self.t_ns]
            self.stopped = [(start_ns - shift_ns, end_ns - shift_ns) for start_ns, end_ns in self.stopped]

    def placed(self) -> list[PowerSample]:
        """The readings at the instants they were put at."""
        return [
            one if one.t_ns == t_ns else PowerSample(t_ns, one.read_ns, one.channel, one.value, one.device_ns)
            for t_ns, one in zip(self.t_ns, self.samples, strict=True)
        ]


def interval_ns(channel: Channel) -> int:
    """How often there is news on a channel, in ns: its update interval, and no oftener than it is read unless the
    meter keeps its readings and stamps them."""
    if channel.has_own_clock and channel.update_ns:
        return channel.update_ns
    return max(channel.update_ns, channel.period_ns)


def own_delay_ns(channel: Channel) -> int:
    """How old a reading of this channel is on average, as documented: half its update interval and half the time it is
    a mean over (Yang, Adamek, Armour, SC24, doi 10.1109/SC41406.2024.00028)."""
    return (channel.update_ns + channel.average_ns) // 2


def sighting_ns(track: Track) -> int:
    """How long after a counter stepped its new value was read, as `tcabench.energy.counter.edges` takes it: half of the
    time since the reading before, or of an update (a period where that is unknown) if that is shorter. The median."""
    reach_ns = track.channel.update_ns or track.channel.period_ns
    read = zip(track.t_ns, track.values, strict=True)
    spans = sorted(min(t - s, reach_ns) for (s, before), (t, now) in pairwise(read) if now != before)
    return (spans[len(spans) // 2] if spans else reach_ns) // 2


def still_limit_ns(channel: Channel) -> int:
    """How long the same reading may stand before it is suspicious: 10 updates, 5 s at least."""
    return max(STILL_UPDATES * interval_ns(channel), LEAST_STILL_NS)


def by_channel(channels: Sequence[Channel], samples: Sequence[PowerSample]) -> dict[str, list[PowerSample]]:
    """channel id -> its samples in order of reading (those of one read in the order they were given in)."""
    grouped: dict[str, list[PowerSample]] = {channel.id: [] for channel in channels}
    for sample in samples:
        if sample.channel in grouped:
            grouped[sample.channel].append(sample)
    for group in grouped.values():
        group.sort(key=attrgetter("t_ns"))  # stable, and linear where they are in order already
    return grouped


def by_host(channel: Channel, samples: Sequence[PowerSample]) -> Track:
    """Every reading when we read it, one for each read: of several the last, which is the newest. A stamp that was
    there just before, with the same value, is no new reading."""
    track = Track(channel)
    for place, sample in enumerate(samples):
        before = samples[place - 1] if place else None
        follows = samples[place + 1] if place + 1 < len(samples) else None
        is_again = before is not None and sample.device_ns is not None and _same(before, sample)
        if is_again or (follows is not None and follows.t_ns == sample.t_ns):
            track.twice_ns.append(sample.t_ns)
            continue
        track.t_ns.append(sample.t_ns)
        track.samples.append(sample)
    return track


def by_stamp(channel: Channel, samples: Sequence[PowerSample], lead_ns: int) -> Track:
    """Every reading when the meter's own stamp says, the meter's clock being `lead_ns` ahead of ours. A stamp that goes
    back cannot be placed: that reading is left out. A reading without a stamp holds when we read it."""
    track, seen = Track(channel, is_stamped=True), dict[int, float]()
    for sample in samples:
        t_ns = sample.t_ns if sample.device_ns is None else sample.device_ns - lead_ns
        if seen.get(t_ns) == sample.value:
            track.twice_ns.append(sample.t_ns)
        elif track.t_ns and t_ns <= track.t_ns[-1]:
            track.disordered += 1
        else:
            seen[t_ns] = sample.value
            track.ahead_ns = max(track.ahead_ns, t_ns - sample.t_ns - sample.read_ns // 2)
            track.t_ns.append(t_ns)
            track.samples.append(sample)
    track.stopped = _stops(channel, samples, lead_ns)
    return track


def _stops(channel: Channel, samples: Sequence[PowerSample], lead_ns: int) -> list[tuple[int, int]]:
    """Spans in which the newest stamp stayed the same for too long though reads went on, by the meter's stamps."""
    stamped = [(sample.device_ns, sample.t_ns) for sample in samples if sample.device_ns is not None]
    newest = list(accumulate((device_ns for device_ns, _ in stamped), max))
    first = 0
    spans = []
    for place in range(1, len(stamped) + 1):
        if place < len(stamped) and newest[place] == newest[first]:
            continue
        stood_ns = stamped[place - 1][1] - stamped[first][1]
        if stood_ns > still_limit_ns(channel):
            until_ns = newest[place] if place < len(stamped) else newest[first] + stood_ns
            spans.append((newest[first] - lead_ns, until_ns - lead_ns))
        first = place
    return spans


def _same(one: PowerSample, other: PowerSample) -> bool:
    return (one.device_ns, one.value) == (other.device_ns, other.value)


def ages_ns(track: Track) -> list[int]:
    """How long (ns) before our read each stamped reading was taken, by its stamp."""
    pairs = zip(track.samples, track.t_ns, strict=True)
    return [sample.t_ns - t_ns for sample, t_ns in pairs if sample.device_ns is not None]


def is_live(track: Track, window: Window) -> bool:
    """Whether stamped readings came while the run went on: over half the window's length at least. An export that is
    read at the end gives all of its readings at once."""
    came = [sample.t_ns for sample in track.samples if sample.device_ns is not None] if track.is_stamped else []
    return len(came) > 1 and 2 * (came[-1] - came[0]) >= window.end_ns - window.start_ns


def read_error_ns(found: Sequence[Track], window: Window) -> int:
    """How well (k = 2, ns) the instant of a reading is known that we stamped: it lies within its read call, whose
    length is taken as 19 in 20 of those in the window keep to."""
    reads = sorted(
        sample.read_ns for track in found for sample in track.samples if window.start_ns <= sample.t_ns < window.end_ns
    )
    return limit_k2(reads[len(reads) * 19 // 20] // 2) if reads else 0
