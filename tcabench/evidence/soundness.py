"""What a policy asks of the readings behind an energy: how many were lost, whether clocks and counters held."""

from collections.abc import Sequence

from tcabench.records import Channel, Energy, NotMetered, Role
from tcabench.records.energy import BROKEN_COUNTER


def used_channels(energy: Energy) -> frozenset[str]:
    """The channels that the energy was taken from; of a facility's those of the plant, too."""
    around = energy.facility.channels if energy.facility and energy.boundary == "facility" else ()
    return frozenset((*(domain.channel for domain in energy.domains), *around))


SHARED = (Role.IT, Role.UPSTREAM, Role.COOLING)  # what a facility's energy rests on beside its load


def lost_rel(energy: Energy) -> float:
    """The largest share (0..1) of the window that no sound reading covers, of the channels that were used."""
    used = used_channels(energy)
    return max((one.lost_rel for one in energy.health if one.channel in used), default=0.0)


def clock_faults(energy: Energy, channels: Sequence[Channel]) -> tuple[str, ...]:
    """Why a meter's own clock could not be trusted, for the meters that were used (those of a facility's shared plant
    among them) and stamp their readings."""
    used = used_channels(energy)
    if energy.boundary == "facility":
        used |= {channel.id for channel in channels if channel.role in SHARED}
    stamped = {channel.meter for channel in channels if channel.id in used and channel.has_own_clock}
    lost = [one for one in energy.alignments if one.meter in stamped and one.method == "host clock"]
    return tuple(f"{one.meter}: {one.why}" for one in lost)


def broken_counters(energy: Energy) -> tuple[str, ...]:
    """What happened to counters that started anew in the window, where the power beside them was taken instead."""
    others = [domain.other for domain in energy.domains]
    return tuple(one.why for one in others if isinstance(one, NotMetered) and one.why.endswith(BROKEN_COUNTER))
