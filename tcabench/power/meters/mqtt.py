"""Smart plugs and gateways that send over MQTT: `--meter "mqtt://host/tele/plug/SENSOR?format=tasmota"` (extra `mqtt`).

The device sends when it likes. What came since the last read is given at the next one, with the time of that read, so
the meter is read ten times a second: cheaply, and a stamp is at most that late.
"""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address, Point, parse_address, place
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.mqtt_feed import TIMEOUT_S, Broker, Feed
from tcabench.power.meters.mqtt_payload import (
    NONE_STATED,
    BadMessage,
    Field,
    Format,
    asked_format,
    number_at,
    parsed,
    stamp_ns,
    step_of,
)
from tcabench.records import Channel, Kind, Reading

PORT = 1883
OPTIONS = (
    "format", "power", "energy", "unit", "power_unit", "energy_unit", "time", "update", "wait", "user", "password_env",
    "password_file", "tls", "ca",
)  # fmt: skip
PERIOD_S = 0.1
WAIT_S = 90.0  # the longest wait for a first message, unless more is asked for
ADVICE = {
    "meter-unreachable": "Is a broker there, at that port (1883, or 8883 with tls=yes), and no firewall between?",
    "meter-auth": "Give user=NAME with password_env=VARIABLE or password_file=FILE, or let the broker admit this user",
}
SILENT_UPDATES = 3  # so many updates without a message: the device is gone


@dataclass(frozen=True, slots=True)
class Wire:
    """A channel and the field of a message that it shows."""

    channel: Channel
    field: Field


class MqttMeter:
    """One topic. What the broker had kept from earlier (a retained message) is no reading: nobody knows its age."""

    def __init__(self, name: str, feed: Feed, form: Format, wires: Sequence[Wire], facts: dict[str, Fact]) -> None:
        self.name, self._feed, self._form, self._wires, self._facts = name, feed, form, tuple(wires), facts
        self._held: list[Reading] = []

    def channels(self) -> tuple[Channel, ...]:
        return tuple(wire.channel for wire in self._wires)

    def read(self) -> list[Reading]:
        """What came since the last call; often nothing. Without a time in them, messages that came between two calls
        cannot be told apart: the newest value of each channel is given. With one, all of them.

        raises: MeterError when the broker is lost, the device is silent for too long or what it says is no message of
        its format; the next call may succeed again.
        """
        while (taken := self._feed.take()) is not None:
            payload, is_old = taken
            if not is_old:
                self._held += self._readings(payload)
        if not self._held:
            self._complain()
        readings, self._held = self._held, []
        return readings if self._form.time else list({one.channel: one for one in readings}.values())

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        self._feed.close()

    def _readings(self, payload: bytes) -> list[Reading]:
        try:
            message = parsed(payload, self._form)
        except BadMessage as err:
            raise MeterError(f"{self.name}: a message that is {err}", "meter-protocol") from err
        stamp = stamp_ns(message, self._form.time) if self._form.time else None
        if self._form.time and stamp is None:
            raise MeterError(f"{self.name}: a message whose {self._form.time} is no time of our day", "meter-protocol")
        numbers = [(wire.channel.id, number_at(message, wire.field.path), wire.field.factor) for wire in self._wires]
        return [Reading(id_, float(number * factor), stamp) for id_, number, factor in numbers if number is not None]

    def _complain(self) -> None:
        if self._feed.trouble:
            raise MeterError(f"{self.name}: no connection to the broker: {self._feed.trouble.why}", "meter-unreachable")
        if self._feed.silent_s > SILENT_UPDATES * self._form.update_s:
            raise MeterError(
                f"{self.name}: nothing has come for {self._feed.silent_s:.0f} s: is the device up, and does it send "
                f"every {self._form.update_s:g} s?",
                "meter-read",
            )


def open_mqtt(argument: str) -> list[Meter]:
    """The meter behind "//host[:1883]/TOPIC?format=tasmota|shelly|json|number..."; opening connects, subscribes and
    waits for a message.

    Paths and units of `json`: power=PATH&power_unit=W, energy=PATH&energy_unit=kWh, time=PATH; `number`: unit=W.
    `update` is how often the device sends (s), `wait` how long to wait for the first message (s).

    raises: UsageError for an address that makes no sense; MeterError of kind meter-missing, meter-unreachable,
    meter-auth, meter-read (no message came) or meter-map (it has none of the numbers).
    """
    address = parse_address("mqtt", argument, PORT, OPTIONS)
    topic = address.path.lstrip("/")
    if not address.host or not topic or "+" in topic or "#" in topic:
        raise UsageError(
            "mqtt: it takes a host and one topic without wildcards, as in mqtt://10.0.0.9/tele/plug1/SENSOR?"
            "format=tasmota",
            "meter-argument",
        )
    form = asked_format(address)
    if find_spec("aiomqtt") is None:
        raise MeterError("mqtt: its library is not installed: pip install 'tcabench[mqtt]'", "meter-missing")
    broker = _broker(address)
    _check_certificate(broker)
    feed = Feed(broker, topic)
    try:
        return [_opened(address, topic, feed, form)]
    except (MeterError, UsageError):
        feed.close()
        raise


def _opened(address: Address, topic: str, feed: Feed, form: Format) -> MqttMeter:
    where = f"mqtt {address.host}:{address.port}"
    feed.settled(2 * TIMEOUT_S)
    if feed.trouble:
        kind = "meter-auth" if feed.trouble.is_refused else "meter-unreachable"
        raise MeterError(f"{where}: no connection: {feed.trouble.why}. {ADVICE[kind]}", kind)
    payload, is_old = _first(address, where, topic, feed, form)
    try:
        message = parsed(payload, form)
    except BadMessage as err:
        raise MeterError(f"{where}: what comes on {topic!r} is {err}", "meter-map") from err
    found = [(field, number) for field in form.fields if (number := number_at(message, field.path)) is not None]
    if not found:
        paths = ", ".join(field.path for field in form.fields)
        raise MeterError(f"{where}: what comes on {topic!r} has no number at {paths}: {payload[:200]!r}", "meter-map")
    has_stamp = bool(form.time) and stamp_ns(message, form.time) is not None
    if form.time and not has_stamp:
        raise MeterError(f"{where}: time={form.time} leads to no instant (local time without a zone is none)",
                         "meter-map")  # fmt: skip
    wires = [Wire(place(address, _point(form, field, number, has_stamp)), field) for field, number in found]
    return MqttMeter(address.meter, feed, form, wires, _facts(address, topic, form, wires, is_old))


def _first(address: Address, where: str, topic: str, feed: Feed, form: Format) -> tuple[bytes, bool]:
    """The first message. It is looked at, not counted as a reading."""
    wait_s = address.number("wait", min(form.update_s + TIMEOUT_S, WAIT_S), 0.0, 3600.0)
    if feed.wait(wait_s) and (taken := feed.take()):
        return taken
    raise MeterError(
        f"{where}: connected, but nothing came on {topic!r} within {wait_s:g} s. Is that the device's topic? Let it "
        "send more often (Tasmota: TelePeriod 10), or wait longer (wait=SECONDS)",
        "meter-read",
    )


def _point(form: Format, field: Field, number: Decimal, has_stamp: bool) -> Point:
    kind, unit = field.kind, "W" if field.kind is Kind.POWER else "J"
    return Point(
        quantity=kind.value, kind=kind, unit=unit, class_pct=10.0, accuracy_source=NONE_STATED,
        resolution=float((field.step or step_of(number)) * field.factor), update_s=form.update_s, period_s=PERIOD_S,
        boundary="node", has_own_clock=has_stamp, note=form.note,
    )  # fmt: skip


def _broker(address: Address) -> Broker:
    """raises: UsageError."""
    tls = None
    if address.choice("tls", "no", ("yes", "no")) == "yes":
        try:
            tls = ssl.create_default_context(cafile=address.option("ca") or None)
        except OSError as err:
            raise UsageError(f"mqtt: ca={address.option('ca')}: cannot be read: {err}", "meter-argument") from err
    return Broker(address.host, address.port, address.option("user") or None, address.secret("password"), tls)


def _check_certificate(broker: Broker) -> None:
    """Before the library connects: it would leave the socket of a handshake that failed open. raises: MeterError."""
    if broker.tls is None:
        return
    where = f"mqtt {broker.host}:{broker.port}"
    try:
        with (
            socket.create_connection((broker.host, broker.port), TIMEOUT_S) as plain,
            broker.tls.wrap_socket(plain, server_hostname=broker.host),
        ):
            return
    except ssl.SSLCertVerificationError as err:
        why = f"its certificate is not accepted: {err.verify_message}. ca=FILE names who signed it (a PEM file)"
        raise MeterError(f"{where}: {why}", "meter-auth") from err
    except OSError as err:
        raise MeterError(f"{where}: no connection: {err}. {ADVICE['meter-unreachable']}", "meter-unreachable") from err


def _facts(address: Address, topic: str, form: Format, wires: Sequence[Wire], is_old: bool) -> dict[str, Fact]:
    has_tls, user = address.option("tls") == "yes", address.option("user")
    worth = "TLS" if has_tls else "none: MQTT without TLS, anybody on the network may read it or make it up"
    facts: dict[str, Any] = {
        "address": f"mqtt://{address.host}:{address.port}/{topic}",
        "format": f"{form.name}: {', '.join(wire.field.path or 'the message' for wire in wires)}",
        "security": f"{worth}; {'user and password' if user else 'no user'}",
        "first_message": "kept by the broker from earlier, not counted" if is_old else "live",
    }
    return {name: {"value": value, "source": "the address given"} for name, value in facts.items()}
