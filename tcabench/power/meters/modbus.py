"""Meters that speak Modbus TCP, read by a register map: `--meter modbus://host:502/UNIT?map=NAME`."""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address, parse_address, period_ns
from tcabench.power.maps import shipped
from tcabench.power.meter import Fact, Meter
from tcabench.power.register_map import PROTOCOL, LoadedMap, load_map
from tcabench.units import seconds

if TYPE_CHECKING:
    from tcabench.power.meters.modbus_link import Link, Target

OWN = (
    "map", "word_order", "byte_order", "timeout", "tls", "ca", "cert", "key", "tls_name", "passphrase_env",
    "passphrase_file",
)  # fmt: skip
PORT, TLS_PORT = 502, 802  # IANA: mbap, mbap-s
LARGEST_UNIT = 255  # 1-247 behind a gateway, 0 or 255 the device itself (Modbus over TCP/IP guide V1.0b, 4.4.2.2)
SHORTEST_S, LONGEST_S = 0.25, 1.0  # of the time-out, unless timeout= says otherwise
PERIOD_S = 1.0


def open_modbus(argument: str) -> list[Meter]:
    """The meter at `argument`: "//host[:port]/UNIT?map=NAME", NAME being a shipped map or the path of one.

    `word_order` and `byte_order` (big, little) overrule the map; `timeout` is in s; `tls=on` with `ca`, `cert` and
    `key` (PEM files) makes it Modbus/TLS, on port 802. Without UNIT it is 1.

    raises: UsageError for an address or a map that makes no sense; MeterError for a meter that cannot be read, or that
    is not what the map says.
    """
    address = parse_address(PROTOCOL, argument, 0, OWN)
    loaded = _map_of(address)
    tls = _tls(address) if address.choice("tls", "off", ("on", "off")) == "on" else None
    try:
        from tcabench.power.meters.modbus_link import Link, Target
    except ImportError as err:
        raise MeterError(f"Modbus needs pymodbus ({err}): pip install 'tcabench[modbus]'", "meter-missing") from err
    if not address.host:
        raise UsageError(f"modbus: {argument!r} names no host: //host:port/UNIT?map=NAME", "meter-argument")
    port = address.port or (TLS_PORT if tls else PORT)
    target = Target(address.host, port, _unit(address), tls, address.option("tls_name"))
    link = Link(target, max(_timeout_s(address), LONGEST_S))  # patient at opening, on time in the run
    try:
        return [_opened(address, link, loaded)]
    except BaseException:
        link.close()
        raise


def _opened(address: Address, link: "Link", loaded: LoadedMap) -> Meter:
    from tcabench.power.meters.modbus_meter import ClockedModbusMeter, ModbusMeter
    from tcabench.power.meters.modbus_opening import look

    found = look(link, address, loaded)
    found.facts.update(_link_facts(address, link))
    link.wait_at_most(_timeout_s(address))
    if loaded.map.clock and loaded.map.stamp:
        return ClockedModbusMeter(address.meter, link, loaded.map, found, loaded.map.clock)
    return ModbusMeter(address.meter, link, loaded.map, found)


def _map_of(address: Address) -> LoadedMap:
    name = address.option("map")
    if not name:
        known = ", ".join(shipped(PROTOCOL))
        raise UsageError(
            f"modbus: which registers does this meter have? Give map=NAME ({known}) or map=./my-meter.yaml",
            "meter-argument",
        )
    loaded = load_map(name)
    orders = {
        order: address.choice(order, getattr(loaded.map, order), ("big", "little"))
        for order in ("word_order", "byte_order")
    }
    return loaded.ordered(orders)


def _unit(address: Address) -> int:
    text = address.path.strip("/") or "1"
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_UNIT):
        raise UsageError(
            f"modbus: unit id {text!r} is not a number of 0 to {LARGEST_UNIT}: //host:port/UNIT", "meter-argument"
        )
    return int(text)


def _timeout_s(address: Address) -> float:
    period_s = seconds(period_ns(address, PERIOD_S))
    return address.number("timeout", min(LONGEST_S, max(period_s, SHORTEST_S)), 0.02, 60.0)


def _tls(address: Address) -> ssl.SSLContext:
    """What a connection must show, and shows. raises: UsageError."""
    try:
        context = ssl.create_default_context(cafile=address.option("ca") or None)
    except (OSError, ssl.SSLError) as err:
        raise UsageError(f"modbus: ca={address.option('ca')}: not usable: {err}", "meter-argument") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # MODBUS/TCP Security V21, 8.3
    certificate = address.option("cert")
    if not certificate:
        return context
    passphrase = address.secret("passphrase") or ""  # never asked for at the terminal
    try:
        context.load_cert_chain(certificate, address.option("key") or None, lambda: passphrase)
    except (OSError, ssl.SSLError, ValueError) as err:
        raise UsageError(
            f"modbus: cert={certificate}, key={address.option('key')}: not usable: {err}. A key with a passphrase "
            "needs passphrase_env= or passphrase_file=",
            "meter-argument",
        ) from err
    return context


def _link_facts(address: Address, link: "Link") -> Mapping[str, Fact]:
    target: Target = link.target
    security = "none: Modbus/TCP has no authentication and no encryption"
    if target.tls:
        shown = "with a client certificate" if address.option("cert") else "without a client certificate"
        security = f"{link.tls_version()}, the device's certificate checked, {shown}"
    return {
        "address": {"value": f"{target.host}:{target.port}/{target.unit}", "source": "the command line"},
        "security": {"value": security, "source": "tcabench"},
    }
