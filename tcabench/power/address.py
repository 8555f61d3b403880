"""Where a meter on the network is, and what it stands for: `modbus://10.0.0.5/1?map=schneider-iem3000&boundary=rack`.

Every such meter takes the same options for its place in the plant, so that a channel is described in one way.
"""

import math
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tcabench.errors import UsageError
from tcabench.records import Channel, Instrument, Kind, Role
from tcabench.units import nanoseconds

BOUNDARIES = ("chip", "node", "rack", "facility")
PLACE = (
    "name", "domain", "boundary", "role", "period", "inside", "class", "certificate", "calibrated", "due",
)  # fmt: skip
SHARED_ROLES = frozenset({Role.IT, Role.UPSTREAM, Role.COOLING, Role.SITE, Role.REUSE, Role.WATER})
ONE_DEVICE_EACH = ("modbus", "snmp", "bacnet")  # at one address and port
SQRT3 = math.sqrt(3)
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
FORM = "//host[:port][/path][?option=value&...]"
NO_PASSWORD = (
    "no user or password in the address: it would stay in the shell's history. Use user=NAME and password_env=VARIABLE "
    "or password_file=FILE"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One meter's address. `options` are those of the protocol and of PLACE, as given."""

    scheme: str
    host: str
    port: int
    path: str
    options: Mapping[str, str]
    has_port: bool = False  # one other than the protocol's own was given

    @property
    def label(self) -> str:
        """The meter's short name: the option `name`, else host, port and path as a plain word."""
        given = self.options.get("name")
        port = f":{self.port}" if self.has_port else ""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.host}{port}{self.path}").strip("-").lower()
        return given or plain or sha256(f"{self.host}{self.path}".encode()).hexdigest()[:8]

    @property
    def meter(self) -> str:
        """The meter's name within a run, e.g. "modbus.pdu1"."""
        return f"{self.scheme}.{self.label}"

    def option(self, name: str, default: str = "") -> str:
        return self.options.get(name, default)

    def number(self, name: str, default: float, low: float = 0.0, high: float = math.inf) -> float:
        """An option as a number within [low, high]. raises: UsageError naming it."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise UsageError(f"{self.scheme}: {name}={text!r} is not a number of {low:g} to {high:g}", "meter-argument")
        return value

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """An option out of a few words. raises: UsageError naming them."""
        value = self.options.get(name, default)
        if value not in allowed:
            raise UsageError(f"{self.scheme}: {name}={value!r} is none of {', '.join(allowed)}", "meter-argument")
        return value

    def secret(self, name: str) -> str | None:
        """The secret that `{name}_env` (a variable) or `{name}_file` (a file) points to; None when neither is given.

        A secret never stands in the address itself: it would stay in the shell's history and in the evidence.
        raises: UsageError.
        """
        if (variable := self.options.get(f"{name}_env")) is not None:
            if not (value := os.environ.get(variable, "").strip()):
                shown = variable if VARIABLE.fullmatch(variable) else "..."  # it may be the secret itself
                raise UsageError(f"{self.scheme}: {name}_env={shown}: that variable is not set", "meter-secret")
            return value
        if (path := self.options.get(f"{name}_file")) is not None:
            try:
                return Path(path).expanduser().read_text().strip()
            except (OSError, UnicodeDecodeError) as err:
                raise UsageError(f"{self.scheme}: {name}_file={path}: cannot be read: {err}", "meter-secret") from err
        return None


def parse_address(scheme: str, text: str, port: int, own: Sequence[str]) -> Address:
    """The address behind `--meter SCHEME:TEXT`, TEXT being "//host[:port][/path][?option=value&...]".

    `own` are the protocol's options beside PLACE. raises: UsageError for anything that is not understood, and for a
    password in the address.
    """
    if re.match(r"//[^/?#]*@", text):
        raise UsageError(f"{scheme}: {NO_PASSWORD}", "meter-secret")
    try:
        parts = urlsplit(f"{scheme}:{text}")
        asked_port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as err:  # its words may hold what was given, a secret among it
        raise UsageError(f"{scheme}: that is no address of the form {FORM}", "meter-argument") from err
    if parts.fragment:
        raise UsageError(f"{scheme}: a # ends an address, what follows would be lost: write %23", "meter-argument")
    options = dict(pairs)
    known = (*PLACE, *own)
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}"
            raise UsageError(f"{scheme}: there is no option {name!r}.{hint}", "meter-argument")
    if len(options) < len(pairs):
        raise UsageError(f"{scheme}: an option is given twice", "meter-argument")
    if not options.get("name", "").isprintable():
        raise UsageError(f"{scheme}: name= holds what cannot be printed", "meter-argument")
    has_port = asked_port is not None and asked_port != port
    return Address(scheme, parts.hostname or "", asked_port or port, unquote(parts.path), options, has_port)


def refuse_twins(names: Sequence[str]) -> None:
    """raises: UsageError where two `--meter` names are one device, of which the same is read: it would count twice.

    Behind one address may stand many services of HTTP or MQTT, told apart by their names: there only equal names tell.
    """
    there: dict[tuple[object, ...], list[tuple[str, set[str]]]] = {}
    for parts in filter(None, map(_split, names)):
        host, others = str(parts.hostname), there.setdefault(_apart_from_host(parts), [])
        ips = _ips(host) if parts.scheme in ONE_DEVICE_EACH else {host}
        if twin := next((other for other, known in others if other == host or known & ips), ""):
            where = " and ".join(f"{parts.scheme}://{one}{parts.path}" for one in (twin, host))
            raise UsageError(f"{where} are one device and the same is read of both: name it once", "meter-twice")
        others.append((host, ips))


def _split(name: str) -> SplitResult | None:
    """None for what is no address; why not, its own meter tells without repeating what may be a secret."""
    try:
        return urlsplit(name) if "://" in name else None
    except ValueError:
        return None


def _apart_from_host(parts: SplitResult) -> tuple[object, ...]:
    """Of a `--meter` name, all that says what is read, but for the host."""
    _, _, port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")
    told = {(name, text) for name, text in parse_qsl(parts.query) if name not in ("name", "domain", "period")}
    return parts.scheme, port, parts.path.rstrip("/"), frozenset(told)


def _ips(host: str) -> set[str]:
    try:
        return {str(one[4][0]) for one in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return set()  # its meter will say so


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity that a meter tells, as its map or its standard describes it; times in s, `resolution` and `modulus`
    in `unit`. `class_pct` is the limit of error in % of reading; `domain` "" is the meter's own name."""

    quantity: str
    kind: Kind
    unit: str
    class_pct: float
    accuracy_source: str
    resolution: float = 0.0
    update_s: float = 0.0
    average_s: float = 0.0
    modulus: float = 0.0
    period_s: float = 1.0
    boundary: str = "rack"
    role: Role = Role.LOAD
    instrument: Instrument = Instrument.METER
    has_own_clock: bool = False
    note: str = ""
    domain: str = ""


def place(address: Address, point: Point) -> Channel:
    """The channel of `point`, at the place in the plant that the options of `address` say, else the point's own.

    The class limit is taken as rectangular: the k = 2 half width is 2/sqrt(3) of it (GUM, JCGM 100:2008, 4.3.7).
    raises: UsageError for an option that makes no sense.
    """
    role = Role(address.choice("role", point.role.value, [one.value for one in Role]))
    boundary = address.choice("boundary", "facility" if role in SHARED_ROLES else point.boundary, BOUNDARIES)
    class_pct, source = _accuracy(address, point)
    half = 2 * class_pct / 100 / SQRT3
    calibrated, due = _day(address, "calibrated"), _day(address, "due")
    if due and due < calibrated:
        raise UsageError(f"{address.scheme}: due={due} is before calibrated={calibrated}", "meter-argument")
    return Channel(
        id=f"{address.meter}.{point.quantity}", meter=address.meter,
        domain=address.option("domain") or point.domain or address.label, kind=point.kind, unit=point.unit,
        boundary=boundary, gain_low=max(0.0, 1 - half), gain_high=1 + half, resolution=point.resolution,
        update_ns=nanoseconds(point.update_s), period_ns=period_ns(address, point.period_s), is_estimate=False,
        accuracy_source=f"{source}, rectangular: k=2 half width {100 * half:.3g} %", note=point.note, role=role,
        instrument=point.instrument, inside=address.option("inside"), average_ns=nanoseconds(point.average_s),
        modulus=point.modulus, class_pct=class_pct, certificate=address.option("certificate"),
        calibrated_on=calibrated, certificate_due=due,
        has_own_clock=point.has_own_clock,
    )  # fmt: skip


def period_ns(address: Address, default_s: float) -> int:
    """How often the meter is read, in ns. raises: UsageError."""
    return nanoseconds(address.number("period", default_s, 0.02, 3600.0))


def _accuracy(address: Address, point: Point) -> tuple[float, str]:
    """Only power and energy carry the class that the operator states; the rest keep their own."""
    if "class" in address.options and point.kind in (Kind.POWER, Kind.ENERGY, Kind.HEAT, Kind.HEAT_ENERGY):
        class_pct = address.number("class", point.class_pct, 0.0, 100.0)
        if not class_pct > 0:
            why = f"{address.scheme}: class=0 is no class: give the meter's own in % of reading, or leave it out"
            raise UsageError(why, "meter-argument")
        return class_pct, f"class={class_pct:g} % of reading, as given"
    return point.class_pct, point.accuracy_source


def _day(address: Address, name: str) -> str:
    text = address.option(name)
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as err:
        why = f"{address.scheme}: {name}={text!r} is not a date like 2026-03-01"
        raise UsageError(why, "meter-argument") from err
