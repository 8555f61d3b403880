"""An SNMP meter opened against the agent that plays it, and what it reads."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tcabench.errors import MeterError
from tcabench.power.meter import Meter
from tcabench.power.meters.snmp import open_snmp
from tcabench.records import Channel

PATIENCE_S = 15.0


@contextmanager
def opened(port: int, name: str = "raritan-px", more: str = "") -> Iterator[Meter]:
    """The meter behind `port`; rfc7460 is asked for its entity 1."""
    entity = "&entity=1" if name == "rfc7460" else ""
    (meter,) = open_snmp(f"//127.0.0.1:{port}?map={name}{entity}{more}")
    try:
        yield meter
    finally:
        meter.close()


def steady(t_s: float) -> float:
    return 412.3


def values(meter: Meter) -> dict[str, float]:
    """What one read gives: quantity -> value."""
    return {reading[0].rpartition(".")[2]: reading[1] for reading in meter.read()}


def values_again(meter: Meter) -> dict[str, float]:
    """As `values`, of the first read that works: a busy machine may take longer than the meter waits."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with suppress(MeterError):
            return values(meter)
    return values(meter)


def stamps(meter: Meter) -> set[int | None]:
    """The device's own stamps of one read."""
    return {reading[2] for reading in meter.read() if len(reading) > 2}


def channel(meter: Meter, quantity: str) -> Channel:
    return next(one for one in meter.channels() if one.id.endswith(f".{quantity}"))
