"""What is known of a device that is metered over SNMP, for the evidence: no secret is among it."""

from collections.abc import Mapping

from tcabench.power.address import Address
from tcabench.power.meter import Fact
from tcabench.power.meters.snmp_answer import Value
from tcabench.power.meters.snmp_clock import clock_reading
from tcabench.power.meters.snmp_security import security
from tcabench.power.meters.snmp_setup import Asked
from tcabench.power.oid_map import Level, LoadedMap, OidMap, filled

CLOCK = "clock"


def device_names(whole: OidMap, level: Level, index: Mapping[str, int]) -> dict[str, str]:
    """Name of a fact -> the object that holds it: who the device is, when its counters were set to 0, its clock."""
    names: dict[str, str] = {name: one.oid for name, one in whole.identity.items() if one.oid}
    names |= {f"{one.name}_reset": one.reset for one in level.channels if one.reset}
    if whole.clock:
        names[CLOCK] = whole.clock
    return {name: filled(template, index) for name, template in names.items()}


def device_facts(
    address: Address,
    loaded: LoadedMap,
    level: Level,
    index: Mapping[str, int],
    asked: Asked,
    left_out: Mapping[str, str],
) -> dict[str, Fact]:
    """All facts, as of opening."""
    whole = loaded.map
    numbers = ", ".join(f"{name} {number}" for name, number in index.items())
    facts: dict[str, Fact] = {
        "address": _given(f"snmp://{address.host}:{address.port}"),
        "map": {"value": whole.name, "source": f"{whole.title}; {whole.source}"},
        "map_sha256": {"value": loaded.sha256, "source": "the map's file"},
        "level": _given(f"{level.name} ({numbers})"),
        "security": {"value": security(address), "source": "RFC 1901, RFC 3414"},
    }
    known: dict[str, str] = {name: one.value for name, one in whole.identity.items() if one.value}
    facts |= {name: {"value": value, "source": f"map {whole.name}"} for name, value in known.items()}
    for name, oid in device_names(whole, level, index).items():
        facts[name] = _clock(oid, asked.get(oid)) if name == CLOCK else _told(oid, asked.get(oid))
    return facts | {
        f"without_{name}": {"value": None, "source": f"map {whole.name}", "why": why} for name, why in left_out.items()
    }


def _given(value: str) -> Fact:
    return {"value": value, "source": "the address given"}


def _clock(oid: str, value: Value) -> Fact:
    reading = clock_reading(value)
    if isinstance(reading, str):
        return {"value": None, "source": f"SNMP {oid}", "why": reading}
    return {"value": "DateAndTime with its zone (RFC 2579)", "source": f"SNMP {oid}"}


def _told(oid: str, value: Value) -> Fact:
    source = f"SNMP {oid}"
    if value is None or value == b"":
        return {"value": None, "source": source, "why": "the device does not tell it"}
    if isinstance(value, int):
        return {"value": value, "source": source}
    text = value.decode("utf-8", "replace").strip("\x00 ")
    return {"value": "".join(c if c.isprintable() else "?" for c in text), "source": source}
