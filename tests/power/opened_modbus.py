"""A Modbus meter opened against the server that plays it, and one value of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tcabench.power.meter import Meter
from tcabench.power.meters.modbus import open_modbus
from tcabench.records import Channel, Kind
from tests.power.servers.modbus_server import ModbusPlayer


@contextmanager
def opened(server: ModbusPlayer, name: str = "janitza-umg96", more: str = "", unit: int = 1) -> Iterator[Meter]:
    """The meter at `server`, patient enough for a busy machine."""
    (meter,) = open_modbus(f"//127.0.0.1:{server.port}/{unit}?map={name}&timeout=2{more}")
    try:
        yield meter
    finally:
        meter.close()


def steady(t_s: float) -> float:
    return 3000.0


def of_kind(meter: Meter, kind: Kind) -> Channel:
    return next(channel for channel in meter.channels() if channel.kind is kind)


def value(meter: Meter, kind: Kind) -> float:
    return {reading[0]: reading[1] for reading in meter.read()}[of_kind(meter, kind).id]
