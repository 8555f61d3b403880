"""Which channels count, and each thing once."""

from collections.abc import Sequence
from dataclasses import dataclass

from tcabench.errors import UsageError
from tcabench.records import Channel, Kind

BOUNDARIES = ("chip", "node", "rack", "facility")


@dataclass(frozen=True, slots=True)
class Domain:
    """One thing that is metered. Its counter and its power see the same energy: they are compared, never added."""

    name: str
    counter: Channel | None
    power: Channel | None


def domains_inside(channels: Sequence[Channel], boundary: str) -> tuple[Domain, ...]:
    """The domains metered at `boundary`, by name. Their energies add up to what is known of that boundary.

    Channels of a narrower boundary are left out: what a plug meter sees already holds the GPU. Those of a wider one
    too: nobody knows the share. Where two channels of one kind see a domain, an instrument goes before an estimate,
    then the narrower accuracy, then the id.

    raises: UsageError for a boundary that does not exist.
    """
    if boundary not in BOUNDARIES:
        raise UsageError(f"boundary {boundary!r} is none of {', '.join(BOUNDARIES)}", "boundary")
    inside = [channel for channel in channels if channel.boundary == boundary]
    names = sorted({channel.domain for channel in inside if channel.kind in (Kind.ENERGY, Kind.POWER)})
    return tuple(Domain(name, _best(inside, name, Kind.ENERGY), _best(inside, name, Kind.POWER)) for name in names)


def _best(channels: Sequence[Channel], domain: str, kind: Kind) -> Channel | None:
    able = [channel for channel in channels if channel.domain == domain and channel.kind is kind]
    return min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)
