"""What smart plugs and gateways say over MQTT, and the numbers in it.

Sources: Tasmota documentation, Commands (TelePeriod: 300 s unless set, 10 s at least); Shelly Gen2+ Device API,
Switch (`apower` in W, `aenergy` in Wh and by the minute, so that there is news each minute).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tcabench.errors import UsageError
from tcabench.power.address import Address
from tcabench.power.meters.export_time import counted_ns, moment_ns
from tcabench.power.meters.possible_time import is_possible
from tcabench.records import Kind

UNITS: Mapping[str, tuple[Kind, Decimal]] = {
    "W": (Kind.POWER, Decimal(1)), "kW": (Kind.POWER, Decimal(1000)), "mW": (Kind.POWER, Decimal("0.001")),
    "J": (Kind.ENERGY, Decimal(1)), "Wh": (Kind.ENERGY, Decimal(3600)), "kWh": (Kind.ENERGY, Decimal(3_600_000)),
}  # fmt: skip
MAX_BYTES = 256_000
NONE_STATED = "no accuracy stated; taken as 10 %"


class BadMessage(ValueError):
    """A message that is not what its format says."""


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a message: the keys that lead to it ("a.b.0"; "": the message is the number), its kind and the factor
    to W or J. `step` is how finely it is told, in its own unit (0: as the first message shows)."""

    path: str
    kind: Kind
    factor: Decimal
    step: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Format:
    """How a kind of device tells its numbers: `update_s` is how often, as documented (0: nobody says)."""

    name: str
    fields: tuple[Field, ...]
    update_s: float
    time: str = ""
    note: str = ""


TASMOTA = Format(
    "tasmota",
    (
        Field("ENERGY.Power", *UNITS["W"], Decimal(1)),
        Field("ENERGY.Total", *UNITS["kWh"], Decimal("0.001")),
    ),
    300.0,
    note="told every TelePeriod; its own time has no zone and is not used",
)
SHELLY = Format(
    "shelly",
    (Field("apower", *UNITS["W"], Decimal("0.1")), Field("aenergy.total", *UNITS["Wh"], Decimal("0.001"))),
    60.0,
    note="told when the power changes, and each minute; minute_ts is of the last full minute and is not used",
)
KNOWN = {"tasmota": TASMOTA, "shelly": SHELLY}


def asked_format(address: Address) -> Format:
    """The format that the address asks for, with the paths and units it gives. raises: UsageError."""
    name = address.choice("format", "json", (*KNOWN, "json", "number"))
    if name == "number":
        return Format(name, (Field("", *_unit(address, "unit", (Kind.POWER, Kind.ENERGY))),), _update_s(address, 0.0))
    known = KNOWN.get(name)
    fields = [
        found
        for kind, old in zip((Kind.POWER, Kind.ENERGY), known.fields if known else (None, None), strict=True)
        if (found := _field(address, kind, old))
    ]
    if not fields:
        raise UsageError("mqtt: format=json needs power=PATH or energy=PATH, such as power=meter.watts",
                         "meter-argument")  # fmt: skip
    update_s = _update_s(address, known.update_s if known else 0.0)
    return Format(name, tuple(fields), update_s, address.option("time"), known.note if known else "")


def parsed(payload: bytes, form: Format) -> Any:
    """The message as plain values, numbers as Decimal. raises: BadMessage."""
    if len(payload) > MAX_BYTES:
        raise BadMessage(f"{len(payload)} bytes; no meter says so much")
    try:
        text = payload.decode()
        if form.name == "number":
            return Decimal(text.strip())
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (UnicodeDecodeError, ValueError, InvalidOperation, RecursionError) as err:
        raise BadMessage(f"not {'a number' if form.name == 'number' else 'JSON'}: {payload[:60]!r}") from err


def number_at(message: Any, path: str) -> Decimal | None:
    """The number that `path` leads to; None where there is none."""
    for key in path.split(".") if path else ():
        if isinstance(message, list) and key.isdecimal() and int(key) < len(message):
            message = message[int(key)]
        elif isinstance(message, dict) and key in message:
            message = message[key]
        else:
            return None
    try:
        number = Decimal(message) if isinstance(message, str) else message
    except InvalidOperation:
        return None
    return number if isinstance(number, Decimal) and number.is_finite() and math.isfinite(number) else None


def step_of(number: Decimal) -> Decimal:
    """How finely a number is written: 12.50 is told to 0.01."""
    return Decimal(1).scaleb(min(0, int(number.as_tuple().exponent)))


def stamp_ns(message: Any, path: str) -> int | None:
    """The device's own stamp in Unix ns: s, ms, us or ns since 1970, or ISO 8601 with its zone; None where there is
    none that names an instant from 1973 to 2100."""
    number = number_at(message, path)
    try:
        if number is not None:
            return counted_ns(number)
        for key in path.split("."):
            message = message.get(key) if isinstance(message, dict) else None
        at = datetime.fromisoformat(message) if isinstance(message, str) else None
    except ValueError:
        return None
    if at is None or at.tzinfo is None:
        return None
    ns = moment_ns(at, None)
    return ns if is_possible(ns) else None


def _field(address: Address, kind: Kind, old: Field | None) -> Field | None:
    """The field of a kind: as the format has it, with path and unit as given."""
    path = address.option(kind.value) or (old.path if old else "")
    if not path:
        return None
    if f"{kind.value}_unit" in address.options or old is None:
        return Field(path, *_unit(address, f"{kind.value}_unit", (kind,)))
    return Field(path, kind, old.factor, old.step)


def _unit(address: Address, option: str, kinds: tuple[Kind, ...]) -> tuple[Kind, Decimal]:
    allowed = tuple(name for name, (kind, _) in UNITS.items() if kind in kinds)
    if option not in address.options:
        raise UsageError(f"mqtt: {option}= says in what the number is: {', '.join(allowed)}", "meter-argument")
    return UNITS[address.choice(option, "", allowed)]


def _update_s(address: Address, documented_s: float) -> float:
    update_s = address.number("update", documented_s, 0.0, 3600.0)
    if not update_s:
        raise UsageError(
            "mqtt: update=SECONDS says how often the device sends; nothing else tells it, and the uncertainty hangs on "
            "it",
            "meter-argument",
        )
    return update_s


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number")
