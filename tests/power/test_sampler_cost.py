"""What sampling costs is told with the evidence: of all of it, and of each meter's reads."""

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.power import recording
from tcabench.power.columns import Columns
from tcabench.power.meter import Fact
from tcabench.records import Channel, Instrument, PowerSample
from tcabench.testing import power_channel

PLENTY_S = 60.0


class LeapingClock:
    """Time that passes only by sleeping, and then at once."""

    def __init__(self) -> None:
        self._ns, self._lock = 0, threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._ns

    def sleep(self, s: float) -> None:
        with self._lock:
            self._ns += round(s * 1e9)
        time.sleep(0)


class BusyMeter:
    """Two channels; each read computes for a while. It is done after so many reads."""

    def __init__(self, name: str, reads: int, instrument: Instrument = Instrument.DEVICE, work: int = 100) -> None:
        self.name, self._left, self._instrument, self._work = name, reads, instrument, work
        self.done = threading.Event()
        self.period_ns = 50_000_000

    def channels(self) -> tuple[Channel, ...]:
        power = power_channel(f"{self.name}.power", meter=self.name, instrument=self._instrument)
        return tuple(replace(power, id=f"{self.name}.{n}", period_ns=self.period_ns) for n in range(2))

    def read(self) -> list[tuple[str, float]]:
        self._left -= 1
        if self._left == 0:
            self.done.set()
        return [(f"{self.name}.{n}", float(sum(range(self._work)))) for n in range(2)]

    def facts(self) -> dict[str, Fact]:
        return {}

    def close(self) -> None:
        """Nothing is held open."""


def dropped(samples: Sequence[PowerSample]) -> None:
    """A sink for tests that look at the tape alone."""


def test_the_cost_of_the_whole_and_of_each_meter_is_told_at_the_end() -> None:
    meters = [BusyMeter("light", 5), BusyMeter("heavy", 5, work=200_000), BusyMeter("far", 5, Instrument.METER)]
    seen: list[dict[str, Any]] = []
    with recording(meters, SystemClock(), dropped, seen.append) as tape:
        for meter in meters:
            assert meter.done.wait(PLENTY_S)
    costs = {cost["meter"]: cost for cost in tape.costs()}
    assert list(costs) == ["", "light", "heavy", "far"]
    assert [event for event in seen if event["event"] == "sampler_cost"] == list(tape.costs())
    for cost in costs.values():
        assert cost["share"] == pytest.approx(cost["cpu_s"] / cost["wall_s"])
        assert cost["wall_s"] >= 4 * 0.05
    assert costs["heavy"]["cpu_s"] > costs["light"]["cpu_s"] > 0
    assert costs[""]["cpu_s"] > 0.999 * sum(costs[name]["cpu_s"] for name in ("light", "heavy", "far"))
    assert costs[""]["reads"] == sum(costs[name]["reads"] for name in ("light", "heavy", "far"))
    for name in ("light", "heavy", "far"):
        assert costs[name]["reads"] == sum(sample.channel == f"{name}.0" for sample in tape.samples())


def test_what_the_sink_does_with_the_samples_is_not_counted_as_sampling() -> None:
    spent: list[float] = []

    def sink(samples: Sequence[PowerSample]) -> None:
        before_s = time.thread_time()
        sum(range(4_000_000))
        spent.append(time.thread_time() - before_s)

    meter = BusyMeter("light", 20)
    with recording([meter], SystemClock(), sink) as tape:
        assert meter.done.wait(PLENTY_S)
    (whole,) = [cost for cost in tape.costs() if not cost["meter"]]
    assert len(spent) > 1
    assert whole["cpu_s"] < spent[0]


def test_the_cost_is_told_every_ten_seconds_and_each_meters_every_minute() -> None:
    clock, meter = LeapingClock(), BusyMeter("slow", 100)
    meter.period_ns = 1_000_000_000
    meter.read = lambda inner=meter.read: (time.sleep(0.02), inner())[1]  # type: ignore[method-assign,misc]
    with recording([meter], clock, dropped) as tape:
        assert meter.done.wait(PLENTY_S)
    costs = tape.costs()
    whole = [cost for cost in costs if not cost["meter"]]
    of_meter = [cost for cost in costs if cost["meter"]]
    assert 2 <= len(of_meter) < len(whole)
    assert all(other["t"] - one["t"] >= 10_000_000_000 for one, other in itertools.pairwise(whole[:-1]))
    assert all(other["t"] - one["t"] >= 60_000_000_000 for one, other in itertools.pairwise(of_meter[:-1]))
    assert [cost["reads"] for cost in whole] == sorted(cost["reads"] for cost in whole)
    assert whole[-1]["wall_s"] * 1e9 == pytest.approx(whole[-1]["t"])


def test_before_any_time_has_passed_there_is_no_cost_to_tell() -> None:
    class Still(LeapingClock):
        def sleep(self, s: float) -> None:
            time.sleep(0.001)

    with recording([BusyMeter("light", 1)], Still(), dropped) as tape:
        pass
    assert tape.samples()
    assert tape.costs() == ()


def test_columns_go_over_the_wire_and_back_to_the_last_bit() -> None:
    rows = [
        (2**62, 2**40, 3, 0.1 + 0.2, None), (0, 0, 0, -5e-324, 1_782_000_000_000_000_001), (1, 1, 70_000, 1e308, -1),
    ]  # fmt: skip
    columns = Columns(rows)
    again = Columns.from_wire(columns.to_wire())
    again.extend(columns)
    names = {0: "a", 3: "b", 70_000: "c"}
    got = again.samples(names, 0, len(again))  # type: ignore[arg-type]
    expected = [PowerSample(t, read, names[number], value, stamp) for t, read, number, value, stamp in rows]
    assert got == expected * 2
    assert again.samples(names, 4, 5) == [expected[1]]  # type: ignore[arg-type]
    assert len(Columns()) == 0


def test_a_million_readings_fit_into_little_memory() -> None:
    columns = Columns([(n, 1, 0, 1.5, None) for n in range(10_000)])
    assert sum(column.itemsize * len(column) for column in columns.columns.values()) == 28 * 10_000
    assert not columns.stamps
