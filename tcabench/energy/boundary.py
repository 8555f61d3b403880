"""Which channels count, and each thing once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcabench.errors import UsageError
from tcabench.records import Channel, Kind, Role

BOUNDARIES = ("chip", "node", "rack", "facility")


@dataclass(frozen=True, slots=True)
class Domain:
    """One thing that is metered. Its counter and its power see the same energy: they are compared, never added.
    `inside` names the domain whose meter holds its energy already, "" for none. `others` are what further meters tell
    of it: they are not counted, but held against what is."""

    name: str
    counter: Channel | None
    power: Channel | None
    inside: str = ""
    others: tuple[Channel, ...] = ()


def check_boundary(boundary: str) -> None:
    """raises: UsageError for a boundary that does not exist."""
    if boundary not in BOUNDARIES:
        raise UsageError(f"boundary {boundary!r} is none of {', '.join(BOUNDARIES)}", "boundary")


def domains_inside(channels: Sequence[Channel], boundary: str) -> tuple[Domain, ...]:
    """The domains of the system under test metered at `boundary`, by name.

    Channels of a narrower boundary are left out: what a plug meter sees already holds the GPU. Those of a wider one
    too: nobody knows the share. So is what is not the system under test (any role but LOAD). Where two channels of one
    kind see a domain, an instrument goes before an estimate, then the narrower accuracy, then the id; those of another
    meter stay beside it to be compared.

    raises: UsageError for a boundary that does not exist.
    """
    check_boundary(boundary)
    inside = [channel for channel in channels if channel.boundary == boundary and channel.role is Role.LOAD]
    return domains_of(inside)


def domains_of(channels: Sequence[Channel]) -> tuple[Domain, ...]:
    """The domains that `channels` meter, by name, each with its best counter and its best power reading."""
    able = [channel for channel in channels if channel.kind in (Kind.ENERGY, Kind.POWER)]
    return tuple(_domain(name, able) for name in sorted({channel.domain for channel in able}))


def _domain(name: str, channels: Sequence[Channel]) -> Domain:
    mine = [channel for channel in channels if channel.domain == name]
    counter, power = _best(mine, Kind.ENERGY), _best(mine, Kind.POWER)
    meters = {best.kind: best.meter for best in (counter, power) if best}
    others = tuple(sorted((one for one in mine if one.meter != meters[one.kind]), key=lambda one: one.id))
    return Domain(name, counter, power, next((one.inside for one in mine if one.inside), ""), others)


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


def _best(channels: Sequence[Channel], kind: Kind) -> Channel | None:
    able = [channel for channel in channels if channel.kind is kind]
    return min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)
