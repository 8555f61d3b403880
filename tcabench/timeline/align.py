"""Puts all samples on the run's clock and leaves out those that are no readings: every meter's account begins here.

Standard library only, sums through `math.fsum`, no functions but sqrt: a verifier elsewhere gets the same instants.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from tcabench.records import Axis, Channel, PowerSample, Window
from tcabench.timeline.frozen import frozen
from tcabench.timeline.lineup import line_up
from tcabench.timeline.marker import played_marker
from tcabench.timeline.place import place, trusted
from tcabench.timeline.soundness import judge
from tcabench.timeline.track import by_channel


def align(
    channels: Sequence[Channel], samples: Sequence[PowerSample], events: Sequence[Mapping[str, Any]], window: Window
) -> Axis:
    """Every sound sample on the run's clock, how each meter got there, and how sound each channel was in the window.

    A meter that we stamp is left as it is; one with stamps of its own is put on our clock by comparisons of the two
    clocks ("clock_exchange" events), or taken for wall time. Where a load marker was played, each meter is moved by
    the delay it shows there, if that is known better than what is documented of it. Stamps that cannot be right when
    held against our reads are not used, unless the marker timed them. Then twice-told, disordered and
    frozen readings are left out. The same samples and events give the same axis, to the last digit.
    """
    meters = place(channels, by_channel(channels, samples), events, window)
    line_up(meters, played_marker(events), window)
    meters = [trusted(meter) for meter in meters]
    tracks = {track.channel.id: track for meter in meters for track in meter.tracks}
    faults = {track.channel.id: meter.faults for meter in meters for track in meter.tracks}
    everyone = [tracks[channel.id] for channel in channels]
    stills = [frozen(track, everyone, window) for track in everyone]  # all of them before any reading is left out
    health = [
        judge(track, still, events, window, faults[track.channel.id])
        for track, still in zip(everyone, stills, strict=True)
    ]
    sound = [sample for track in everyone for sample in track.placed()]
    return Axis(
        samples=tuple(sorted(sound, key=attrgetter("t_ns", "channel"))),
        alignments=tuple(meter.alignment for meter in meters),
        health=tuple(one for one in health if one is not None),
    )
