"""What meters are held against while the load marker runs: this machine's fastest one, else the plan itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt

from tcabench.records import Instrument, Kind, NotMetered
from tcabench.timeline.curve import Curve, power_curve, since_s, sum_curve
from tcabench.timeline.lag import COARSE_S, REACH_S, Sought, look
from tcabench.timeline.marker import Marker
from tcabench.timeline.offset import K2
from tcabench.timeline.place import HOST, Placed
from tcabench.timeline.squares import Seen
from tcabench.timeline.track import Track, interval_ns, own_delay_ns
from tcabench.units import NS_PER_S, nanoseconds, seconds

RESPONSE_NS = 500_000_000  # a server takes up, and lets go of, what it is asked within so long
SLOWEST_NS = 500_000_000  # a reference with news less often tells no more of an edge than the plan does
LEAST_S, MOST_S = -1.0, 20.0  # lags looked for where clocks agree
CLOCK_S = 30.0  # and by how much more where nobody compared them
BEYOND_S = 4 * COARSE_S
LEAST_UPDATES = 1.5


@dataclass(frozen=True, slots=True)
class Reference:
    """The load as `meter` saw it ("": as it was planned), on the run's clock to +-`limit_ns`. `grain_s` (k = 2) is how
    well its own edges are known for being read so often."""

    meter: str
    curve: Curve
    limit_ns: int
    grain_s: float
    chip_s: float
    marker: Marker

    def sought(self, mean_s: float, is_stated: bool) -> Sought:
        """Where to look for a meter's lag behind it."""
        more_s = CLOCK_S if is_stated else 0.0
        start_s, end_s = since_s(self.curve, self.marker.start_ns), since_s(self.curve, self.marker.end_ns)
        return Sought(start_s, end_s, self.chip_s, LEAST_S - more_s, MOST_S + more_s, mean_s, self.grain_s)


def reference(meters: Sequence[Placed], marker: Marker, load_ns: tuple[int, int]) -> Reference:
    """The best reference there is: of this machine's power readings, then its counters, that have news within 0.5 s,
    the fastest that follows the marker; models last. Without one the planned edges, `load_ns` among them. A meter on
    the network, however fast, may be late by more than it says: it is timed, and times nothing."""
    plan = planned(marker, load_ns)
    tracks = [track for one in meters if one.alignment.method == HOST and not one.faults for track in one.tracks]
    for track in sorted((track for track in tracks if _may_lead(track)), key=_rank):
        seen = seen_by(track, plan.curve)
        if seen is not None and not isinstance(look(seen, plan.curve, plan.sought(0.0, False)), NotMetered):
            return _measured(track, marker, plan)
    return plan


def planned(marker: Marker, load_ns: tuple[int, int]) -> Reference:
    """The load as it was asked for; a server is up to 0.5 s late with it."""
    edges = [*marker.edges, (load_ns[0], True), (load_ns[1], False)]
    t_ns, busy_s = [edges[0][0]], [0.0]
    for (before_ns, on), (after_ns, _) in pairwise(edges):
        t_ns.append(after_ns)
        busy_s.append(busy_s[-1] + (seconds(after_ns - before_ns) if on else 0.0))
    late_ns = [t + RESPONSE_NS // 2 for t in t_ns]
    chip_s = min(seconds(after - before) for (before, _), (after, _) in pairwise(marker.edges))
    return Reference("", sum_curve(late_ns, busy_s, *_reach(marker)), RESPONSE_NS // 2, 0.0, max(0.1, chip_s), marker)


def _measured(track: Track, marker: Marker, plan: Reference) -> Reference:
    """A channel as the reference: its readings put back by their documented age, which is known to half the time
    between two reads, or two updates if they come oftener."""
    channel = track.channel
    apart_ns = min(channel.period_ns, channel.update_ns or channel.period_ns)
    is_power = channel.kind is Kind.POWER
    late_ns = own_delay_ns(channel) if is_power else apart_ns // 2
    t_ns, values = (track.t_ns, track.values) if is_power else _steps(track)
    curve = (power_curve if is_power else sum_curve)([t - late_ns for t in t_ns], values, *_reach(marker))
    grain_s = K2 * seconds(interval_ns(channel)) / 2 / sqrt(len(marker.edges))
    return Reference(channel.meter, curve, apart_ns // 2, grain_s, plan.chip_s, marker)


def _reach(marker: Marker) -> tuple[int, int]:
    """What the reference has to cover, in ns of the run's clock: the marker, and any lag that is looked for."""
    before_s, after_s = MOST_S + CLOCK_S + REACH_S, CLOCK_S - LEAST_S + REACH_S
    return marker.start_ns - nanoseconds(before_s + BEYOND_S), marker.end_ns + nanoseconds(after_s + BEYOND_S)


def _may_lead(track: Track) -> bool:
    channel = track.channel
    is_far = channel.instrument in (Instrument.METER, Instrument.BMC)
    is_energy = channel.kind in (Kind.POWER, Kind.ENERGY)
    is_fast = not track.is_stamped and interval_ns(channel) < SLOWEST_NS
    return is_energy and not is_far and is_fast and len(track.t_ns) > 1


def _rank(track: Track) -> tuple[bool, bool, int, int]:
    channel = track.channel
    return channel.is_estimate, channel.kind is not Kind.POWER, interval_ns(channel), own_delay_ns(channel)


def seen_by(track: Track, curve: Curve) -> Seen | None:
    """What a channel showed, in s since the curve's start; None where there is nothing to go by.

    Of readings that repeat until the next update only the first of each counts: `held_s` is what that leaves out."""
    if track.channel.kind is not Kind.POWER:
        t_ns, values = _steps(track)
        if len(t_ns) < 2:
            return None
        at_s = [since_s(curve, t) for t in t_ns]
        rates = tuple((b - a) / (t - s) for (s, a), (t, b) in pairwise(zip(at_s, values, strict=True)))
        return Seen(tuple(at_s[:-1]), tuple(at_s[1:]), rates, is_instant=False)
    is_held = held_s(track) > 0
    fresh = [i for i in range(len(track.t_ns)) if i == 0 or not is_held or _is_news(track, i)]
    at = tuple(since_s(curve, track.t_ns[i]) for i in fresh)
    return Seen(at, at, tuple(track.samples[i].value for i in fresh), is_instant=True) if at else None


def held_s(track: Track) -> float:
    """How much older readings are on average than when each value was first seen: a meter that is read oftener than it
    updates shows a value again and again. No more than its updates explain: a value may well come back by chance."""
    channel = track.channel
    if channel.kind is not Kind.POWER or track.is_stamped or channel.update_ns <= LEAST_UPDATES * channel.period_ns:
        return 0.0
    first_ns, held = track.t_ns[0], []
    for i, t_ns in enumerate(track.t_ns):
        first_ns = t_ns if i == 0 or _is_news(track, i) else first_ns
        held.append(t_ns - first_ns)
    return min(fsum(held) / len(held), (channel.update_ns - channel.period_ns) / 2) / NS_PER_S


def _is_news(track: Track, i: int) -> bool:
    return track.samples[i].value != track.samples[i - 1].value


def _steps(track: Track) -> tuple[list[int], list[float]]:
    """Instants (ns) and values at which a counter was first seen to have risen, up to where it falls."""
    t_ns, values = track.t_ns[:1], track.values[:1]
    for t, sample in zip(track.t_ns[1:], track.samples[1:], strict=True):
        if sample.value < values[-1]:
            break
        if sample.value > values[-1]:
            t_ns.append(t)
            values.append(sample.value)
    return t_ns, values
