"""One played meter in a process of its own: `python meters_stage.py KIND FOLDER`, the chain as JSON on stdin.

It prints the `--meter` names that read it, as JSON, takes the instant at which the chain begins as a second line, and
ends when stdin does. The servers are those of the tests, each
with another project's implementation of its protocol; none of them adds an error of gain.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.meters_loads import Chain, Played

Names = list[str]
SECRETS = {"BENCH_AUTH": "correct horse", "BENCH_PRIV": "battery staple", "BENCH_PASSWORD": "correct horse"}
FINE_S = 0.0005  # the load is integrated so finely that spikes keep their energy
J_PER_KWH = 3_600_000
UPDATE_S = 1.0  # of the PDUs and the building meter, as documented
Value = TypeVar("Value")


def held(ask: Callable[[], Value], every_s: float) -> Callable[[], Value]:
    """`ask`, as a device answers that looks every so often: what it saw then."""
    seen: list[tuple[float, Value]] = []
    began_s, lock = time.monotonic(), threading.Lock()

    def answer() -> Value:
        with lock:
            look = (time.monotonic() - began_s) // every_s
            if not seen or look > seen[-1][0]:
                seen[:] = [(look, ask())]
            return seen[-1][1]

    return answer


@contextmanager
def modbus(load: Played, folder: Path) -> Iterator[Names]:
    from tests.power.servers.modbus_server import modbus_server

    with modbus_server("janitza-umg96", load) as server:
        load.start_s = server.meter.start_s
        yield [f"modbus://127.0.0.1:{server.port}/1?map=janitza-umg96&name=modbus"]


@contextmanager
def snmp2(load: Played, folder: Path) -> Iterator[Names]:
    with _agent(load) as port:
        yield [f"snmp://127.0.0.1:{port}?map=raritan-px&name=snmp2"]


@contextmanager
def snmp3(load: Played, folder: Path) -> Iterator[Names]:
    keys = "user=tca&auth=sha256&auth_env=BENCH_AUTH&priv=aes128&priv_env=BENCH_PRIV"
    with _agent(load, "tca") as port:
        yield [f"snmp://127.0.0.1:{port}?map=raritan-px&name=snmp3&{keys}"]


@contextmanager
def _agent(load: Played, *users: str) -> Iterator[int]:
    from tests.power.servers import played
    from tests.power.servers.snmp_agent import snmp_agent

    played.STEP_S = FINE_S
    with snmp_agent(load, "raritan-px", users) as agent:
        load.start_s = agent.load.began_s
        agent.load.now = held(agent.load.now, UPDATE_S)  # type: ignore[method-assign]
        yield agent.port


@contextmanager
def redfish(load: Played, folder: Path) -> Iterator[Names]:
    from tests.power.servers.redfish_server import USER, Knobs, redfish_server
    from tests.power.servers.redfish_tree import PDU, Shown

    with redfish_server(load, folder, Knobs(shown=Shown(kwh_digits=3))) as server:
        load.start_s = time.monotonic() - server.elapsed_s()
        login = f"ca={server.ca}&user={USER}&password_env=BENCH_PASSWORD"
        yield [f"redfish://127.0.0.1:{server.port}{PDU}?name=redfish&{login}"]


@contextmanager
def prometheus(load: Played, folder: Path) -> Iterator[Names]:
    """Its power and its energy are two series, so two meters of one domain."""
    from tests.power.servers.prometheus_server import prometheus_server

    with prometheus_server(load, folder, interval_s=1.0, scrapes=0) as server:
        load.start_s = server.exporter._start_s
        while len(server.exporter.given) < 4:
            time.sleep(0.05)
        at = f"prometheus://127.0.0.1:{server.port}?domain=prometheus"
        yield [
            f"{at}&name=prometheus&query=rack_joules_total&kind=energy&unit=J",
            f"{at}&name=prometheus-power&query=rack_watts&kind=power&unit=W",
        ]


@contextmanager
def csv(load: Played, folder: Path) -> Iterator[Names]:
    """What a data-centre management system appends every second: mean power, and energy in kWh to 3 digits."""
    path, over = folder / "export.csv", threading.Event()
    began_s = time.monotonic()
    load.start_s = began_s

    def row(at_s: float) -> str:
        wall_s = time.time() + at_s - time.monotonic()
        joules, before_j = (load.joules(x - began_s) for x in (at_s, at_s - 1))
        return f"{wall_s:.3f},{(joules - before_j) / 1000:.4f},{1e6 + joules / J_PER_KWH:.3f}\n"

    def write() -> None:
        at_s = began_s
        while not over.wait(max(0.0, at_s + 1 - time.monotonic())):
            at_s += 1
            with path.open("a") as file:
                file.write(row(at_s))

    path.write_text("time,power,energy\n" + "".join(row(began_s - k) for k in (3, 2, 1, 0)))
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield [f"csv:{path}?time=time&value=power,energy&unit=kW,kWh&name=csv"]
    finally:
        over.set()
        writer.join(5)


@contextmanager
def mqtt(load: Played, folder: Path) -> Iterator[Names]:
    from tests.power.servers import played
    from tests.power.servers.mqtt_broker import TOPIC, mqtt_broker

    played.STEP_S = FINE_S
    with mqtt_broker(load, "shelly", every_s=1.0) as broker:
        load.start_s = broker.load.began_s
        yield [f"mqtt://127.0.0.1:{broker.port}/{TOPIC}?format=shelly&update=1&name=mqtt"]


@contextmanager
def bacnet(load: Played, folder: Path) -> Iterator[Names]:
    from tests.power.servers.bacnet_device import DEVICE, bacnet_device

    with bacnet_device(load) as device:
        load.start_s = device._start_s
        _look_every_second(device)
        yield [f"bacnet://127.0.0.1:{device.port}/{DEVICE}?object=analog-input,1;analog-input,2&name=bacnet"]


def _look_every_second(device: Any) -> None:
    """As it says of itself (Update_Interval); by itself it would look at every request."""
    device.knobs.frozen, value = True, device.value
    look = held(lambda: time.monotonic() - device._start_s, UPDATE_S)

    def seen(instance: int) -> float:
        device._held_s = look()
        return float(value(instance))

    device.value = seen


@contextmanager
def rapl(load: Played, folder: Path) -> Iterator[Names]:
    """The counter is near its range at the epoch, so that it wraps."""
    from tests.power.servers.rapl_tree import RANGE_UJ, RaplTree

    last_s = 0.0

    def mean_w(middle_s: float) -> float:
        """The tree asks for the middle of each step; what it gets is the mean over that step, however long."""
        nonlocal last_s
        from_s, last_s = last_s, 2 * middle_s - last_s
        return (load.joules(last_s) - load.joules(from_s)) / (last_s - from_s) if last_s > from_s else 0.0

    start_uj = round(RANGE_UJ - 1e6 * load.chain.low_w * 60)
    tree = RaplTree(folder, {"intel-rapl:0": ("package-0", mean_w)}, start_uj=start_uj)
    load.start_s = time.monotonic()
    with tree:
        load.start_s = tree.began_s
        yield [f"played-rapl:{folder}"]


KINDS: Mapping[str, Callable[..., object]] = {
    "modbus": modbus, "snmp2": snmp2, "snmp3": snmp3, "redfish": redfish, "prometheus": prometheus, "csv": csv,
    "mqtt": mqtt, "bacnet": bacnet, "rapl": rapl,
}  # fmt: skip


def main() -> None:
    """Play until stdin ends."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    load = Played(Chain(**json.loads(sys.stdin.readline())))
    play = KINDS[kind](load, folder)
    with play as names:  # type: ignore[attr-defined]
        print(json.dumps(names), flush=True)
        load.epoch_s = float(sys.stdin.readline() or "inf")
        sys.stdin.read()


if __name__ == "__main__":
    main()
