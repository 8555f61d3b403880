"""The estimate: processor time is real, the power is a model that says so."""

import resource
import subprocess
import sys

import pytest

from tcabench.energy import integrate
from tcabench.errors import PluginError, UsageError
from tcabench.power import open_meters
from tcabench.power.meters.estimate import BUSY_W, IDLE_W, PowerModel, cpu_time_s
from tcabench.records import Instrument, Kind, PowerSample, Quantity, Window

BUSY_LOOP = "import time\nwhile time.process_time() < 1.0: pass"
TICK_S = 0.01


def test_cpu_time_holds_at_least_what_a_busy_child_used() -> None:
    (meter,) = open_meters(["estimate"])
    before_child = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = dict(meter.read())
    subprocess.run([sys.executable, "-c", BUSY_LOOP], check=True)
    after = dict(meter.read())
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = child.ru_utime + child.ru_stime - before_child.ru_utime - before_child.ru_stime
    assert used_s >= 0.9
    counted_s = after["estimate.host.cpu_time"] - before["estimate.host.cpu_time"]
    ticks = 10 * TICK_S  # each CPU and each state rounds down to ticks of its own
    assert counted_s >= used_s - ticks


def test_the_first_reading_has_no_power_and_the_next_is_within_the_model() -> None:
    (meter,) = open_meters(["estimate:idle=1.5,busy=5"])
    assert [channel for channel, _ in meter.read()] == ["estimate.host.cpu_time"]
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
    power_w = dict(meter.read())["estimate.host.power"]
    n_cpu = meter.facts()["cpu_count"]["value"]
    assert n_cpu * 1.5 <= power_w <= n_cpu * 5


def test_the_model_is_a_straight_line() -> None:
    model = PowerModel(8, 1.5, 5.0, "the test")
    assert [model.power_w(share) for share in (0.0, 0.5, 1.0)] == [12.0, 26.0, 40.0]


def test_the_power_channel_says_that_it_is_an_estimate() -> None:
    (meter,) = open_meters(["estimate"])
    channels = {channel.kind: channel for channel in meter.channels()}
    power = channels[Kind.POWER]
    assert power.is_estimate
    assert {channel.instrument for channel in channels.values()} == {Instrument.MODEL}
    assert power.gain_low == pytest.approx(1 / 3)
    assert power.gain_high == 3
    assert (power.boundary, power.domain) == ("chip", "host")
    assert f"idle_w={IDLE_W:g}" in power.note
    assert meter.facts()["busy_w_per_cpu"]["value"] == BUSY_W
    assert "SPECpower" in meter.facts()["busy_w_per_cpu"]["source"]
    assert not channels[Kind.CPU_TIME].is_estimate


def test_an_estimated_run_is_grade_e0_and_spans_a_factor_of_three() -> None:
    (meter,) = open_meters(["estimate"])
    second = 1_000_000_000
    samples = [PowerSample(k * second // 5, 0, "estimate.host.power", 7.0) for k in range(301)]
    energy = integrate(meter.channels(), samples, Window(0, 0, 0, 10 * second, 50 * second, 50 * second, ""), "chip")
    assert energy.grade == "E0"
    assert isinstance(energy.total, Quantity)
    assert energy.total.value == pytest.approx(280)
    assert energy.total.high == pytest.approx(840, rel=0.01)


def test_busy_is_a_part_of_the_total() -> None:
    busy_s, total_s = cpu_time_s()
    assert 0 < busy_s < total_s


@pytest.mark.parametrize(
    "name", ["estimate:idle=x", "estimate:watts=3", "estimate:idle=nan", "estimate:idle=6,busy=5", "estimate:idle=-1"]
)
def test_arguments_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"estimate: "):
        open_meters([name])


def test_an_unknown_meter_is_named_with_the_nearest_known() -> None:
    with pytest.raises(PluginError, match=r"Did you mean 'estimate'"):
        open_meters(["estimat"])


def test_a_meter_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        open_meters(["estimate", "estimate:idle=1,busy=5"])


def test_opening_a_meter_imports_no_other() -> None:
    code = (
        "import sys; from tcabench.power import open_meters; assert 'psutil' not in sys.modules; "
        "open_meters(['estimate']); assert 'pynvml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
