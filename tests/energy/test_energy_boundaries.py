"""What counts at each boundary, once; the rest of a node by a model; and rungs that cannot all be true."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum, sqrt
from typing import Any

import pytest

from tcabench.energy import integrate
from tcabench.energy.boundary import held_by
from tcabench.errors import UsageError
from tcabench.records import (
    Alignment,
    Channel,
    Context,
    DomainEnergy,
    Energy,
    Health,
    Instrument,
    Kind,
    NotMetered,
    PowerSample,
    Quantity,
    Role,
    Trace,
    Value,
    Window,
)
from tcabench.records.answers import Status

S = 1_000_000_000
WINDOW = Window(S, 18 * S, 20 * S, 30 * S, 90 * S, 95 * S, "test", 100 * S, 118 * S)
REST = {"base_w": 100.0, "slope": 0.25, "half_width_pct": 8.0, "measured_on": "2026-10-01", "source": "a wall meter"}
CAPACITY = {"reserved_kw": 1.0, "capacity_kw": 2.0, "capacity_half_width_pct": 5.0, "source": "the contract"}
DAY = "2026-11-23"
HALF = 2 * 0.005 / sqrt(3)
METER: dict[str, Any] = {
    "instrument": Instrument.METER, "class_pct": 0.5, "certificate": "C-1", "calibrated_on": "2026-01-01",
    "certificate_due": "2027-01-01", "gain_low": 1 - HALF, "gain_high": 1 + HALF,
}  # fmt: skip


def one(name: str, kind: Kind = Kind.POWER, **changes: Any) -> Channel:
    """A 1 % channel named "domain" or "domain:boundary"."""
    domain, _, boundary = name.partition(":")
    settings: dict[str, Any] = {
        "id": f"{domain}.{kind.value}", "meter": domain, "domain": domain, "kind": kind,
        "unit": "J" if kind is Kind.ENERGY else "W", "boundary": boundary or "chip", "gain_low": 0.99,
        "gain_high": 1.01, "resolution": 0.001, "update_ns": S // 10, "period_ns": S, "is_estimate": False,
        "accuracy_source": "the test",
    }  # fmt: skip
    return Channel(**(settings | changes))


def played(levels: Mapping[Channel, float]) -> list[PowerSample]:
    """A reading a second from 0 to 120 s: under load from 20 s to 95 s, at a tenth of it else."""
    found = []
    for channel, level_w in levels.items():
        joules = 1000.0
        for s in range(121):
            now_w = level_w if 20 <= s < 95 else level_w / 10
            found.append(PowerSample(s * S, 1000, channel.id, joules if channel.kind is Kind.ENERGY else now_w))
            joules += now_w
    return found


def account(levels: Mapping[Channel, float], boundary: str = "chip", **context: Any) -> Energy:
    return integrate(list(levels), played(levels), WINDOW, boundary, Context(**context))


def watts(energy: Energy) -> float:
    return number(energy.total) / 60


def number(value: Value) -> float:
    assert isinstance(value, Quantity), value
    return value.value


def row(energy: Energy, domain: str) -> DomainEnergy:
    return next(found for found in energy.domains if found.domain == domain)


def test_only_what_is_the_load_counts() -> None:
    levels = {one("gpu0"): 300.0}
    others = {one(role.value, role=role): 50.0 for role in Role if role is not Role.LOAD}
    assert watts(account({**levels, **others})) == pytest.approx(300, rel=1e-3)
    alone = account(others)
    assert isinstance(alone.total, NotMetered)


def test_a_domain_inside_a_metered_one_is_shown_and_not_added() -> None:
    gpu, module = one("gpu0", inside="module0"), one("module0")
    energy = account({gpu: 300.0, module: 420.0, one("gpu1"): 100.0})
    assert watts(energy) == pytest.approx(520, rel=1e-3)
    assert [found.domain for found in energy.domains] == ["gpu0", "gpu1", "module0"]
    assert row(energy, "gpu0").why.startswith("inside module0, whose energy holds it: shown, not added")
    assert number(row(energy, "gpu0").energy) == pytest.approx(18_000, rel=1e-3)
    assert fsum(energy.block_j) == pytest.approx(number(energy.total), rel=1e-9)
    assert number(energy.peak_power) == pytest.approx(520)
    assert number(energy.idle_power) == pytest.approx(52, rel=1e-3)


def test_what_holds_a_domain_may_do_so_through_another() -> None:
    levels = {one("die0", inside="gpu0"): 200.0, one("module0"): 420.0}
    between = one("gpu0", inside="module0")  # without readings
    energy = integrate([*levels, between], played(levels), WINDOW, "chip")
    assert watts(energy) == pytest.approx(420, rel=1e-3)


def test_a_parent_that_meters_elsewhere_or_nothing_holds_nothing() -> None:
    elsewhere = account({one("gpu0", inside="module0"): 300.0, one("module0:node"): 420.0})
    assert watts(elsewhere) == pytest.approx(300, rel=1e-3)
    gpu, module = one("gpu0", inside="module0"), one("module0")
    samples = played({gpu: 300.0})
    broken = integrate([gpu, module], samples, WINDOW, "chip")
    assert isinstance(broken.total, NotMetered)  # the module is part of the whole, and not known
    assert number(row(broken, "gpu0").energy) == pytest.approx(18_000, rel=1e-3)
    assert "shown, not added" not in row(broken, "gpu0").why


def test_a_circle_of_domains_holds_nothing() -> None:
    assert held_by({"a": "b", "b": "a"}, {"a": True, "b": True}) == {}
    assert held_by({"a": "a"}, {"a": True}) == {}
    assert held_by({"a": "b", "b": "c"}, {"a": True, "b": False, "c": True}) == {"a": "c", "b": "c"}


def test_every_metered_boundary_is_a_rung_with_its_own_grade() -> None:
    gpu, gpu_j = one("gpu0"), one("gpu0", Kind.ENERGY)
    node, rack = one("bmc:node", instrument=Instrument.BMC), one("pdu:rack", instrument=Instrument.METER)
    energy = account({gpu: 300.0, gpu_j: 300.0, node: 500.0, rack: 520.0}, boundary="rack")
    assert [(rung.boundary, round(number(rung.total) / 60), rung.grade) for rung in energy.ladder] == [
        ("chip", 300, "E2"), ("node", 500, "E4"), ("rack", 520, "E4"),
    ]  # fmt: skip
    assert watts(energy) == pytest.approx(520, rel=1e-3)
    assert (energy.grade, energy.grade_why) == (energy.ladder[2].grade, energy.ladder[2].grade_why)
    assert number(energy.ladder[1].mean_power) == pytest.approx(500, rel=1e-3)


def test_a_part_that_reads_more_than_the_whole_is_told_and_caps_both() -> None:
    gpu, gpu_j = one("gpu0"), one("gpu0", Kind.ENERGY)
    rack = one("pdu:rack", instrument=Instrument.METER)
    levels = {gpu: 300.0, gpu_j: 300.0, rack: 250.0}
    for boundary in ("chip", "rack"):
        energy = account(levels, boundary=boundary)
        assert energy.grade == "E1"
        assert "chip reads 18000 J and rack, which holds it, 15000 J" in energy.grade_why
    within = account({**levels, rack: 297.0}, boundary="rack")
    assert within.grade == "E4"
    estimate = replace(gpu, is_estimate=True, gain_low=0.9, gain_high=1.1)
    assert account({estimate: 300.0, rack: 250.0}).grade == "E0"


def test_a_node_without_a_meter_is_its_parts_and_a_measured_rest() -> None:
    gpu, gpu_j = one("gpu0"), one("gpu0", Kind.ENERGY)
    cpu = one("cpu0", Kind.ENERGY, instrument=Instrument.CPU)
    energy = account({gpu: 300.0, gpu_j: 300.0, cpu: 100.0}, boundary="node", site={"rest": REST}, day=DAY)
    assert watts(energy) == pytest.approx(400 + 100 + 0.25 * 400, rel=1e-3)
    assert energy.grade == "E3"
    assert "a wall meter, measured on 2026-10-01: 100 W and 0.25 W per W metered, +-8 %" in energy.grade_why
    rest = row(energy, "rest of node")
    assert (rest.method, rest.channel) == ("model", "")
    assert number(rest.energy) == pytest.approx(200 * 60, rel=1e-3)
    parts = {c.name: c.up_rel for c in energy.components}
    assert parts["rest of node"] == pytest.approx(0.08 * 200 / 600, rel=1e-3)
    assert parts["meter class"] == pytest.approx(0.01 * 500 / 600, rel=1e-3)
    assert fsum(energy.block_j) == pytest.approx(number(energy.total), rel=1e-9)
    assert energy.peak_power == NotMetered("no power readings of cpu0")
    assert number(energy.idle_power) == pytest.approx(40 + 100 + 10, rel=1e-3)
    chip = account({gpu: 300.0, gpu_j: 300.0, cpu: 100.0}, site={"rest": REST})
    assert watts(chip) == pytest.approx(400, rel=1e-3)
    assert [rung.boundary for rung in chip.ladder] == ["chip", "node"]


def test_without_processor_counters_a_modelled_node_is_e1() -> None:
    levels = {one("gpu0"): 300.0, one("gpu0", Kind.ENERGY): 300.0}
    energy = account(levels, boundary="node", site={"rest": REST})
    assert number(energy.peak_power) == pytest.approx(300 + 100 + 75)
    assert energy.grade == "E1"
    assert "no processor counters" in energy.grade_why


def test_a_meter_of_the_node_leaves_no_rest() -> None:
    levels = {one("gpu0"): 300.0, one("bmc:node", instrument=Instrument.BMC): 500.0}
    assert watts(account(levels, boundary="node", site={"rest": REST})) == pytest.approx(500, rel=1e-3)
    plain = account({one("gpu0"): 300.0}, boundary="node")
    assert plain.total == NotMetered("no meter at boundary 'node' (there are at: chip)")


def plant(load_w: float = 500.0) -> dict[Channel, float]:
    return {
        one("pdu:rack", **METER): load_w,
        one("pump:facility", role=Role.COOLING, **METER): 60.0,
        one("ups:facility", role=Role.UPSTREAM, **METER): 525.0,
    }


def shared_plant(rule: str, **it: Any) -> tuple[dict[Channel, float], dict[str, Any]]:
    """(levels, context) of a plant for twice the load, cooled by loops of half and all of its heat."""
    of_it = one("hall:facility", role=Role.IT, **(METER | it))
    levels = {**plant(), of_it: 1000.0}
    levels = {c: 1050.0 if c.role is Role.UPSTREAM else level for c, level in levels.items()}
    cooling = {"rule": rule} | (CAPACITY if rule == "capacity" else {})
    site: dict[str, Any] = {"cooling": cooling}
    if rule == "heat":
        site["coolant"] = {"own": {"fluid": "water"}, "all": {"fluid": "water", "serves": "plant"}}
        for loop, flow in (("own", 1.0), ("all", 2.0)):
            levels[one(f"{loop}:facility", Kind.FLOW, role=Role.FLOW, unit="L/min", resolution=0.0, **METER)] = flow
            for role, degc in ((Role.SUPPLY, 30.0), (Role.RETURN, 40.0)):
                name = {"id": f"{loop}.{role.value}", "unit": "degC"}
                levels[one(f"{loop}:facility", Kind.TEMPERATURE, role=role, **name, **METER | it)] = degc
    known = tuple(Alignment(name, 0, 1000, "host clock") for name in sorted({c.meter for c in levels}))
    return levels, {"site": site, "day": DAY, "alignments": known}


def test_a_facility_is_its_load_with_its_share_of_cooling_and_loss() -> None:
    levels = plant()
    meters = [channel.meter for channel in levels]
    known = tuple(Alignment(meter, 0, 1000, "host clock") for meter in meters)
    context = {"site": {"sut_is_all_it": True}, "day": "2026-11-23", "alignments": known}
    energy = account(levels, boundary="facility", **context)
    assert energy.facility is not None
    assert watts(energy) == pytest.approx(500 + 60 + 25, rel=5e-3)
    assert energy.grade == "E7"
    assert "1 % of the window" in energy.grade_why
    assert [(rung.boundary, rung.grade) for rung in energy.ladder] == [("rack", "E6"), ("facility", "E7")]
    parts = {c.name: c.up_rel for c in energy.components}
    assert isinstance(energy.total, Quantity)
    whole = sqrt(fsum(half * half for half in parts.values()))
    assert energy.total.high / energy.total.value - 1 == pytest.approx(whole, rel=1e-6)
    lower = sqrt(fsum(c.down_rel * c.down_rel for c in energy.components))
    assert 1 - energy.total.low / energy.total.value == pytest.approx(lower, rel=1e-6)
    assert parts["cooling and loss"] > 0
    assert fsum(energy.block_j) == pytest.approx(number(energy.total), rel=1e-9)
    assert [found.domain for found in energy.domains] == ["pdu"]
    assert isinstance(energy.idle_power, NotMetered)
    assert isinstance(energy.dynamic, NotMetered)
    assert watts(account(levels, boundary="rack", **context)) == pytest.approx(500, rel=1e-3)


@pytest.mark.parametrize(
    ("spoilt", "grade", "why"),
    [
        ({"without": "pump"}, None, "cooling"),
        ({"known": 0}, "E6", "it is not known how meter pdu lies on the run's clock"),
        ({"error_ns": S}, "E6", "meter pdu is known on the run's clock to 1 s, E7 allows 0.6 s"),
        ({"class_pct": 3.0}, "E4", "ups.power is a meter of class 3"),
        ({"is_estimate": True}, "E0", "ups.power is an estimate"),
        ({"day": "2027-06-01"}, "E4", "valid from 2026-01-01 to 2027-01-01"),
        ({"lost": "pump.power"}, "E1", "pump.power: no sound reading in 50.0 % of the window"),
        ({"lost": "pdu.power"}, "E1", "pdu.power: no sound reading in 50.0 % of the window"),
    ],
)
def test_what_keeps_a_facility_from_e7(spoilt: Mapping[str, Any], grade: str | None, why: str) -> None:
    changes = {name: spoilt[name] for name in ("class_pct", "is_estimate") if name in spoilt}
    levels = {
        replace(channel, **changes) if channel.role is Role.UPSTREAM else channel: level
        for channel, level in plant().items()
        if channel.domain != spoilt.get("without")
    }
    error_ns = spoilt.get("error_ns", 1000)
    known = tuple(Alignment(channel.meter, 0, error_ns, "host clock") for channel in levels)
    health = (Health(spoilt.get("lost", ""), 60, 30, 0, 0, 0.0, 30.0, 0.5, ()),)
    context = {"site": {"sut_is_all_it": True}, "day": spoilt.get("day", "2026-11-23"), "health": health}
    energy = account(levels, boundary="facility", **context, alignments=known[: spoilt.get("known", 9)])
    assert energy.grade == grade
    assert why in energy.grade_why


def test_a_declared_plant_is_an_estimate() -> None:
    cooling = {"rule": "declared", "declared_ppue": 1.1, "declared_half_width": 0.05, "source": "the operator"}
    loss = {"rule": "declared", "proportional_pct": 2.0, "half_width_pct": 50.0, "source": "the operator"}
    load = next(iter(plant()))
    site = {"sut_is_all_it": True, "cooling": cooling, "loss": loss}
    energy = account({load: 500.0}, boundary="facility", site=site, day="2026-11-23")
    assert energy.grade == "E0"
    assert "tier M0" in energy.grade_why
    assert watts(energy) > 540


def test_chips_alone_as_the_load_of_a_facility_are_told() -> None:
    levels = {one("gpu0"): 500.0, **dict(list(plant().items())[1:])}
    energy = account(levels, boundary="facility", site={"sut_is_all_it": True}, day="2026-11-23")
    assert energy.grade == "E1"
    assert "metered at its chips alone" in energy.grade_why


def requests() -> tuple[Trace, ...]:
    chunks = tuple((40 + i) * S for i in range(30))
    return (
        Trace(0, "p", 30, None, 35 * S, 70 * S, chunks, Status.OK, 200, "", "stop", "", 5, 30, 30, None),
    )  # fmt: skip


def test_energy_is_split_where_requests_are_known_and_adds_up() -> None:
    energy = account({one("gpu0"): 300.0}, traces=requests())
    assert energy.split is not None
    parts = [energy.split.prefill, energy.split.decode, energy.split.unloaded]
    assert fsum(number(part) for part in parts) == pytest.approx(number(energy.total))
    assert number(energy.split.prefill) == pytest.approx(5 * 300, rel=1e-3)
    assert account({one("gpu0"): 300.0}).split is None
    broken = integrate([one("gpu0")], [], WINDOW, "chip", Context(traces=requests()))
    assert broken.split is not None
    assert isinstance(broken.split.decode, NotMetered)


def test_carbon_is_counted_from_the_energy_at_the_boundary() -> None:
    site = {"carbon": {"location": {"g_per_kwh": 360.0, "year": 2025, "source": "a table", "half_width_pct": 5.0}}}
    energy = account({one("gpu0"): 300.0}, site=site)
    assert energy.carbon is not None
    assert energy.carbon.boundary == "chip"
    assert number(energy.carbon.location) == pytest.approx(18_000 / 3.6e6 * 360, rel=1e-3)
    assert account({one("gpu0"): 300.0}).carbon is None


def test_what_was_aligned_and_how_sound_it_was_is_passed_on() -> None:
    alignments: Sequence[Alignment] = (Alignment("gpu0", 0, 1000, "host clock"),)
    assert account({one("gpu0"): 300.0}, alignments=tuple(alignments)).alignments == alignments


@pytest.mark.parametrize("kind", [Kind.POWER, Kind.ENERGY])
def test_two_meters_of_one_domain_that_do_not_agree_are_no_energy(kind: Kind) -> None:
    first = one("server:rack", kind, id="a", meter="a", gain_low=0.995, gain_high=1.005)
    second = one("server:rack", kind, id="b", meter="b")
    energy = account({first: 700.0, second: 1000.0}, boundary="rack")
    assert isinstance(energy.total, NotMetered)
    assert "a tells of 42000 J and b of 60000 J in one domain" in energy.total.why
    assert "two feeds need two domains" in energy.total.why
    alike = account({first: 700.0, second: 707.0}, boundary="rack")
    assert watts(alike) == pytest.approx(700, rel=1e-3)
    assert "b left out: it tells of 42420 J of the same, which is not added" in row(alike, "server").why


def test_a_counter_and_the_power_of_two_meters_must_agree_too() -> None:
    power, counter = one("server:rack", meter="a"), one("server:rack", Kind.ENERGY, meter="b")
    assert isinstance(account({power: 700.0, counter: 1000.0}, boundary="rack").total, NotMetered)
    assert watts(account({power: 700.0, counter: 705.0}, boundary="rack")) == pytest.approx(703, rel=5e-3)
    same = account({replace(power, meter="b"): 700.0, counter: 1000.0}, boundary="rack")
    assert isinstance(same.total, Quantity)  # one meter's two figures: E4 at most, as before


def test_an_estimate_or_a_silent_meter_beside_a_meter_takes_nothing_from_it() -> None:
    first, guess = one("server"), one("server", id="guess", meter="g", is_estimate=True)
    silent = one("server", id="silent", meter="s", gain_low=0.9)
    found = integrate([first, guess, silent], played({first: 700.0, guess: 90.0}), WINDOW, "chip")
    assert watts(found) == pytest.approx(700, rel=1e-3)
    assert "guess left out: one of the two is an estimate" in row(found, "server").why
    assert "silent left out: silent: 1 gap(s)" in row(found, "server").why


def test_a_domain_holds_no_more_than_it_reads() -> None:
    levels = {one("a:rack"): 100.0, one("b:rack", inside="a"): 60.0, one("c:rack", inside="a"): 60.0}
    energy = account(levels, boundary="rack")
    assert isinstance(energy.total, NotMetered)
    assert "a reads 6000 J, and what is said to be inside of it (b, c) 7200 J" in energy.total.why
    assert energy.grade is None
    fits = {c: 50.0 if c.inside else level for c, level in levels.items()}
    assert watts(account(fits, boundary="rack")) == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("changes", [{"kind": Kind.TEMPERATURE, "role": Role.INFO}, {"name": "b"}, {"role": Role.INFO}])
def test_only_what_meters_the_load_at_this_boundary_says_what_holds_it(changes: dict[str, Any]) -> None:
    said = one(**{"name": "b:rack", "kind": Kind.POWER, "id": "said", "meter": "m", "inside": "a", **changes})
    energy = account({one("a:rack"): 100.0, one("b:rack"): 90.0, said: 20.0}, boundary="rack")
    assert watts(energy) == pytest.approx(190, rel=1e-3)


def test_a_feed_on_standby_reads_0_beside_another() -> None:
    feeds = {one("a:rack", **METER): 500.0, one("b:rack", **METER, resolution=0.1): 0.0}
    energy = account(feeds, boundary="rack", day=DAY)
    assert watts(energy) == pytest.approx(500, rel=1e-3)
    standby = row(energy, "b").energy
    assert isinstance(standby, Quantity)
    assert (standby.value, standby.low) == (0.0, 0.0)
    assert standby.high == pytest.approx(2 / sqrt(3) * 0.1 * 60)
    assert "0 J to 6.928 J, by its last digit" in row(energy, "b").why
    parts = {c.name: (c.down_rel, c.up_rel) for c in energy.components}
    assert parts["reading of 0"][0] == 0
    assert parts["reading of 0"][1] == pytest.approx(6.928 / 30_000, rel=1e-3)
    assert energy.grade == "E6"
    assert isinstance(energy.idle_power, Quantity)


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ({one("b:rack", **METER): 0.0}, "shows no energy at all"),
        ({one("a:rack", **METER): 0.0, one("b:rack", **METER): 0.0}, "every meter reads 0"),
        ({one("a:rack"): 500.0, one("b:rack"): 0.0}, "shows no energy at all"),  # a chip's own
        ({one("a:rack", **METER): 500.0, one("b:rack", **METER | {"resolution": 0.0}): 0.0}, "shows no energy at all"),
        (
            {one("a:rack"): 500.0, one("b:rack", **METER): 0.0, one("b:rack", Kind.ENERGY, **METER): 90.0},
            "b.power reads 0 W throughout, and b.energy tells of 5400 J",
        ),
    ],
)
def test_what_reads_0_is_else_no_energy(levels: dict[Channel, float], why: str) -> None:
    energy = account(levels, boundary="rack")
    assert isinstance(energy.total, NotMetered)
    assert why in energy.total.why


@pytest.mark.parametrize(
    ("rule", "it", "grade", "why"),
    [
        ("energy", {}, "E7", "load, all IT, cooling"),
        ("heat", {}, "E7", "load, all IT, cooling"),
        ("energy", {"is_estimate": True}, "E0", "hall.power is an estimate"),
        ("heat", {"certificate": ""}, "E4", "no calibration certificate"),
        ("capacity", {}, "E4", "the rule capacity"),
    ],
)
def test_what_sets_the_share_of_a_plant_is_graded(rule: str, it: dict[str, Any], grade: str, why: str) -> None:
    levels, context = shared_plant(rule, **it)
    energy = account(levels, boundary="facility", **context)
    assert energy.grade == grade, energy.grade_why
    assert why in energy.grade_why


def test_a_sensor_of_a_loop_that_is_no_certified_meter_keeps_from_e7() -> None:
    levels, context = shared_plant("heat")
    levels = {replace(c, certificate="") if c.id == "all.supply" else c: level for c, level in levels.items()}
    energy = account(levels, boundary="facility", **context)
    assert (energy.grade, "all.supply is a meter" in energy.grade_why) == ("E4", True)
    levels = {replace(c, instrument=Instrument.DEVICE) if c.id == "all.supply" else c: w for c, w in levels.items()}
    assert account(levels, boundary="facility", **context).grade == "E1"


@pytest.mark.parametrize(
    ("rest", "day", "package", "why"),
    [
        ({"measured_on": "2026-11-24"}, DAY, "cpu0", "measured on 2026-11-24, after the run of 2026-11-23"),
        ({}, "", "cpu0", "is not known"),
        ({"half_width_pct": 0.001}, DAY, "cpu0", "claims +-0.001 %"),
        ({}, DAY, "dram0", "no processor counters (a package's)"),
    ],
)
def test_a_rest_of_the_node_that_is_not_credible_is_e1(rest: dict[str, Any], day: str, package: str, why: str) -> None:
    cpu = one(package, Kind.ENERGY, instrument=Instrument.CPU)
    levels = {one("gpu0"): 300.0, one("gpu0", Kind.ENERGY): 300.0, cpu: 100.0}
    energy = account(levels, boundary="node", site={"rest": REST | rest}, day=day)
    assert (energy.grade, why in energy.grade_why) == ("E1", True), energy.grade_why


def test_a_rest_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="base_w and slope are both 0"):
        account({one("gpu0"): 300.0}, boundary="node", site={"rest": REST | {"base_w": 0, "slope": 0}})
