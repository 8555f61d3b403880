"""Transcripts: the recorder runs on the stand-in, and what was recorded replays through the energy stage."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tcabench.energy import integrate
from tcabench.records import Channel, Kind, PowerSample, Quantity, Role, Value, Window

HERE = Path(__file__).parent
PERIOD_NS = 50_000_000


@pytest.fixture(scope="module")
def recorded(
    standin: ModuleType, transcript: ModuleType, nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The recorder itself runs here, on a stand-in that samples like an H100 and draws what the load says."""
    folder = tmp_path_factory.mktemp("transcript")
    path, levels = folder / "standin.jsonl", folder / "levels"
    command = [sys.executable, str(HERE / "record_transcript.py"), str(path)]
    phases = ["--idle", "0.8", "--warmup", "0.4", "--measure", "2", "--periods", "0.43", "--wave", "5"]
    load = ["--switching", f"--levels {levels} --low 120 --high 420"]
    scene = {"levels": levels, "low_w": 120, "update_ms": 100, "window_ms": 25, "name": "H100", "scopes": "memory"}
    done = subprocess.run(
        [*command, *phases, *load], env=standin.environment(nvml_folder, **scene), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return transcript.read(path), done.stdout


def committed(transcript: ModuleType) -> list[Any]:
    """Transcripts of real GPUs join once somebody recorded one."""
    return [transcript.read(path) for path in sorted((HERE.parent / "transcripts" / "nvml").glob("*.jsonl"))]


def test_a_recorded_transcript_replays_through_integrate(recorded: Any, transcript: ModuleType) -> None:
    for told in [recorded[0], *committed(transcript)]:
        energy = integrate(told.channels, told.samples, told.window, "chip")
        assert energy.grade in ("E1", "E2"), energy.grade_why
        assert quantity(energy.idle_power).low <= quantity(energy.mean_power).high
        assert "uuid" not in json.dumps(told.facts)
    told, _ = recorded
    energy = integrate(told.channels, told.samples, told.window, "chip")
    mean, at_rest = quantity(energy.mean_power), quantity(energy.idle_power)
    assert mean.low <= 420 <= mean.high
    assert mean.value == pytest.approx(420, rel=0.03)  # a step of the counter is 5 % of so short a window
    assert at_rest.low <= 120 <= at_rest.high


def test_a_transcript_holds_every_channel_and_the_switches_of_the_load(recorded: Any) -> None:
    told, _ = recorded
    ids = {channel.id for channel in told.channels}
    assert {"nvml.gpu0.energy", "nvml.gpu0.power", "nvml.gpu0.power_average", "nvml.gpu0.memory.power"} <= ids
    assert ids == {sample.channel for sample in told.samples}
    assert [channel.role for channel in told.channels if channel.id == "nvml.gpu0.power_average"] == [Role.INFO]
    wave = next(phase for phase in told.phases if phase.period_s)
    within = [on for at_ns, on in told.edges if wave.start_ns <= at_ns < wave.end_ns]
    assert within == [True, False] * 12


def test_counter_and_powers_are_compared_phase_by_phase(recorded: Any, conclusions: ModuleType) -> None:
    told, said = recorded
    found = {(one.phase, one.power): one.rel for one in conclusions.residuals(told)}
    assert found["load", "nvml.gpu0.power"] == pytest.approx(0, abs=0.03)
    assert {phase for phase, power in found if power == "nvml.gpu0.power_average"} == {
        "idle before", "load", "idle after", "square wave of 0.43 s",
    }  # fmt: skip
    assert "counter/integral - 1 = " in said
    assert "grade: E1" in said


def test_an_instant_power_trails_the_load_by_what_its_channel_says(
    recorded: Any, conclusions: ModuleType, transcript: ModuleType
) -> None:
    told, said = recorded
    (lag,) = (one for one in conclusions.lags(told) if one.power == "nvml.gpu0.power")
    assert lag.expected_ns == 62_500_000
    assert lag.lag_ns == pytest.approx(lag.expected_ns, abs=30_000_000)
    assert lag.fit > 0.8
    assert "trails by" in said
    for real in committed(transcript):
        assert all(0 <= one.lag_ns < 3 * one.expected_ns + 100_000_000 for one in conclusions.lags(real))


def test_another_load_is_started_and_stopped(
    standin: ModuleType, transcript: ModuleType, nvml_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(HERE / "record_transcript.py"), str(tmp_path / "standin.jsonl")]
    phases = ["--idle", "0.4", "--warmup", "0.3", "--measure", "0.6", "--"]
    load = [sys.executable, "-c", "import time; time.sleep(60)"]
    subprocess.run([*command, *phases, *load], env=standin.environment(nvml_folder, low_w=220), check=True)
    told = transcript.read(tmp_path / "standin.jsonl")
    assert told.edges == ()
    assert quantity(integrate(told.channels, told.samples, told.window, "chip").mean_power).value == pytest.approx(
        220, rel=0.02
    )


def quantity(value: Value) -> Quantity:
    assert isinstance(value, Quantity), value
    return value


class SteppedClock:
    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, s: float) -> None:
        self.ns += round(s * 1e9)


def test_a_replayed_meter_gives_the_energy_of_the_recorded_one(transcript: ModuleType) -> None:
    second = 1_000_000_000
    counter = Channel(
        "g.energy", "g", "g", Kind.ENERGY, "J", "chip", 0.95, 1.05, 0.001, 2 * PERIOD_NS, PERIOD_NS, False, "the test"
    )
    recorded = tuple(PowerSample(7 + k * PERIOD_NS, 9, "g.energy", k // 2 * 12.5) for k in range(900))
    told = transcript.Transcript((counter,), recorded, Window(0, 0, 0, second, 41 * second, 41 * second, ""), {}, "")
    clock = SteppedClock()
    meter = transcript.ReplayMeter(told, clock)
    replayed = []
    while clock.ns < 44 * second:
        replayed += [PowerSample(clock.ns, 9, id_, value) for id_, value in meter.read()]
        clock.ns += PERIOD_NS
    first = integrate(told.channels, told.samples, told.window, "chip").total
    again = integrate(meter.channels(), replayed, told.window, "chip").total
    assert quantity(again).value == pytest.approx(quantity(first).value, rel=1e-6)
    assert quantity(first).value == pytest.approx(5000, rel=1e-6)
