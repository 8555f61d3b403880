"""A real Modbus server on loopback that plays a load, whatever the register map: it encodes by the map.

    with modbus_server("janitza-umg96", watts=lambda t: 3000 + 500 * (t > 2)) as server:
        (meter,) = open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96")

Faults are attributes that may be set at any time: `silent` (requests are taken and never answered), `frozen` (values
stop changing), `drop_share` (0..1 of the answers are lost), `cut_short` (half an answer, then the connection ends),
`exception` (each request is answered by that Modbus exception code), `not_available` (names of channels that read as
NaN or as the map's sentinel), `clock_offset_s`, `late_s` (how long each answer takes), `split_s` (how much later its
second half comes). `reset_counter()` sets the energy counters to 0, `hang_up()` closes
the connections, `stop()` and `start()` kill the server and bring it back on the same port.
"""

import asyncio
import math
import random
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tcabench.power.meters.modbus_decode import FORMATS, Coding
from tcabench.power.register_map import COUNTERS, Quantity, RegisterMap, load_map
from tcabench.records import Kind, Role
from tcabench.units import NS_PER_S

STEP_S = 0.001  # the load is integrated in steps of this, each at its middle
START_J = 3.6e9  # 1000 kWh: a meter that has been there for a while
POWER_FACTOR, VOLTAGE_V, FREQUENCY_HZ = 0.95, 230.0, 50.0
SUPPLY_C, RISE_K, W_PER_LPM_K = 30.0, 10.0, 66.8  # of a loop: PG25 at 35 degC carries 66.8 W for each L/min and K
IDENTITY = {"maker": "Loopback Works", "model": "Played meter", "serial": "SN-0042", "firmware": "1.2"}
SERIAL_NUMBER = 4242

Watts = Callable[[float], float]


def encode(coding: Coding, number: float) -> list[int]:
    """The registers of a number: the reverse of `Coding.number`."""
    kind = FORMATS[coding.type]
    data = struct.pack(">" + kind, number if kind in "fd" else round(number))
    words = [int.from_bytes(data[i : i + 2], "big" if coding.byte_order == "big" else "little")
             for i in range(0, len(data), 2)]  # fmt: skip
    return words if coding.word_order == "big" else words[::-1]


class PlayedLoad:
    """A load over time, and the energy it has used since time 0, both exact to `STEP_S`."""

    def __init__(self, watts: Watts) -> None:
        self.watts = watts
        self._steps, self._joules = 0, 0.0

    def joules(self, t_s: float) -> float:
        """Energy in J at `t_s`, which never goes back."""
        while (self._steps + 1) * STEP_S <= t_s:
            self._joules += self.watts((self._steps + 0.5) * STEP_S) * STEP_S
            self._steps += 1
        done_s = self._steps * STEP_S
        return self._joules + max(0.0, t_s - done_s) * self.watts((done_s + max(done_s, t_s)) / 2)


class PlayedMeter:
    """What stands in the registers at each instant. `values` replaces single quantities of the map by name."""

    def __init__(self, whole: RegisterMap, watts: Watts, update_s: float, values: Mapping[str, Watts]) -> None:
        self.map, self.update_s, self._values = whole, update_s, values
        self.load, self.start_s = PlayedLoad(watts), time.monotonic()
        self.offset_j, self.frozen_s, self.clock_offset_s = START_J, math.nan, 0.0
        self.not_available: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def now_s(self) -> float:
        """Seconds since the start, as `watts` sees them: the instant at which the present values were taken."""
        t_s = time.monotonic() - self.start_s
        t_s = t_s if math.isnan(self.frozen_s) else self.frozen_s
        return t_s // self.update_s * self.update_s if self.update_s else t_s

    def words(self, spec: Quantity, t_s: float) -> list[int]:
        coding = self.map.coding(spec)
        if spec.name in self.not_available:
            raw = spec.not_available[0] if spec.not_available else math.nan
            return encode(coding, raw)
        raw = (self.value(spec, t_s) - spec.offset) / spec.scale
        modulus = getattr(spec, "modulus", 0.0) / abs(spec.scale)
        return encode(coding, round(raw) % round(modulus) if modulus else raw)

    def value(self, spec: Quantity, t_s: float) -> float:
        """A quantity's value in its unit, as the device shows it: cut or rounded to its resolution."""
        value = self._true(spec, t_s)
        step = getattr(spec, "resolution", 0.0) or (0.0 if "float" in spec.type else abs(spec.scale))
        if not step:
            return value
        return math.floor(value / step) * step if spec.kind in COUNTERS else round(value / step) * step

    def _true(self, spec: Quantity, t_s: float) -> float:
        if spec.name in self._values:
            return self._values[spec.name](t_s)
        watts = self.load.watts(t_s)
        if spec.kind in (Kind.ENERGY, Kind.HEAT_ENERGY):
            with self._lock:
                return self.offset_j + self.load.joules(t_s)
        role = getattr(spec, "role", Role.INFO)
        return {
            Kind.POWER: watts, Kind.HEAT: watts, Kind.APPARENT_POWER: abs(watts) / POWER_FACTOR,
            Kind.POWER_FACTOR: POWER_FACTOR, Kind.VOLTAGE: VOLTAGE_V, Kind.FREQUENCY: FREQUENCY_HZ,
            Kind.CURRENT: abs(watts) / POWER_FACTOR / VOLTAGE_V, Kind.FLOW: watts / RISE_K / W_PER_LPM_K,
            Kind.TEMPERATURE: SUPPLY_C + (RISE_K if role is Role.RETURN else 0.0),
        }.get(spec.kind or Kind.PROCESSES, getattr(spec, "equals", None) or 0.0)  # fmt: skip

    def reset_counter(self) -> None:
        with self._lock:
            self.offset_j = -self.load.joules(time.monotonic() - self.start_s)

    def everything(self) -> dict[tuple[int, int], list[int]]:
        """(function, address) -> registers, for all that the map names."""
        t_s = self.now_s()
        whole = self.map
        said = {
            (spec.function or whole.function, spec.address): self.words(spec, t_s)
            for spec in (*whole.channels, *whole.checks)
        }
        for name, one in whole.identity.items():
            if one.address is not None:
                said[one.function or whole.function, one.address] = self._who(one, name)
        for clock, at_s in ((whole.clock, time.monotonic() - self.start_s), (whole.stamp, t_s)):
            if clock is not None:
                said[clock.function or whole.function, clock.address] = self._clock(clock, at_s)
        return said

    def _who(self, one: Any, name: str) -> list[int]:
        if one.type != "ascii":
            return encode(Coding(one.type, self.map.word_order), SERIAL_NUMBER)
        data = IDENTITY[name].encode().ljust(2 * one.registers, b"\0")
        return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]

    def _clock(self, clock: Any, at_s: float) -> list[int]:
        if clock.type == "schneider-datetime":  # 2026-11-23 14:05:06.789
            return [26, 11 << 8 | 23, 14 << 8 | 5, 6789]
        unix_ns = time.time_ns() + round((self.clock_offset_s + at_s - (time.monotonic() - self.start_s)) * NS_PER_S)
        return encode(self.map.coding(clock), unix_ns // (NS_PER_S // clock.per_s))


class ModbusPlayer:
    """The server around a `PlayedMeter`, in a thread with an event loop of its own."""

    def __init__(self, meter: PlayedMeter, unit: int, tls: ssl.SSLContext | None, hidden: frozenset[str]) -> None:
        self.meter, self.port, self._unit, self._tls, self._hidden = meter, 0, unit, tls, hidden
        self.silent = self.cut_short = False
        self.drop_share = self.late_s = self.split_s = 0.0
        self.exception = 0
        self.requests: list[tuple[int, int, int]] = []  # function, address, count
        self._dice = random.Random(7)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modbus server", daemon=True)
        self._server: ModbusTcpServer | None = None

    @property
    def frozen(self) -> bool:
        return not math.isnan(self.meter.frozen_s)

    @frozen.setter
    def frozen(self, on: bool) -> None:
        self.meter.frozen_s = self.meter.now_s() if on else math.nan

    def reset_counter(self) -> None:
        self.meter.reset_counter()

    def start(self) -> None:
        """Listen, on the port of the first time."""
        if not self._thread.is_alive():
            self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """Close everything, as if the device lost its supply."""
        self._do(self._shut())

    def hang_up(self) -> None:
        """End the open connections; new ones are taken."""
        self._do(self._hang_up())

    def end(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        layout = self._layout()
        devices = [
            SimDevice(id=self._unit, simdata=layout, action=self._fill),
            SimDevice(id=0, simdata=layout, action=self._nobody),
        ]
        where = ("127.0.0.1", self.port)
        if self._tls:
            self._server = ModbusTlsServer(
                devices, framer=FramerType.SOCKET, address=where, sslctx=self._tls, trace_packet=self._sent
            )
        else:
            self._server = ModbusTcpServer(devices, address=where, trace_packet=self._sent)
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _shut(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
            self._server = None
            await asyncio.sleep(0)

    async def _hang_up(self) -> None:
        for connection in self._connections():
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)

    def _layout(self) -> Any:
        """Holding and input registers apart, so that the wrong function is refused. Holes that the map bridges can be
        read, others are refused."""
        blocks: dict[int, set[int]] = {3: set(), 4: set()}
        for (function, address), words in sorted(self._shown().items()):
            taken = blocks[function]
            hole = address - 1 - max(taken, default=address)
            taken.update(range(address - (hole if 0 < hole <= self.meter.map.max_gap else 0), address + len(words)))
        bits = [SimData(0, values=False, datatype=DataType.BITS)]
        registers = [[SimData(a, values=0, datatype=DataType.REGISTERS) for a in sorted(blocks[f])] for f in (3, 4)]
        spare = [SimData(65_000, values=0, datatype=DataType.REGISTERS)]
        return bits, list(bits), registers[0] or spare, registers[1] or list(spare)

    def _shown(self) -> dict[tuple[int, int], list[int]]:
        hidden = {
            (spec.function or self.meter.map.function, spec.address)
            for spec in (*self.meter.map.channels, *self.meter.map.checks)
            if spec.name in self._hidden
        }
        return {place: words for place, words in self.meter.everything().items() if place not in hidden}

    async def _fill(
        self, function: int, start: int, address: int, count: int, registers: list[int], written: Any
    ) -> ExcCodes | None:
        self.requests.append((function, address, count))
        if self.exception:
            return ExcCodes(self.exception)
        for (fills, at), words in self._shown().items():
            if fills == function:
                registers[at - start : at - start + len(words)] = words
        if self.late_s:
            await asyncio.sleep(self.late_s)
        return None

    async def _nobody(self, *asked: Any) -> ExcCodes:
        """Any other unit: a gateway that finds no device behind it."""
        return ExcCodes.GATEWAY_NO_RESPONSE

    def _sent(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            return data
        if self.silent or (self.drop_share and self._dice.random() < self.drop_share):
            return b""
        if self.cut_short:
            self._loop.call_soon(self._loop.create_task, self._hang_up())
            return data[: len(data) // 2]
        if self.split_s:
            self._loop.call_later(self.split_s, self._send_rest, self._connections(), data[len(data) // 2 :])
            return data[: len(data) // 2]
        return data

    def _connections(self) -> list[Any]:
        return list(self._server.active_connections.values()) if self._server else []

    def _send_rest(self, connections: list[Any], rest: bytes) -> None:
        for connection in connections:
            if connection.transport is not None:
                connection.transport.write(rest)


@contextmanager
def modbus_server(
    name_or_map: str | RegisterMap,
    watts: Watts,
    *,
    unit: int = 1,
    update_s: float | None = None,
    values: Mapping[str, Watts] | None = None,
    tls: ssl.SSLContext | None = None,
    hidden: frozenset[str] = frozenset(),
) -> Iterator[ModbusPlayer]:
    """A running server for a map (its name, its path, or itself) that plays `watts(t)`, t in s since the start.

    `update_s`: how often its registers change (None: as the map says, 0: at each request). `hidden`: names of channels
    and checks whose registers this device does not have.
    """
    whole = load_map(name_or_map).map if isinstance(name_or_map, str) else name_or_map
    if update_s is None:
        update_s = min(one.update_s for one in whole.channels)
    player = ModbusPlayer(PlayedMeter(whole, watts, update_s, values or {}), unit, tls, hidden)
    player.start()
    try:
        yield player
    finally:
        player.end()
