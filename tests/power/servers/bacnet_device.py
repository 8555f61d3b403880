"""A BACnet/IP device on loopback that plays a load: analog-input 1 is its power in kW, 2 its energy in kWh, 3 a
temperature, 4 a pressure. Faults on demand."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser
from bacpypes3.basetypes import StatusFlags
from bacpypes3.errors import UnrecognizedService
from bacpypes3.local.analog import AnalogInputObject

from tests.power.servers.load_curve import LoadCurve

DEVICE = 998
J_PER_KWH = 3_600_000
OBJECTS = {
    1: ("power", "kilowatts"),
    2: ("energy", "kilowatt-hours"),
    3: ("air", "degrees-celsius"),
    4: ("gas", "bars"),
}


@dataclass(slots=True)
class Knobs:
    """The faults, to be turned while it runs. `silent`: nothing is answered. `frozen`: values stop. `flags`:
    Status_Flags of all objects, e.g. "fault". `drop_share`: share of the packets that are lost. `one_by_one`:
    ReadPropertyMultiple is not known, as in small devices."""

    silent: bool = False
    frozen: bool = False
    flags: str = ""
    drop_share: float = 0.0
    one_by_one: bool = False
    dice: random.Random = field(default_factory=lambda: random.Random(7))


class _Input(AnalogInputObject):  # type: ignore[misc]
    """An analog input whose value is asked for when it is read."""

    async def read_property(self, attr: Any, index: int | None = None) -> Any:
        device: BacnetDevice = self._app.owner
        if str(attr) == "present-value":
            self.presentValue = device.value(self.objectIdentifier[1])
        if str(attr) == "status-flags":
            return StatusFlags(device.knobs.flags)
        return await super().read_property(attr, index)


class _Device(Application):  # type: ignore[misc]
    """A device that may not know ReadPropertyMultiple."""

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:
        if self.owner.knobs.one_by_one:
            raise UnrecognizedService()
        self.owner.many += 1
        await super().do_ReadPropertyMultipleRequest(apdu)


class BacnetDevice:
    """`port` says where it is; `many` counts the ReadPropertyMultiple requests that were answered."""

    def __init__(self, watts: Callable[[float], float]) -> None:
        self.knobs, self.port, self.many = Knobs(), 0, 0
        self._load, self._start_s, self._zero_j, self._held_s = LoadCurve(watts), time.monotonic(), 0.0, 0.0
        self._loop = asyncio.new_event_loop()
        self._application: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="bacnet device", daemon=True)

    def value(self, instance: int) -> float:
        """What an analog input reads now, in its unit."""
        if not self.knobs.frozen:
            self._held_s = time.monotonic() - self._start_s
        if instance == 1:
            return self._load.watts(self._held_s) / 1000
        return (self._load.joules(self._held_s) - self._zero_j) / J_PER_KWH if instance == 2 else 21.5

    def _is_lost(self) -> bool:
        return self.knobs.silent or self.knobs.dice.random() < self.knobs.drop_share

    def reset_counter(self) -> None:
        """The energy starts again at 0."""
        self._zero_j = self._load.joules(time.monotonic() - self._start_s)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        options = ["--address", f"127.0.0.1/32:{self.port}", "--instance", str(DEVICE), "--name", "meter"]
        self._application = application = _Device.from_args(SimpleArgumentParser().parse_args(options))
        application.owner = self
        application.device_object.vendorName, application.device_object.modelName = "Contoso", "EM-17"
        for instance, (name, unit) in OBJECTS.items():
            told = {"resolution": 0.001, "updateInterval": 100} if instance == 1 else {}
            application.add_object(
                _Input(objectIdentifier=("analog-input", instance), objectName=name, units=unit, presentValue=0.0,
                       statusFlags="", eventState="normal", outOfService=False, covIncrement=1.0,
                       reliability="no-fault-detected", **told)
            )  # fmt: skip
        (link,) = application.link_layers.values()
        while link.server.local_transport is None:
            await asyncio.sleep(0.005)
        self.port = link.server.local_transport.get_extra_info("sockname")[1]
        protocol = link.server.local_protocol
        taken = protocol.datagram_received
        protocol.datagram_received = lambda data, source: None if self._is_lost() else taken(data, source)

    async def _ended(self) -> None:
        """Requests that were left unanswered end with the device; the socket is closed in the loop's next round."""
        if self._application is not None:
            self._application.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@contextmanager
def bacnet_device(watts: Callable[[float], float]) -> Iterator[BacnetDevice]:
    """A running device on 127.0.0.1; `watts` takes seconds since its start."""
    device = BacnetDevice(watts)
    device.start()
    try:
        yield device
    finally:
        device.end()
