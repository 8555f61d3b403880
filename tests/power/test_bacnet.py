"""BACnet/IP against a real device on loopback: units decide, flags count, and an outage ends."""

import builtins
import time
from collections.abc import Callable, Iterator

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Meter
from tcabench.power.meters.bacnet import open_bacnet
from tcabench.records import Kind, Reading
from tests.power.servers.bacnet_device import DEVICE, BacnetDevice, bacnet_device

Open = Callable[..., Meter]


@pytest.fixture
def device() -> Iterator[BacnetDevice]:
    with bacnet_device(lambda t: 3250.0) as running:
        yield running


@pytest.fixture
def opened(device: BacnetDevice) -> Iterator[Open]:
    """opened("analog-input,1", "option=value", ...) -> the meter; all are closed at the end."""
    meters: list[Meter] = []

    def call(objects: str, *options: str, number: int = DEVICE) -> Meter:
        known = options if any(one.startswith("timeout=") for one in options) else ("timeout=5", *options)
        (meter,) = open_bacnet(f"//127.0.0.1:{device.port}/{number}?{'&'.join((f'object={objects}', *known))}")
        meters.append(meter)
        return meter

    yield call
    for meter in meters:
        meter.close()


def values(meter: Meter) -> list[float]:
    return [Reading(*one).value for one in meter.read()]


def test_power_and_energy_come_in_our_units(device: BacnetDevice, opened: Open) -> None:
    meter = opened("analog-input,1;analog-input,2", "name=em17", "domain=rack7", "boundary=rack", "class=1")
    power, energy = meter.channels()
    assert (power.id, power.kind, power.unit) == ("bacnet.em17.analog-input-1", Kind.POWER, "W")
    assert (energy.kind, energy.unit, energy.domain, energy.boundary) == (Kind.ENERGY, "J", "rack7", "rack")
    assert (power.resolution, power.update_ns, power.class_pct) == (pytest.approx(1.0), 1_000_000_000, 1.0)
    before_s = time.monotonic() - device._start_s
    watts, joules = values(meter)
    after_s = time.monotonic() - device._start_s
    assert watts == 3250.0
    assert 3250 * before_s - 1 <= joules <= 3250 * after_s + 1
    facts = meter.facts()
    assert (facts["maker"]["value"], facts["model"]["value"]) == ("Contoso", "EM-17")
    assert facts["security"]["value"] == "none: BACnet/IP has no authentication"
    assert facts["object.analog-input,1"]["value"] == "power, kilowatts, no-fault-detected"


def test_a_counter_is_as_coarse_as_its_32_bits(device: BacnetDevice, opened: Open) -> None:
    device._zero_j = -100_000 * 3_600_000.0
    (energy,) = opened("analog-input,2").channels()
    assert energy.resolution == pytest.approx(3_600_000 / 128)  # 0.0078 kWh
    assert energy.accuracy_source.startswith("no accuracy stated; taken as 5 % of reading")


def test_a_device_without_read_property_multiple_is_asked_one_by_one(device: BacnetDevice, opened: Open) -> None:
    assert device.knobs.one_by_one is False
    assert values(opened("analog-input,1;analog-input,3", "name=first")) == [3250.0, 21.5]
    assert device.many == 2  # the opening and the reading
    device.knobs.one_by_one = True
    meter = opened("analog-input,1;analog-input,3")
    assert device.many == 2
    assert values(meter) == [3250.0, 21.5]
    device.knobs.flags = "fault"
    assert meter.read() == []


def test_heat_is_told_from_electricity_by_its_kind(opened: Open) -> None:
    (heat,) = opened("analog-input,1", "kind=heat").channels()
    assert (heat.kind, heat.unit) == (Kind.HEAT, "W")
    with pytest.raises(UsageError, match="none of degC"):
        opened("analog-input,1", "kind=temperature", "name=b")


@pytest.mark.parametrize("flags", ["fault", "overridden", "out-of-service", "in-alarm;fault"])
def test_what_is_no_measurement_is_left_out(device: BacnetDevice, opened: Open, flags: str) -> None:
    meter = opened("analog-input,1")
    device.knobs.flags = flags
    assert meter.read() == []
    with pytest.raises(MeterError, match="report a fault") as caught:
        opened("analog-input,1", "name=second")
    assert caught.value.kind == "meter-read"
    device.knobs.flags = "in-alarm"
    assert values(meter) == [3250.0]


def test_frozen_values_and_a_counter_reset_show_as_they_are(device: BacnetDevice, opened: Open) -> None:
    meter = opened("analog-input,2")
    device.knobs.frozen = True
    assert values(meter) == values(meter)
    device.knobs.frozen = False
    before = values(meter)
    device.reset_counter()
    assert values(meter) < before


def test_a_device_that_falls_silent_is_read_again_when_it_is_back(device: BacnetDevice, opened: Open) -> None:
    meter = opened("analog-input,1", "timeout=0.3")
    device.knobs.silent = True
    for _ in range(2):
        with pytest.raises(MeterError, match=r"within 0\.3 s") as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
    device.knobs.silent = False
    for _ in range(50):
        try:
            assert values(meter) == [3250.0]
            return
        except MeterError:
            time.sleep(0.1)
    raise AssertionError("it was not read again")


def test_lost_packets_are_sent_again(device: BacnetDevice, opened: Open) -> None:
    meter = opened("analog-input,1", "timeout=1")
    device.knobs.drop_share = 0.3
    got, failed = list[float](), 0
    for _ in range(8):
        try:
            got += values(meter)
        except MeterError:
            failed += 1
    assert got == [3250.0] * (8 - failed)
    assert failed <= 4  # without sending again, half of the readings would be lost; with it, one in twenty is


@pytest.mark.parametrize(
    ("objects", "kind", "why"),
    [
        ("analog-input,99", "meter-map", "no object analog-input,99"),
        ("analog-input,4", "meter-map", "is in bars, no unit of an energy account"),
        ("binary-input,1", "meter-argument", "none like analog-input,1"),
        ("", "meter-argument", "object are needed"),
    ],
)
def test_what_cannot_be_read_says_why(opened: Open, objects: str, kind: str, why: str) -> None:
    with pytest.raises((MeterError, UsageError), match=why) as caught:
        opened(objects)
    assert caught.value.kind == kind


def test_another_device_at_that_address_is_refused(opened: Open) -> None:
    with pytest.raises(MeterError, match="no object device,997"):
        opened("analog-input,1", number=997)


def test_a_local_address_that_is_not_ours_is_said(device: BacnetDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcabench.power.meters.bacnet.OPENING_S", 0.3)
    with pytest.raises(MeterError, match="local address 192"):
        open_bacnet(f"//127.0.0.1:{device.port}/{DEVICE}?object=analog-input,1&address=192.0.2.7/24:0")


def test_without_the_library_the_extra_is_named(device: BacnetDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name.startswith("bacpypes3"):
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MeterError, match=r"tcabench\[bacnet\]") as caught:
        open_bacnet(f"//127.0.0.1:{device.port}/{DEVICE}?object=analog-input,1")
    assert caught.value.kind == "meter-missing"
