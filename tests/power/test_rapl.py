"""RAPL through a directory like the kernel's, whose counters run, wrap, freeze and vanish."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tcabench.clock import SystemClock
from tcabench.energy import integrate
from tcabench.errors import MeterError, UsageError
from tcabench.power import recording
from tcabench.power.meters.rapl import open_rapl
from tcabench.records import Channel, Instrument, Kind, Quantity, Role, Window
from tests.power.servers.rapl_tree import RANGE_UJ, RaplTree

SERVER = {
    "intel-rapl:0": ("package-0", lambda t: 80.0),
    "intel-rapl:0:0": ("dram", lambda t: 12.0),
    "intel-rapl:0:1": ("core", lambda t: 50.0),
    "intel-rapl:1": ("package-1", lambda t: 60.0),
    "intel-rapl:1:0": ("dram", lambda t: 8.0),
    "intel-rapl:2": ("psys", lambda t: 300.0),
}
SECOND = 1_000_000_000


def channels_of(tree: RaplTree, argument: str = "") -> dict[str, Channel]:
    meters = open_rapl(argument, powercap=tree.powercap, cpuinfo=tree.cpuinfo)
    for meter in meters:
        meter.close()
    return {channel.domain: channel for meter in meters for channel in meter.channels()}


def test_packages_and_memory_count_and_the_rest_is_shown(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        channels = channels_of(tree)
    assert {name: c.role for name, c in channels.items()} == {
        "cpu0": Role.LOAD, "dram0": Role.LOAD, "cpu1": Role.LOAD, "dram1": Role.LOAD,
        "cpu0.core": Role.INFO, "platform": Role.INFO,
    }  # fmt: skip
    assert {name: c.boundary for name, c in channels.items() if c.boundary != "chip"} == {"platform": "node"}
    assert channels["cpu0.core"].inside == "cpu0"
    assert "not standardised" in channels["platform"].note
    assert {c.instrument for c in channels.values()} == {Instrument.CPU}
    assert {(c.kind, c.unit, c.update_ns) for c in channels.values()} == {(Kind.ENERGY, "J", 1_000_000)}


def test_the_counter_has_the_registers_step_and_range(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        channel = channels_of(tree)["cpu0"]
    assert channel.modulus == RANGE_UJ / 1e6
    assert channel.resolution == pytest.approx(15.258e-6, rel=1e-3)


def test_a_range_that_is_no_registers_gives_the_files_own_step(tmp_path: Path) -> None:
    with RaplTree(tmp_path, {"intel-rapl:0": ("package-0", lambda t: 80.0)}, range_uj=10**9) as tree:
        assert channels_of(tree)["cpu0"].resolution == 1e-6


@pytest.mark.parametrize(
    ("vendor", "words", "half"),
    [
        ("GenuineIntel", "measured at the voltage regulators", 0.0577),
        ("AuthenticAMD", "modelled on the chip, not measured", 0.1732),
        ("HygonGenuine", "no accuracy stated; taken as +-15 %", 0.1732),
    ],
)
def test_each_maker_has_its_accuracy_and_its_source(tmp_path: Path, vendor: str, words: str, half: float) -> None:
    with RaplTree(tmp_path, {"intel-rapl:0": ("package-0", lambda t: 80.0)}, vendor=vendor) as tree:
        channel = channels_of(tree)["cpu0"]
    assert words in channel.accuracy_source
    assert (1 - channel.gain_low, channel.gain_high - 1) == pytest.approx((half, half), rel=1e-3)


def test_readings_follow_the_counters_and_facts_tell_what_is_read(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        meter, parts = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        first, began = dict(meter.read()), time.monotonic()
        time.sleep(0.2)
        second, took_s = dict(meter.read()), time.monotonic() - began
        assert dict(parts.read()).keys() == {"rapl.cpu0.core.energy", "rapl.platform.energy"}
        for each in (meter, parts):
            each.close()
            each.close()
    gained_j = {id_: second[id_] - first[id_] for id_ in first}
    assert gained_j["rapl.cpu0.energy"] / gained_j["rapl.dram0.energy"] == pytest.approx(80 / 12, rel=0.01)
    assert gained_j["rapl.cpu0.energy"] == pytest.approx(80 * took_s, rel=0.2)
    facts = meter.facts()
    assert facts["processor"]["value"] == "Stand-in processor"
    assert facts["zones"]["value"]["intel-rapl:1:0 dram"] == "dram1"
    assert facts["left_out"]["value"] == {}


def test_the_same_counter_by_another_way_is_counted_once(tmp_path: Path) -> None:
    zones = SERVER | {
        "intel-rapl-mmio:0": ("package-0", lambda t: 80.0),
        "intel-rapl:3": ("package-0", lambda t: 80.0),
    }
    with RaplTree(tmp_path, zones) as tree:
        (meter, *_) = meters = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        left_out = meter.facts()["left_out"]["value"]
        for each in meters:
            each.close()
    assert [channel.id for channel in meter.channels()].count("rapl.cpu0.energy") == 1
    assert "counted once" in left_out["intel-rapl-mmio:0"]
    assert left_out["intel-rapl:3 package-0"] == "the same as intel-rapl:0 package-0: counted once"


def test_some_packages_with_their_memory(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        assert channels_of(tree, "1").keys() == {"cpu1", "dram1", "platform"}
        with pytest.raises(UsageError, match=r"no processor package '2' here\. There is: 0, 1"):
            channels_of(tree, "0,2")


def test_dies_of_one_package_are_told_apart(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": ("package-0-die-0", lambda t: 40.0),
        "intel-rapl:0:0": ("dram", lambda t: 4.0),
        "intel-rapl:1": ("package-0-die-1", lambda t: 30.0),
        "intel-rapl:1:0": ("dram", lambda t: 3.0),
    }
    with RaplTree(tmp_path, zones) as tree:
        assert channels_of(tree).keys() == {"cpu0.die0", "dram0.die0", "cpu0.die1", "dram0.die1"}


def test_the_package_of_an_apu_is_inside_its_socket(tmp_path: Path) -> None:
    zones = {f"intel-rapl:{i}": (f"package-{i}", lambda t: 90.0) for i in range(2)}
    model = "AMD Instinct MI300A Accelerator"
    with RaplTree(tmp_path, zones, vendor="AuthenticAMD", model=model) as tree:
        channels = channels_of(tree)
    assert {name: c.inside for name, c in channels.items()} == {"cpu0": "amdgpu0", "cpu1": "amdgpu1"}


@pytest.mark.parametrize("make", [False, True])
def test_without_counters_it_says_where_there_are_none(tmp_path: Path, make: bool) -> None:
    """No powercap at all, as in a virtual machine, or an empty one, as in a container."""
    if make:
        (tmp_path / "powercap").mkdir()
    with pytest.raises(MeterError, match=r"shows no RAPL counters\. Virtual machines have none, Docker") as caught:
        open_rapl("", powercap=tmp_path / "powercap", cpuinfo=tmp_path / "cpuinfo")
    assert caught.value.kind == "rapl-unavailable"


def test_a_package_that_stands_still_is_refused(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        tree.frozen = {"intel-rapl:1"}
        with pytest.raises(MeterError, match=r"intel-rapl:1 package-1 .* did not move within 0\.2 s") as caught:
            channels_of(tree)
    assert caught.value.kind == "rapl-unavailable"


def test_memory_that_stands_still_is_left_out_and_named(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        tree.frozen = {"intel-rapl:1:0"}
        meters = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        for meter in meters:
            meter.close()
    assert "dram1" not in {channel.domain for channel in meters[0].channels()}
    assert "did not move" in meters[0].facts()["left_out"]["value"]["intel-rapl:1:0 dram"]


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def without_rights() -> Iterator[None]:
    """Root reads what it likes: its rights are given up for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_without_permission_it_says_why_and_what_to_do() -> None:
    with open_folder() as folder, RaplTree(folder, SERVER) as tree:
        tree.deny("intel-rapl:1")
        words = r"CVE-2020-8694 .*chgrp GROUP .*CAP_DAC_READ_SEARCH"
        with without_rights(), pytest.raises(MeterError, match=words) as caught:
            open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
    assert caught.value.kind == "rapl-permission"
    assert "intel-rapl:1 package-1" in str(caught.value)


def test_a_part_that_may_not_be_read_is_left_out_and_named() -> None:
    with open_folder() as folder, RaplTree(folder, SERVER) as tree:
        tree.deny("intel-rapl:2")
        with without_rights():
            meters = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        for meter in meters:
            meter.close()
    assert "may not be read" in meters[0].facts()["left_out"]["value"]["intel-rapl:2 psys"]
    assert "platform" not in {channel.domain for meter in meters for channel in meter.channels()}


def test_counters_that_vanish_in_mid_run_are_an_error(tmp_path: Path) -> None:
    with RaplTree(tmp_path, SERVER) as tree:
        meter, *others = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        meter.read()
        tree.remove("intel-rapl:0")
        with pytest.raises(MeterError, match="intel_rapl module") as caught:
            meter.read()
        for each in (meter, *others):
            each.close()
    assert caught.value.kind == "rapl-read"


def test_energy_over_a_wrap_of_the_counter_is_the_energy_drawn(tmp_path: Path) -> None:
    """A range of 60 J wraps twice a second for 120 W; the load is a staircase."""
    zones = {"intel-rapl:0": ("package-0", lambda t: 100.0 if t < 0.9 else 140.0)}
    with RaplTree(tmp_path, zones, range_uj=60_000_000) as tree:
        meters = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        with recording(meters, SystemClock(), lambda samples: None) as tape:
            start_ns = round((tree.began_s + 0.4) * SECOND)
            time.sleep(max(0.0, tree.began_s + 2.0 - time.monotonic()))
        channels = [channel for meter in meters for channel in meter.channels()]
        for meter in meters:
            meter.close()
    end_ns = start_ns + SECOND
    energy = integrate(channels, tape.samples(), Window(0, 0, 0, start_ns, end_ns, end_ns, ""), "chip")
    assert isinstance(energy.total, Quantity), energy.total
    assert energy.total.value == pytest.approx(100 * 0.5 + 140 * 0.5, rel=0.02)
    assert [domain.method for domain in energy.domains] == ["counter"]
