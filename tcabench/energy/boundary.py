"""Which channels count, and each thing once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcabench.errors import UsageError
from tcabench.records import Channel, Kind, Role

BOUNDARIES = ("chip", "node", "rack", "facility")


@dataclass(frozen=True, slots=True)
class Domain:
    """One thing that is metered. Its counter and its power see the same energy: they are compared, never added.
    `inside` names the domain whose meter holds its energy already, "" for none."""

    name: str
    counter: Channel | None
    power: Channel | None
    inside: str = ""


def check_boundary(boundary: str) -> None:
    """raises: UsageError for a boundary that does not exist."""
    if boundary not in BOUNDARIES:
        raise UsageError(f"boundary {boundary!r} is none of {', '.join(BOUNDARIES)}", "boundary")


def domains_inside(channels: Sequence[Channel], boundary: str) -> tuple[Domain, ...]:
    """The domains of the system under test metered at `boundary`, by name.

    Channels of a narrower boundary are left out: what a plug meter sees already holds the GPU. Those of a wider one
    too: nobody knows the share. So is what is not the system under test (any role but LOAD). Where two channels of one
    kind see a domain, an instrument goes before an estimate, then the narrower accuracy, then the id.

    raises: UsageError for a boundary that does not exist.
    """
    check_boundary(boundary)
    inside = [channel for channel in channels if channel.boundary == boundary and channel.role is Role.LOAD]
    return domains_of(inside)


def domains_of(channels: Sequence[Channel]) -> tuple[Domain, ...]:
    """The domains that `channels` meter, by name, each with its best counter and its best power reading."""
    names = sorted({channel.domain for channel in channels if channel.kind in (Kind.ENERGY, Kind.POWER)})
    return tuple(
        Domain(name, _best(channels, name, Kind.ENERGY), _best(channels, name, Kind.POWER), _inside(channels, name))
        for name in names
    )


def held_by(parents: Mapping[str, str], able: Mapping[str, bool]) -> dict[str, str]:
    """domain -> the domain whose energy holds it already, for each of `able` that must not be added.

    `parents`: domain -> the one it is inside of; `able`: whether it has a usable energy. The nearest usable one counts,
    and a circle of domains holds nothing.
    """
    holders: dict[str, str] = {}
    for name in able:
        chain, parent = [name], parents.get(name, "")
        while parent and parent not in chain:
            chain.append(parent)
            parent = parents.get(parent, "")
        holder = next((above for above in chain[1:] if able.get(above)), "")
        if holder and not parent:
            holders[name] = holder
    return holders


def _best(channels: Sequence[Channel], domain: str, kind: Kind) -> Channel | None:
    able = [channel for channel in channels if channel.domain == domain and channel.kind is kind]
    return min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)


def _inside(channels: Sequence[Channel], domain: str) -> str:
    return next((channel.inside for channel in channels if channel.domain == domain and channel.inside), "")
