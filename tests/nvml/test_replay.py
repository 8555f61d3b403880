"""Transcripts: the recorder runs on the stand-in, and what was recorded replays through the energy stage."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tcabench.energy import integrate
from tcabench.records import Channel, Kind, PowerSample, Quantity, Value, Window

PERIOD_NS = 50_000_000


def test_a_recorded_transcript_replays_through_integrate(
    standin: ModuleType, transcript: ModuleType, nvml_folder: Path, tmp_path: Path
) -> None:
    """The recorder itself runs here, on the stand-in; transcripts of real GPUs join once somebody recorded one."""
    path = tmp_path / "standin.jsonl"
    script = Path(__file__).with_name("record_transcript.py")
    load = [sys.executable, "-c", "import time; time.sleep(60)"]
    command = [
        sys.executable,
        str(script),
        str(path),
        "--idle",
        "0.6",
        "--warmup",
        "0.4",
        "--measure",
        "2",
        "--",
        *load,
    ]
    subprocess.run(command, env=standin.environment(nvml_folder, low_w=220), check=True)
    committed = sorted((Path(__file__).parents[1] / "transcripts" / "nvml").glob("*.jsonl"))
    for each in [path, *committed]:
        told = transcript.read(each)
        energy = integrate(told.channels, told.samples, told.window, "chip")
        assert energy.grade in ("E1", "E2"), energy.grade_why
        assert energy.domains[0].residual_rel is not None
        assert quantity(energy.idle_power).low <= quantity(energy.mean_power).high
        assert "uuid" not in json.dumps(told.facts)
    told = transcript.read(path)
    energy = integrate(told.channels, told.samples, told.window, "chip")
    assert quantity(energy.mean_power).value == pytest.approx(220, rel=0.01)


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
