"""The first look at a Modbus meter: is it there, does it say what its map says, who is it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from tcabench.errors import MeterError
from tcabench.power.address import Address, Point, place
from tcabench.power.meter import Fact
from tcabench.power.meters.modbus_check import Said, beyond_limits, contradictions
from tcabench.power.meters.modbus_decode import Block, Coding, Register, blocks, text
from tcabench.power.meters.modbus_link import Link, Refused
from tcabench.power.register_map import (
    SCHNEIDER,
    ChannelSpec,
    CheckSpec,
    Identity,
    LoadedMap,
    Quantity,
    RegisterMap,
)  # fmt: skip
from tcabench.records import Channel, Role

Words = Mapping[Register, Sequence[int]]
NO_SUCH_PLACE = (2, 3)  # exception codes: illegal data address, illegal data value
LOOKS, APART_S = 4, 0.1  # a load that changes between two blocks makes one look contradict itself, not all of them


@dataclass(frozen=True, slots=True)
class Source:
    """One channel, and where its number comes from."""

    channel: Channel
    spec: ChannelSpec
    coding: Coding
    register: Register


@dataclass(frozen=True, slots=True)
class Found:
    """A meter that answers as its map says: what to read each time, and what is known of it."""

    sources: tuple[Source, ...]
    plan: tuple[Block, ...]
    facts: dict[str, Fact]


def read_plan(link: Link, plan: Sequence[Block]) -> Words:
    """The words of every register that `plan` is for. raises: MeterError."""
    words: dict[Register, Sequence[int]] = {}
    for block in plan:
        answer = link.words(block.register)
        words |= {register: block.words(register, answer) for register in block.wanted}
    return words


def look(link: Link, address: Address, loaded: LoadedMap) -> Found:
    """What is there. Reads everything in the map once, holds it against what can be, then reads once as the sampler
    will. raises: MeterError, of kind meter-map where the device answers, and not as the map says."""
    whole = loaded.map
    words, gap = _plausible(link, whole)
    missing = {one.name for one in (*whole.channels, *whole.checks) if whole.register(one) not in words}
    there = [one for one in whole.channels if one.name not in missing]
    gone = [one.name for one in there if one.optional and _value(whole, one, words) is None]
    sources = tuple(_source(address, whole, one, words) for one in there if one.name not in gone)
    wanted = [source.register for source in sources] + ([whole.register(whole.stamp)] if whole.stamp else [])
    plan = blocks(wanted, whole.max_registers, gap)
    read_plan(link, plan)
    facts = {**_map_facts(loaded), **_identity(link, whole), **_clock_fact(link, whole)}
    if left_out := sorted(missing.union(gone)):
        facts["left_out"] = {"value": left_out, "source": "in the map, and not told by this device"}
    return Found(sources, plan, facts)


def _plausible(link: Link, whole: RegisterMap) -> tuple[Words, int]:
    """A scan that makes sense. raises: MeterError for one with a value that cannot be, or where each of LOOKS
    contradicts itself."""
    for _ in range(LOOKS):
        words, gap = _scan(link, whole)
        if _wrong(whole, words):
            break
        if not _troubles(whole, words):
            return words, gap
        time.sleep(APART_S)
    _refuse_nonsense(link, whole, words)


def _scan(link: Link, whole: RegisterMap) -> tuple[Words, int]:
    """All words of channels and checks, and how large a gap the device lets be read. Where it refuses a whole block,
    each register is asked for alone; what is optional may be missing."""
    specs = (*whole.channels, *whole.checks)
    try:
        return read_plan(
            link, blocks([whole.register(one) for one in specs], whole.max_registers, whole.max_gap)
        ), whole.max_gap
    except Refused as err:
        if err.code not in NO_SUCH_PLACE:
            raise
    words: dict[Register, Sequence[int]] = {}
    for one in specs:
        register = whole.register(one)
        try:
            words[register] = link.words(register)
        except Refused as err:
            if err.code not in NO_SUCH_PLACE or not _may_miss(one):
                raise
    return words, 0


def _may_miss(one: Quantity) -> bool:
    return one.optional if isinstance(one, ChannelSpec) else isinstance(one, CheckSpec) and one.equals is None


def _value(whole: RegisterMap, one: Quantity, words: Words, swapped: bool = False) -> float | None:
    coding = whole.coding(one)
    there = words.get(whole.register(one))
    return None if there is None else one.value_of((coding.swapped() if swapped else coding).number(there))


def _refuse_nonsense(link: Link, whole: RegisterMap, words: Words) -> NoReturn:
    troubles = "; ".join(_troubles(whole, words))
    told = f"modbus {link.target}: it answers, and not as map {whole.name} says: {troubles}."
    if not _troubles(whole, words, swapped=True):
        other = whole.coding(whole.channels[0]).swapped().word_order
        raise MeterError(
            f"{told} With the words in the other order all of it makes sense: add word_order={other} to the address, "
            "or set it in the map",
            "meter-map",
        )
    raise MeterError(
        f"{told} Is it the right map (map=), unit id, word_order (big or little) and byte_order for this device?",
        "meter-map",
    )


def _troubles(whole: RegisterMap, words: Words, swapped: bool = False) -> list[str]:
    """All that speaks against the map; see `contradictions` for what may be the load's doing."""
    return [*_wrong(whole, words, swapped), *contradictions(_said(whole, words, swapped))]


def _wrong(whole: RegisterMap, words: Words, swapped: bool = False) -> list[str]:
    wrong = [
        f"{one.name} is {value}, not {one.equals:g}"
        for one in whole.checks
        if one.equals is not None and (value := _value(whole, one, words, swapped)) != one.equals
    ]
    if all(_value(whole, one, words, swapped) is None for one in whole.channels):
        wrong.append("every value is marked as not available")
    return [*wrong, *beyond_limits(_said(whole, words, swapped))]


def _said(whole: RegisterMap, words: Words, swapped: bool) -> list[Said]:
    values = [(one, _value(whole, one, words, swapped)) for one in (*whole.channels, *whole.checks)]
    return [Said(one.name, one.kind, value) for one, value in values if one.kind and value is not None]


def _source(address: Address, whole: RegisterMap, one: ChannelSpec, words: Words) -> Source:
    coding, register = whole.coding(one), whole.register(one)
    raw = coding.number(words[register])
    value = one.value_of(raw)
    step = 0.0 if value is None else abs(coding.step(raw) * one.scale)
    note = one.note
    if value is not None and value < 0 and one.role is Role.LOAD:
        note = f"{note}; " * bool(note) + "negative at opening: a current transformer may be the wrong way round"
    point = Point(
        quantity=one.name, kind=one.kind, unit=one.unit, class_pct=one.class_pct, accuracy_source=one.accuracy_source,
        resolution=max(one.resolution, step), update_s=one.update_s, average_s=one.average_s, modulus=one.modulus,
        boundary=one.boundary, role=one.role, instrument=one.instrument, has_own_clock=whole.stamp is not None,
        note=note, domain=one.domain,
    )  # fmt: skip
    return Source(place(_address_of(address, one), point), one, coding, register)


def _address_of(address: Address, one: ChannelSpec) -> Address:
    """The address as it applies to one channel: `role` places the load that a meter is for, not what the map itself
    knows better (the flow of a loop, its pumps); `domain` stands before the map's own domains."""
    options = dict(address.options)
    if one.role is not Role.LOAD:
        options.pop("role", None)
    if one.domain:
        options["domain"] = f"{options.get('domain') or address.label}.{one.domain}"
    return replace(address, options=options)


def _map_facts(loaded: LoadedMap) -> dict[str, Fact]:
    return {
        "map": {"value": loaded.map.name, "source": loaded.map.source},
        "map_sha256": {"value": loaded.sha256, "source": "tcabench"},
        "accuracy": {
            "value": None,
            "source": loaded.map.source,
            "why": "no register tells it; each channel names where its own comes from",
        },
    }


def _identity(link: Link, whole: RegisterMap) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name in ("maker", "model", "serial", "firmware"):
        one = whole.identity.get(name)
        if one is None:
            facts[name] = {"value": None, "source": whole.source, "why": "the map names no register for it"}
        elif one.value is not None:
            facts[name] = {"value": one.value, "source": whole.source}
        else:
            facts[name] = _told(link, whole, one)
    return facts


def _told(link: Link, whole: RegisterMap, one: Identity) -> Fact:
    coding = None if one.type == "ascii" else Coding(one.type, whole.word_order, whole.byte_order)
    count = coding.registers if coding else one.registers or 0
    register = Register(one.function or whole.function, one.address or 0, count)
    try:
        words = link.words(register)
    except MeterError as err:  # some devices do not even answer for registers that they lack
        return {"value": None, "source": str(register), "why": str(err)}
    value: Any = coding.number(words) if coding else text(words, whole.byte_order)
    if value == "":
        return {"value": None, "source": str(register), "why": "nothing is written there"}
    return {"value": value, "source": str(register)}


def _clock_fact(link: Link, whole: RegisterMap) -> dict[str, Fact]:
    """The device's clock as it stood at opening, for the reader; whose zone it keeps, only its owner knows."""
    clock = whole.clock
    if clock is None or clock.type != SCHNEIDER:
        return {}
    register = whole.register(clock)
    try:
        return {"clock_at_opening": {"value": schneider_text(link.words(register)), "source": f"{register}, as set"}}
    except MeterError as err:
        return {"clock_at_opening": {"value": None, "source": str(register), "why": str(err)}}


def schneider_text(words: Sequence[int]) -> str:
    """Schneider's DATETIME as ISO 8601 without a zone, to the millisecond (DOCA0005EN, "DATETIME format"): year since
    2000 in 7 bits; month in 4 and day in 5; hour in 5 and minute in 6; milliseconds of the minute."""
    year, month, day = 2000 + (words[0] & 0x7F), words[1] >> 8 & 0xF, words[1] & 0x1F
    hour, minute, ms = words[2] >> 8 & 0x1F, words[2] & 0x3F, words[3]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{ms // 1000:02d}.{ms % 1000:03d}"
