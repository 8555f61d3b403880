"""What counts, what it is worth, and what is not metered: one row per case."""

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from tcabench.energy import integrate
from tcabench.energy.boundary import domains_inside
from tcabench.energy.budget import added, combined, disagreement, quantity
from tcabench.errors import UsageError
from tcabench.records import Channel, Component, Kind, NotMetered, PowerSample, Quantity, Window

S = 1_000_000_000
PERIOD_NS = 50_000_000


def channel(id_: str, kind: Kind, **changes: object) -> Channel:
    made = Channel(
        id=id_,
        meter="m",
        domain=id_.split(".")[0],
        kind=kind,
        unit="J" if kind is Kind.ENERGY else "W",
        boundary="chip",
        gain_low=0.95,
        gain_high=1.05,
        resolution=0.001,
        update_ns=100_000_000,
        period_ns=PERIOD_NS,
        is_estimate=False,
        accuracy_source="the test",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def steady(one: Channel, level_w: float, until_s: float = 60, idle_w: float | None = None) -> list[PowerSample]:
    """A constant load on one channel; with `idle_w`, that in the first 10 s."""
    samples, j = [], 0.0
    for tick in range(round(until_s * S) // PERIOD_NS):
        t_ns = tick * PERIOD_NS
        w = idle_w if idle_w is not None and t_ns < 10 * S else level_w
        if tick % 2 == 0:
            j += w * 0.1
        samples.append(PowerSample(t_ns, 200_000, one.id, j if one.kind is Kind.ENERGY else w))
    return samples


def window(start_s: float = 15, end_s: float = 50, idle: tuple[float, float] = (1, 9)) -> Window:
    marks = [round(s * S) for s in (*idle, 10, start_s, end_s, end_s + 1)]
    return Window(marks[0], marks[1], marks[2], marks[3], marks[4], marks[5], "test")


GPU0, GPU0_J = channel("gpu0.power", Kind.POWER), channel("gpu0.energy", Kind.ENERGY)
GPU1, GPU1_J = channel("gpu1.power", Kind.POWER), channel("gpu1.energy", Kind.ENERGY)
HOST = channel("host.power", Kind.POWER, is_estimate=True, gain_low=1 / 3, gain_high=3.0)
PLUG = channel("plug.power", Kind.POWER, boundary="node", gain_low=0.99, gain_high=1.01)


def value_of(energy: object) -> float:
    assert isinstance(energy, Quantity)
    return energy.value


def test_counter_and_power_of_one_domain_are_never_added() -> None:
    samples = [*steady(GPU0, 100), *steady(GPU0_J, 100)]
    energy = integrate([GPU0, GPU0_J], samples, window(), "chip")
    assert value_of(energy.total) == pytest.approx(3500, rel=1e-4)
    assert [domain.method for domain in energy.domains] == ["counter"]


def test_domains_inside_a_boundary_add_up() -> None:
    samples = [*steady(GPU0, 100), *steady(GPU0_J, 100), *steady(GPU1, 300), *steady(GPU1_J, 300)]
    energy = integrate([GPU0, GPU0_J, GPU1, GPU1_J], samples, window(), "chip")
    assert value_of(energy.total) == pytest.approx(14000, rel=1e-4)
    assert value_of(energy.peak_power) == pytest.approx(400)
    assert {component.name: component.up_rel for component in energy.components}["meter class"] == pytest.approx(0.05)


def test_a_total_with_a_hole_is_no_total() -> None:
    hole = [s for s in steady(GPU1, 300) if not 20 * S < s.t_ns < 25 * S]
    energy = integrate([GPU0, GPU1], [*steady(GPU0, 100), *hole], window(), "chip")
    assert isinstance(energy.total, NotMetered)
    assert "gpu1" in energy.total.why
    assert value_of(energy.domains[0].energy) == pytest.approx(3500, rel=1e-4)
    assert isinstance(energy.mean_power, NotMetered)
    assert energy.grade is None


def test_a_meter_counts_at_its_own_boundary_alone() -> None:
    samples = [*steady(GPU0, 100), *steady(PLUG, 500)]
    assert value_of(integrate([GPU0, PLUG], samples, window(), "chip").total) == pytest.approx(3500)
    assert value_of(integrate([GPU0, PLUG], samples, window(), "node").total) == pytest.approx(17500)
    rack = integrate([GPU0, PLUG], samples, window(), "rack").total
    assert rack == NotMetered("no meter at boundary 'rack' (there are at: chip, node)")


def test_an_unknown_boundary_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="planet"):
        integrate([GPU0], [], window(), "planet")


def test_of_two_meters_on_one_domain_the_better_one_counts() -> None:
    rough = replace(GPU0, id="gpu0.rough", gain_low=0.9, gain_high=1.1)
    guess = replace(GPU0, id="gpu0.guess", gain_low=1.0, gain_high=1.0, is_estimate=True)
    (domain,) = domains_inside([rough, guess, GPU0], "chip")
    assert domain.power == GPU0


@pytest.mark.parametrize(
    ("channels", "levels", "span", "grade", "why"),
    [
        ([GPU0, GPU0_J], [100, 100], (15, 50), "E2", "35.0 s"),
        ([GPU0, GPU0_J], [100, 100], (15, 44.9), "E1", "30 s"),
        ([GPU0, GPU0_J], [100, 101.5], (15, 50), "E2", "1.50 %"),
        ([GPU0, GPU0_J], [100, 103], (15, 50), "E1", r"\+3.0 %"),
        ([GPU0_J], [100], (15, 50), "E1", "no power readings"),
        ([GPU0], [100], (15, 50), "E1", "polled power"),
        ([GPU0, GPU0_J, GPU1], [100, 100, 50], (15, 50), "E1", "gpu1: polled power"),
        ([HOST], [20], (15, 50), "E0", "host.power is an estimate"),
        ([GPU0, GPU0_J, HOST], [100, 100, 20], (15, 50), "E0", "host.power is an estimate"),
        ([], [], (15, 50), None, "no meter"),
    ],
)
def test_the_grade_follows_from_the_evidence(
    channels: list[Channel], levels: list[float], span: tuple[float, float], grade: str | None, why: str
) -> None:
    samples = [s for one, level in zip(channels, levels, strict=True) for s in steady(one, level)]
    energy = integrate(channels, samples, window(*span), "chip")
    assert energy.grade == grade
    assert re.search(why, energy.grade_why), energy.grade_why


def test_an_estimate_is_good_to_a_factor_of_three_both_ways() -> None:
    total = integrate([HOST], steady(HOST, 20), window(), "chip").total
    assert isinstance(total, Quantity)
    assert total.value == pytest.approx(700)
    assert total.low == pytest.approx(700 / 3, rel=0.01)
    assert total.high == pytest.approx(2100, rel=0.01)


def test_idle_power_is_that_of_the_idle_phase() -> None:
    samples = [*steady(GPU0, 100, idle_w=30), *steady(GPU0_J, 100, idle_w=30)]
    energy = integrate([GPU0, GPU0_J], samples, window(), "chip")
    assert value_of(energy.idle_power) == pytest.approx(30, rel=0.01)
    assert value_of(energy.mean_power) == pytest.approx(100, rel=0.01)
    none = integrate([GPU0, GPU0_J], samples, window(idle=(5, 5)), "chip").idle_power
    assert none == NotMetered("the run had no idle phase")


def test_the_peak_needs_power_readings_of_every_domain() -> None:
    samples = [*steady(GPU0, 100), *steady(GPU1_J, 300)]
    peak = integrate([GPU0, GPU1_J], samples, window(), "chip").peak_power
    assert peak == NotMetered("no power readings of gpu1")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda samples: [], "not one reading|gap|did not move"),
        (lambda samples: [s for s in samples if s.t_ns < 30 * S], "gap|before the end"),
        (lambda samples: [s for s in samples if s.t_ns > 30 * S], "gap|after the start"),
        (lambda samples: [replace(s, value=0.0) for s in samples], "no energy|did not move"),
        (lambda samples: [replace(s, value=float("nan")) for s in samples], "not one reading|gap"),
        (lambda samples: [replace(s, value=float("inf")) for s in samples], "not one reading|gap"),
    ],
)
@pytest.mark.parametrize("one", [GPU0, GPU0_J])
def test_what_cannot_be_told_is_not_metered(
    one: Channel, damage: Callable[[list[PowerSample]], list[PowerSample]], why: str
) -> None:
    total = integrate([one], damage(steady(one, 100)), window(), "chip").total
    assert isinstance(total, NotMetered)
    assert re.search(why, total.why), total.why


@pytest.mark.parametrize("one", [GPU0, GPU0_J])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e308])
def test_a_reading_that_is_no_number_is_no_reading(one: Channel, value: float) -> None:
    samples = [replace(s, value=value) if s.t_ns == 30 * S else s for s in steady(one, 100)]
    without = [s for s in samples if s.t_ns != 30 * S]
    energy = integrate([one], samples, window(), "chip")
    assert energy == integrate([one], without, window(), "chip")
    assert value_of(energy.total) == pytest.approx(3500, rel=1e-3)


@pytest.mark.parametrize("one", [GPU0, GPU0_J])
def test_a_channel_whose_uncertainty_is_endless_tells_nothing(one: Channel) -> None:
    endless = replace(one, gain_high=float("inf"))
    total = integrate([endless], steady(endless, 100), window(), "chip").total
    assert isinstance(total, NotMetered)
    assert "no finite uncertainty" in total.why


def test_an_empty_window_has_no_energy() -> None:
    energy = integrate([GPU0], steady(GPU0, 100), window(30, 30), "chip")
    assert energy.total == NotMetered("the window is empty")
    assert energy.domains == ()


def test_a_window_that_ends_with_the_last_sample_is_still_counted() -> None:
    """The end lies up to one update behind the last step seen: the rate of the last second is carried on."""
    samples = [*steady(GPU0, 100, until_s=50), *steady(GPU0_J, 100, until_s=50)]
    energy = integrate([GPU0, GPU0_J], samples, window(15, 49.99), "chip")
    assert value_of(energy.total) == pytest.approx(3499, rel=1e-3)


def test_a_beating_load_widens_the_interval_of_polled_power() -> None:
    """Power that alternates from reading to reading: the decimation test must see it."""
    alternating = [replace(s, value=s.value + (40 if s.t_ns // 100_000_000 % 2 else -40)) for s in steady(GPU0, 100)]
    parts = {c.name: c.up_rel for c in integrate([GPU0], alternating, window(), "chip").components}
    calm = {c.name: c.up_rel for c in integrate([GPU0], steady(GPU0, 100), window(), "chip").components}
    assert calm["sampling"] == 0
    assert parts["sampling"] > 0.1


def test_counter_edges_follow_the_stated_formula() -> None:
    """Under constant load only the instants of the steps are uncertain: u = t/(sqrt(6) W), with 50 ms from read to read
    in 30 s that is 0.068 %, expanded 0.136 %."""
    energy = integrate([GPU0_J], steady(GPU0_J, 100), window(15, 45), "chip")
    edges = {c.name: c.up_rel for c in energy.components}["window edges"]
    assert edges == pytest.approx(0.00136, rel=0.01)


def test_a_disagreement_reaches_to_the_other_value() -> None:
    assert quantity(110.0, [disagreement(0.1)], "J").low == pytest.approx(100)
    assert quantity(90.0, [disagreement(-0.1)], "J").high == pytest.approx(100)


def test_components_combine_in_quadrature_each_side_alone() -> None:
    parts = [Component("a", 0.03, 0.3, ""), Component("b", 0.04, 0.4, "")]
    down, up = combined(parts)
    assert [down, up] == [pytest.approx(0.05), pytest.approx(0.5)]
    assert combined([Component("a", 0.9, 0.9, ""), Component("b", 0.9, 0.9, "")])[0] < 1


def test_gain_is_shared_between_domains_and_the_rest_is_not() -> None:
    parts = [(100.0, [Component("meter class", 0.05, 0.05, ""), Component("sampling", 0.04, 0.04, "")])] * 2
    gain, rest = added(parts)
    assert [gain.name, rest.name] == ["meter class", "sampling"]
    assert gain.down_rel == pytest.approx(0.05)
    assert rest.up_rel == pytest.approx(0.04 / 2**0.5)


def test_the_stage_needs_the_standard_library_alone() -> None:
    importlib.import_module("tcabench.energy")
    ours = [name for name in sys.modules if name.startswith("tcabench.energy")]
    assert len(ours) > 5
    for name in ours:
        source = importlib.import_module(name).__file__
        assert source is not None
        with open(source, encoding="utf-8") as file:
            imported = [line.split()[1] for line in file if line.startswith(("import ", "from "))]
        assert all(part.split(".")[0] in {*sys.stdlib_module_names, "tcabench"} for part in imported), (name, imported)
