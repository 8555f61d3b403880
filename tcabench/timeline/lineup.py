"""Meters lined up by the load marker, where that tells more of a meter's readings than its clock does."""

from collections.abc import Sequence
from math import hypot, sqrt

from tcabench.records import Alignment, Channel, Kind, NotMetered, Role, Window
from tcabench.timeline.lag import Fit, fit
from tcabench.timeline.marker import Marker
from tcabench.timeline.offset import limit_k2
from tcabench.timeline.place import MARKER, STATED, Placed
from tcabench.timeline.reference import Reference, held_s, reference, seen_by
from tcabench.timeline.track import Track, interval_ns, own_delay_ns, sighting_ns
from tcabench.units import nanoseconds, seconds

MARKER_PACE = 5000  # a meter's crystal and ours, 100 ppm each (IEEE 802.3): what was found once holds that well later
TELLING = 2  # times better than the documents: else what they say stands
MOST_TRIED = 4


def line_up(meters: Sequence[Placed], marker: Marker | None, window: Window) -> None:
    """Move every meter's readings back by the lag that the marker shows, and say so in its alignment; where there is
    no such lag, or it bears out what is documented of the meter and is known no better, say why not."""
    if marker is None:
        for meter in meters:
            _explain(meter, "the run had no load marker")
        return
    against = reference(meters, marker, (window.load_start_ns, window.end_ns))
    for meter in meters:
        if meter.is_settled:
            continue
        if meter.tracks[0].channel.meter == against.meter:
            _explain(meter, "the load marker is timed by this meter")
        else:
            _line_up(meter, against, window)


def _line_up(meter: Placed, against: Reference, window: Window) -> None:
    why = "it reads neither power nor energy of the load"
    for track in sorted(filter(_shows_load, meter.tracks), key=_rank)[:MOST_TRIED]:
        found = _fitted(track, against, meter.alignment.method == STATED)
        if isinstance(found, NotMetered):
            why = f"{track.channel.id}: {found.why}"
            continue
        error_ns, documented_ns = _error_ns(meter, found, against, window), _documented_ns(meter, track.channel)
        off_ns = abs(nanoseconds(found.lag_s + held_s(track)) - own_delay_ns(track.channel))
        if error_ns * TELLING < documented_ns or off_ns > error_ns + documented_ns:
            _move(meter, track, found, error_ns, against)
            return
        times = (seconds(error_ns), seconds(documented_ns))
        why = "the load marker would time it to {:.3f} s, what is documented of it to {:.3f} s".format(*times)
        break
    _explain(meter, why)


def _fitted(track: Track, against: Reference, is_stated: bool) -> Fit | NotMetered:
    seen = seen_by(track, against.curve)
    if seen is None:
        return NotMetered("it did not move while the load marker ran")
    mean_s = seconds(max(interval_ns(track.channel), track.channel.average_ns))
    return fit(seen, against.curve, against.sought(mean_s, is_stated))


def _error_ns(meter: Placed, found: Fit, against: Reference, window: Window) -> int:
    """The error of the shift (k = 2): of the fit, of the reference's own time, and of what may change between the
    marker and the far end of the window: clocks drift, and readings that we stamp age by an update at most."""
    middle_ns = (against.marker.start_ns + against.marker.end_ns) // 2
    drift_ns = abs(window.end_ns - middle_ns) // MARKER_PACE
    if meter.ageing_ns is not None:
        drift_ns = min(drift_ns, meter.ageing_ns)
    parts = (nanoseconds(found.error_s), limit_k2(against.limit_ns), limit_k2(drift_ns))
    return round(sqrt(sum(part * part for part in parts)))


def _documented_ns(meter: Placed, channel: Channel) -> int:
    """The error (k = 2) without the marker: of the clock, and of a reading that is 0 to T old, or a mean over T."""
    clock_ns, delay_ns = meter.alignment.error_ns, limit_k2(own_delay_ns(channel))
    return round(sqrt(clock_ns * clock_ns + delay_ns * delay_ns))


def _move(meter: Placed, fitted: Track, found: Fit, error_ns: int, against: Reference) -> None:
    """Move the readings that are timed as the fitted ones are by the delay of the meter and of what each channel tells;
    the others of this meter by what is documented, so that no reading of a meter that is lined up has a delay left."""
    lag_ns = nanoseconds(found.lag_s + held_s(fitted))
    meter_ns = lag_ns - _channels_own_ns(fitted)
    fitted_ns = error_ns
    beside = error_ns * error_ns - nanoseconds(found.error_s) ** 2  # of that error, what is not the fit's
    for track in meter.tracks:
        by_ns = (0 if _is_counter(track) else own_delay_ns(track.channel)) + meter_ns
        if track.is_stamped != fitted.is_stamped:
            by_ns -= meter_ns
        elif _is_counter(track):
            by_ns, counter_ns = _counters_own(track, fitted, found, by_ns, against, meter.alignment.method == STATED)
            error_ns = max(error_ns, round(sqrt(beside + counter_ns * counter_ns)))
        elif _is_counter(fitted) and track.channel.role is not Role.INFO:  # nothing bears its documents out
            error_ns = max(error_ns, round(hypot(fitted_ns, limit_k2(own_delay_ns(track.channel)))))
        track.moved_back(by_ns)
    before = meter.alignment
    why = f"{fitted.channel.id} fits as {found.how}"
    meter.alignment = Alignment(before.meter, before.shift_ns + lag_ns, error_ns, MARKER, found.residual_rel, why)


def _channels_own_ns(track: Track) -> int:
    """What of a channel's lag is not the meter's delay: the age or the averaging of its power, or how long a step of
    its counter waits to be read. The latter stays in a counter's readings: the energy account takes it out."""
    return sighting_ns(track) if _is_counter(track) else own_delay_ns(track.channel)


def _counters_own(
    track: Track, fitted: Track, found: Fit, by_ns: int, against: Reference, is_stated: bool
) -> tuple[int, int]:
    """(how far to move a counter, the error of that at k = 2), ns. Power that averages more than is documented lags
    more than the counter beside it: the counter's own lag is taken where it is known better than that."""
    doubt_ns = limit_k2(nanoseconds(found.width_s) // 2)
    own = found if track is fitted else _fitted(track, against, is_stated) if _shows_load(track) else None
    if isinstance(own, Fit) and (track is fitted or nanoseconds(own.error_s) < doubt_ns):
        return nanoseconds(own.lag_s) - sighting_ns(track), nanoseconds(own.error_s)
    return by_ns, round(sqrt(nanoseconds(found.error_s) ** 2 + doubt_ns * doubt_ns))


def _is_counter(track: Track) -> bool:
    return track.channel.kind in (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)


def _shows_load(track: Track) -> bool:
    channel = track.channel
    follows = channel.role in (Role.LOAD, Role.IT, Role.UPSTREAM, Role.SITE)
    return channel.kind in (Kind.POWER, Kind.ENERGY) and follows and not channel.is_estimate and bool(track.t_ns)


def _rank(track: Track) -> tuple[bool, bool, int]:
    channel = track.channel
    return channel.kind is not Kind.POWER, channel.role is not Role.LOAD, interval_ns(channel)


def _explain(meter: Placed, why: str) -> None:
    """Add to why there is no better alignment."""
    old = meter.alignment
    both = "; ".join(part for part in (old.why, why) if part)
    meter.alignment = Alignment(old.meter, old.shift_ns, old.error_ns, old.method, None, both)
