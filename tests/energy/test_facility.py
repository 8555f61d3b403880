"""Allocation of cooling and loss by each rule, and the ratios of ISO/IEC 30134, against figures worked out by hand."""

import random
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.energy import facility, integrate
from tcabench.energy.arithmetic import less, over, plus, stated, times
from tcabench.energy.series import by_channel
from tcabench.errors import UsageError
from tcabench.evidence.energy_document import energy_document
from tcabench.evidence.soundness import lost_rel
from tcabench.records import Channel, Facility, Health, Instrument, Kind, NotMetered, PowerSample, Quantity, Role, Value

sys.path.insert(0, str(Path(__file__).parent))
from plant_rig import WINDOW, WINDOW_S, channel, joules, number, readings, site, why

# A hall: 100 kW of IT of which the system under test is 20 kW, 103 kW into the distribution, 12 kW of cooling.
IT = channel("hall", Kind.POWER, Role.IT)
UPSTREAM = channel("ups", Kind.POWER, Role.UPSTREAM)
COOLING = channel("chiller", Kind.POWER, Role.COOLING)
SITE = channel("grid", Kind.POWER, Role.SITE)
REUSE = channel("baths", Kind.HEAT_ENERGY, Role.REUSE)
WATER = channel("tower", Kind.WATER, Role.WATER)
HALL = ((IT, 100_000.0), (UPSTREAM, 103_000.0), (COOLING, 12_000.0))
SUT = joules(20_000)
NONE = NotMetered("not asked")


def loop_of(domain: str, flow: float, rise: float) -> tuple[tuple[Channel, float], ...]:
    return (
        (channel(domain, Kind.FLOW, Role.FLOW), flow),
        (channel(domain, Kind.TEMPERATURE, Role.SUPPLY), 30.0),
        (channel(domain, Kind.TEMPERATURE, Role.RETURN), 30.0 + rise),
    )


def account(
    levels: tuple[tuple[Channel, float], ...], sut: Value = SUT, reference: Value = NONE, **parts: Any
) -> Facility | None:
    taken: list[PowerSample] = [sample for one, level in levels for sample in readings(one, level)]
    return facility.account([one for one, _ in levels], by_channel(taken), WINDOW, sut, reference, site(**parts))


def found(
    levels: tuple[tuple[Channel, float], ...], sut: Value = SUT, reference: Value = NONE, **parts: Any
) -> Facility:
    there = account(levels, sut, reference, **parts)
    assert there is not None
    return there


BY_ENERGY = {"rule": "energy"}


def test_a_site_with_nothing_shared_has_no_facility() -> None:
    assert account(()) is None
    assert account((), carbon={"country": "DE"}) is None


def test_by_energy_the_system_bears_its_share() -> None:
    there = found(HALL, cooling=BY_ENERGY)
    assert number(there.share) == pytest.approx(0.2)
    assert number(there.cooling) == pytest.approx(12_000 * WINDOW_S * 0.2, rel=1e-6)
    assert number(there.loss) == pytest.approx(3_000 * WINDOW_S * 0.2, rel=1e-6)
    assert number(there.ppue) == pytest.approx(1.15, rel=1e-6)
    assert there.rule == "cooling by share of IT energy; loss measured, upstream less IT, by share of IT energy"
    assert there.tier == "M2"
    assert "interim and partial: IT with cooling and loss, over 600 s" in there.notes[0]


def test_the_facilitys_total_is_it_with_cooling_and_loss() -> None:
    there = found(HALL, cooling=BY_ENERGY)
    parts = number(there.it) + number(there.cooling) + number(there.loss)
    assert number(facility.total(there)) == pytest.approx(parts, rel=1e-9)


def test_by_energy_the_systems_own_meter_does_not_move_ppue() -> None:
    """It stands above and below the line: a meter of 50 % gives the same interval as an exact one."""
    rough, exact = (found(HALL, joules(20_000, rel), cooling=BY_ENERGY).ppue for rel in (0.5, 0.0))
    assert rough == exact


def test_the_interval_of_ppue_is_that_of_three_meters() -> None:
    there = found(HALL, cooling=BY_ENERGY)
    assert isinstance(there.ppue, Quantity)
    above = (103_000**2 + 12_000**2) ** 0.5 / 115_000 * 0.01
    expected = (above**2 + 0.01**2) ** 0.5
    assert there.ppue.high / there.ppue.value - 1 == pytest.approx(expected, rel=0.03)


def test_alone_in_its_plant_it_bears_everything() -> None:
    there = found(HALL[1:], joules(100_000), cooling=BY_ENERGY, sut_is_all_it=True)
    assert there.share == Quantity.exact(1.0, "1")
    assert number(there.cooling) == pytest.approx(12_000 * WINDOW_S)
    assert number(there.loss) == pytest.approx(3_000 * WINDOW_S)
    assert number(there.ppue) == pytest.approx(1.15)
    assert there.tier == "M3"


HEAT = {"coolant": {"rack": {"fluid": "pg25"}, "main": {"fluid": "water", "serves": "plant"}}}


def test_by_heat_the_share_is_that_of_the_loops() -> None:
    levels = (*HALL, *loop_of("rack", 30.0, 8.0), *loop_of("main", 144.3, 10.0))
    there = found(levels, cooling={"rule": "heat"}, **HEAT)
    rack, main = (next(one for one in there.heat if one.loop == name) for name in ("rack", "main"))
    share = number(rack.heat) / number(main.heat)
    assert number(there.cooling) == pytest.approx(12_000 * WINDOW_S * share, rel=1e-6)
    assert number(there.cer) == pytest.approx(number(main.heat) / (12_000 * WINDOW_S), rel=1e-6)
    assert there.rule.startswith("cooling by share of heat")


CONTRACT = {"capacity_half_width_pct": 10.0, "source": "contract"}


def test_by_capacity_what_is_reserved_counts() -> None:
    there = found(HALL, cooling={"rule": "capacity", "reserved_kw": 40.0, "capacity_kw": 400.0, **CONTRACT})
    assert number(there.cooling) == pytest.approx(1_200 * WINDOW_S)
    assert "(40 of 400 kW, +-10 %, declared, not measured: contract)" in there.rule


def test_a_share_by_capacity_is_declared_and_as_wide_as_stated() -> None:
    there = found(
        (*HALL, (REUSE, 23_000.0)), cooling={"rule": "capacity", "reserved_kw": 40.0, "capacity_kw": 400.0, **CONTRACT}
    )
    assert there.tier == "M0"
    assert isinstance(there.cooling, Quantity)
    half_rel = (0.1**2 + 0.01**2) ** 0.5
    assert there.cooling.high / there.cooling.value - 1 == pytest.approx(half_rel, rel=0.01)
    assert number(there.ere) == pytest.approx(0.92, rel=2e-3)  # the plant as a whole is metered all the same


def test_in_two_parts_idle_goes_by_capacity_and_the_rest_by_energy() -> None:
    asked = {"rule": "two-part", "reserved_kw": 40.0, "capacity_kw": 400.0, "idle_w": 2_000.0, **CONTRACT}
    there = found(HALL, cooling=asked)
    assert number(there.cooling) == pytest.approx((2_000 * 0.1 + 10_000 * 0.2) * WINDOW_S)
    assert isinstance(there.cooling, Quantity)
    assert there.tier == "M0"
    exact = {"rule": "two-part", "reserved_kw": 40.0, "capacity_kw": 400.0, "idle_w": 2_000.0, "source": "contract"}
    sure = found(HALL, cooling={**exact, "capacity_half_width_pct": 1e-6}).cooling
    assert isinstance(sure, Quantity)
    assert there.cooling.high - there.cooling.value > 1.1 * (sure.high - sure.value)


def test_a_plant_below_its_stated_idle_is_told() -> None:
    asked = {"rule": "two-part", "reserved_kw": 40.0, "capacity_kw": 400.0, "idle_w": 13_000.0, **CONTRACT}
    assert "less than its stated idle_w of 13000 W" in why(found(HALL, cooling=asked).cooling)


def test_what_serves_it_alone_is_borne_whole() -> None:
    own = (channel("cdu7", Kind.POWER, Role.COOLING), 300.0)
    there = found((*HALL, own), cooling={"rule": "energy", "own": ["cdu7"]})
    assert number(there.cooling) == pytest.approx((300 + 12_000 * 0.2) * WINDOW_S)
    only = found((HALL[0], HALL[1], own), cooling={"rule": "energy", "own": ["cdu7"]})
    assert number(only.cooling) == pytest.approx(300 * WINDOW_S)
    assert number(only.ppue) == pytest.approx(1 + 300 / 20_000 + 0.03)


def test_declared_figures_are_called_so() -> None:
    there = found(
        (),
        cooling={"rule": "declared", "declared_ppue": 1.12, "declared_half_width": 0.03, "source": "operator, 2025"},
        loss={
            "rule": "declared", "fixed_pct": 0.5, "proportional_pct": 1.0, "reserved_kw": 40.0, "half_width_pct": 50.0,
            "source": "data sheet",
        },
    )  # fmt: skip
    assert number(there.cooling) == pytest.approx(0.12 * number(SUT))
    assert number(there.loss) == pytest.approx(200 * WINDOW_S + 0.01 * number(SUT))
    assert isinstance(there.ppue, Quantity)
    assert there.ppue.high - there.ppue.value == pytest.approx((0.03**2 + 0.005**2 + 0.005**2) ** 0.5, rel=0.02)
    assert there.tier == "M0"
    assert there.rule.count("declared, not measured") == 2


def test_a_site_meter_alone_is_a_facility_average() -> None:
    there = found(((IT, 100_000.0), (SITE, 130_000.0)))
    assert number(there.ppue) == pytest.approx(1.3)
    assert there.tier == "M1"
    assert number(facility.total(there)) == pytest.approx(1.3 * number(SUT))
    assert any(note.startswith("the site's meter over all IT is 1.300") for note in there.notes)


def test_a_site_meter_holds_the_loss_already() -> None:
    asked = {"rule": "declared", "proportional_pct": 5.0, "half_width_pct": 50.0, "source": "data sheet"}
    there = found(((IT, 100_000.0), (SITE, 130_000.0)), loss=asked)
    assert number(there.ppue) == pytest.approx(1.3)
    assert why(there.loss) == "it is part of the site's figure, which stands under cooling"


def test_with_a_site_meter_the_whole_is_what_it_reads() -> None:
    there = found((*HALL, (SITE, 125_000.0), (REUSE, 25_000.0)), cooling=BY_ENERGY)
    assert number(there.erf) == pytest.approx(0.2, rel=2e-3)
    assert number(there.ere) == pytest.approx(1.0, rel=2e-3)


def test_what_is_declared_makes_no_measured_whole() -> None:
    asked = {"rule": "declared", "declared_ppue": 1.1, "declared_half_width": 0.1, "source": "operator"}
    there = found((*HALL, (REUSE, 25_000.0)), cooling=asked)
    assert why(there.erf) == "the energy of the whole is declared, not measured"
    assert "the cooling that is metered is not used" in there.rule


def test_half_a_facility_has_no_total() -> None:
    cooled = found((HALL[0], HALL[2]), cooling=BY_ENERGY)
    told = "no meter has the role upstream, and the site declares no loss"
    assert why(facility.total(cooled)) == why(cooled.ppue) == told
    lossy = found((*HALL[:2], (REUSE, 23_000.0)))
    told = "no meter has the role cooling, and the site declares none"
    assert why(facility.total(lossy)) == why(lossy.ppue) == why(lossy.ere) == told


def test_without_cooling_meters_the_site_meter_goes_before_what_feeds_the_distribution() -> None:
    there = found((*HALL[:2], (SITE, 200_000.0)))
    assert number(there.ppue) == pytest.approx(2.0)
    assert there.tier == "M1"


@pytest.mark.parametrize(
    ("levels", "parts", "field", "told"),
    [
        (HALL, {}, "cooling", r"names no rule to share it by: cooling\.rule"),
        (HALL[1:], {"cooling": BY_ENERGY}, "cooling", "no meter has the role it"),
        (HALL[:2], {"cooling": BY_ENERGY}, "cooling", "no meter has the role cooling"),
        (HALL[:1], {"loss": {"rule": "measured"}}, "loss", "no meter has the role upstream"),
        (HALL, {"cooling": {"rule": "heat"}}, "cooling", "no coolant loop with meters serves"),
        (((IT, 100_000.0), (UPSTREAM, 99_000.0)), {}, "loss", "1.00 % less than the IT behind it"),
        (((IT, 100_000.0), (SITE, 90_000.0)), {}, "ppue", "reads less than the IT in it"),
        (((IT, 15_000.0), *HALL[1:]), {"cooling": BY_ENERGY}, "share", "more energy than all IT"),
        (((IT, 15_000.0), *HALL[1:]), {"cooling": BY_ENERGY}, "ppue", "more energy than all IT"),
    ],
)
def test_what_is_missing_or_cannot_be_is_told_and_never_zero(
    levels: tuple[tuple[Channel, float], ...], parts: dict[str, Any], field: str, told: str
) -> None:
    assert re.search(told, why(getattr(found(levels, **parts), field)))


def test_cooling_that_is_fed_from_upstream_is_no_loss() -> None:
    """115 kW upstream of which 12 kW cool: 3 kW are lost, and the cooling counts once."""
    fed = replace(COOLING, inside="pumps")
    pumps = channel("pumps", Kind.POWER, Role.COOLING, inside="ups")
    there = found((HALL[0], (UPSTREAM, 115_000.0), (fed, 4_000.0), (pumps, 12_000.0)), cooling=BY_ENERGY)
    assert number(there.cooling) == pytest.approx(12_000 * WINDOW_S * 0.2, rel=1e-6)
    assert number(there.loss) == pytest.approx(3_000 * WINDOW_S * 0.2, rel=1e-6)
    assert number(there.ppue) == pytest.approx(1.15, rel=1e-6)
    beside = found((HALL[0], (UPSTREAM, 115_000.0), (COOLING, 12_000.0)), cooling=BY_ENERGY)
    assert number(beside.ppue) == pytest.approx(1.27, rel=1e-6)


@pytest.mark.parametrize("outer", [IT, channel("rack", Kind.POWER, Role.LOAD)])
def test_cooling_inside_of_the_it_would_count_twice(outer: Channel) -> None:
    """Its place in upstream is behind the IT: nothing is taken out there, and the loss stays what it is."""
    hall, pumps = replace(IT, inside="ups"), channel("pumps", Kind.POWER, Role.COOLING, inside=outer.domain)
    rest = () if outer is IT else ((replace(outer, inside="hall"), 20_000.0),)
    there = found(((hall, 100_000.0), (UPSTREAM, 103_000.0), (pumps, 2_000.0), *rest), cooling=BY_ENERGY)
    assert why(there.cooling) == why(there.ppue)
    assert "pumps: cooling inside of what counts as IT would count twice" in why(there.cooling)
    assert number(there.loss) == pytest.approx(3_000 * WINDOW_S * 0.2, rel=1e-6)


def test_a_name_in_cooling_own_that_no_meter_has_is_told() -> None:
    there = found(HALL, cooling={**BY_ENERGY, "own": ("chillr",)})
    told = "cooling.own: no electricity meter of role cooling has the domain chillr; there is chiller"
    assert why(there.cooling) == why(there.ppue) == told


def test_a_share_just_above_one_is_one() -> None:
    there = found(((IT, 19_900.0), *HALL[1:]), cooling=BY_ENERGY)
    assert isinstance(there.share, Quantity)
    assert there.share.value == there.share.high == 1.0


def test_a_meter_that_failed_is_named() -> None:
    taken = [s for one, level in HALL for s in readings(one, level) if s.channel != COOLING.id or s.t_ns < 300e9]
    there = facility.account([one for one, _ in HALL], by_channel(taken), WINDOW, SUT, NONE, site(cooling=BY_ENERGY))
    assert there is not None
    assert "chiller" in why(there.cooling)
    assert why(there.ppue) == why(there.cooling)
    assert number(there.loss) == pytest.approx(600 * WINDOW_S)


def test_reuse_water_and_cer() -> None:
    levels = (*HALL, (REUSE, 23_000.0), (WATER, 0.05), *loop_of("main", 144.3, 10.0))
    there = found(levels, cooling=BY_ENERGY, coolant={"main": {"fluid": "water", "serves": "plant"}}, reuse="baths")
    assert number(there.erf) == pytest.approx(23 / 115, rel=2e-3)
    assert number(there.ere) == pytest.approx(0.92, rel=2e-3)
    assert number(there.wue) == pytest.approx(0.05 * 600 / (100 / 6), rel=5e-3)
    assert number(there.cer) == pytest.approx(100_000 / 12_000, rel=0.01)
    assert "reuse: baths" in there.notes


def test_without_their_meters_the_ratios_say_why() -> None:
    there = found(HALL, cooling=BY_ENERGY)
    assert why(there.erf) == why(there.ere) == "no meter has the role reuse"
    assert why(there.wue) == "no meter has the role water"
    assert why(there.cer) == "no coolant loop with meters serves the plant as a whole"


def test_the_same_thing_metered_within_another_counts_once() -> None:
    inner = (replace(channel("pump", Kind.POWER, Role.COOLING), inside="chiller"), 2_000.0)
    assert number(found((*HALL, inner), cooling=BY_ENERGY).cooling) == pytest.approx(2_400 * WINDOW_S)


PUMP = channel("pump", Kind.POWER, Role.COOLING, inside="chiller")
FAN = channel("fan", Kind.POWER, Role.COOLING)
COUNTED = channel("pump", Kind.ENERGY, Role.COOLING)


def test_one_channel_that_says_where_it_lies_speaks_for_its_domain() -> None:
    there = found((*HALL, (PUMP, 2_000.0), (COUNTED, 2_000.0)), cooling=BY_ENERGY)
    assert number(there.cooling) == pytest.approx(2_400 * WINDOW_S)


def test_what_serves_it_alone_is_taken_out_of_the_meter_that_holds_it() -> None:
    there = found((*HALL, (PUMP, 2_000.0)), cooling={"rule": "energy", "own": ["pump"]})
    assert number(there.cooling) == pytest.approx((2_000 + 10_000 * 0.2) * WINDOW_S)
    assert number(there.ppue) == pytest.approx(1 + 2_000 / 20_000 + 0.1 + 0.03)


def test_what_lies_within_what_serves_it_alone_counts_once() -> None:
    asked = {"rule": "energy", "own": ["chiller", "pump"]}
    assert number(found((*HALL, (PUMP, 2_000.0)), cooling=asked).cooling) == pytest.approx(12_000 * WINDOW_S)
    asked = {"rule": "energy", "own": ["chiller"]}
    assert number(found((*HALL, (PUMP, 2_000.0)), cooling=asked).cooling) == pytest.approx(12_000 * WINDOW_S)


@pytest.mark.parametrize(
    ("chiller", "others", "own", "told"),
    [
        ("chiller", (FAN,), ["fan"], "chiller inside chiller: that is a circle"),
        ("pump", (PUMP,), [], "chiller inside pump inside chiller: that is a circle"),
        ("", (PUMP, replace(COUNTED, inside="fan"), FAN), [], "pump is said to be inside chiller and inside fan"),
        ("fan", (FAN,), [], "chiller is said to be inside fan, but reads more than it"),
    ],
)
def test_what_cannot_lie_in_one_another_is_refused(
    chiller: str, others: tuple[Channel, ...], own: list[str], told: str
) -> None:
    plant = (*HALL[:2], (replace(COOLING, inside=chiller), 12_000.0), *((one, 50.0) for one in others))
    there = found(plant, cooling={"rule": "energy", "own": own})
    assert told in why(there.cooling)
    assert told in why(there.ppue)
    assert told in why(facility.total(there))


def test_a_shared_meter_that_failed_leaves_no_cer_of_what_is_left() -> None:
    own, main = channel("cdu7", Kind.POWER, Role.COOLING), loop_of("main", 144.3, 10.0)
    levels = (*HALL, (own, 300.0), *main)
    taken = [s for one, level in levels for s in readings(one, level) if s.channel != COOLING.id]
    asked = site(cooling={"rule": "energy", "own": ["cdu7"]}, coolant={"main": {"fluid": "water", "serves": "plant"}})
    there = facility.account([one for one, _ in levels], by_channel(taken), WINDOW, SUT, NONE, asked)
    assert there is not None
    assert "chiller" in why(there.cer)
    assert "chiller" in why(there.cooling)


@pytest.mark.parametrize(("frozen_s", "counts"), [(0.0, True), (60.0, False)])
def test_a_frozen_counter_of_the_plant_that_lost_energy_is_not_used(frozen_s: float, counts: bool) -> None:
    """It was not read for 60 s and counted on by nothing meanwhile: that may be slow, but not where it was frozen."""
    counter = channel("chiller", Kind.ENERGY, Role.COOLING)
    still = readings(counter, lambda s: 0.0 if 300 <= s < 360 else 12_000.0)
    taken = [s for one, level in HALL[:2] for s in readings(one, level)]
    taken += [sample for sample in still if not 301e9 <= sample.t_ns < 360e9]
    context = replace(site(cooling=BY_ENERGY), health=(Health(counter.id, 600, 540, 0, 0, frozen_s, 60, 0.1, ()),))
    channels = [IT, UPSTREAM, counter]
    there = facility.account(channels, by_channel(taken), WINDOW, SUT, NONE, context)
    assert there is not None
    assert isinstance(there.cooling, Quantity) == counts
    assert isinstance(there.ppue, Quantity) == counts


def test_an_idle_plant_draws_nothing_and_not_unknown() -> None:
    still = {"instrument": Instrument.METER, "resolution": 10.0}
    chiller, tower, baths = replace(COOLING, **still), replace(WATER, **still), replace(REUSE, **still)
    there = found((*HALL[:2], (chiller, 0.0), (tower, 0.0), (baths, 0.0)), cooling=BY_ENERGY)
    for value in (there.cooling, there.wue, there.erf):
        assert isinstance(value, Quantity)
        assert value.low == value.value == 0.0 < value.high
    assert number(there.ppue) == pytest.approx(1.03)
    assert why(there.cer).startswith("no coolant loop")


def test_without_a_last_digit_nobody_knows_that_nothing_flowed() -> None:
    assert WATER.id in why(found((*HALL, (WATER, 0.0)), cooling=BY_ENERGY).wue)


def test_two_meters_of_one_part_of_the_plant_must_agree() -> None:
    second = replace(COOLING, id="second", meter="n")
    there = found((*HALL, (second, 6_000.0)), cooling=BY_ENERGY)
    assert "two feeds need two domains" in why(there.cooling)


COLD = {
    "coolant": {"rack": {"fluid": "pg25", "sensor_half_width_k": 0.1}, "main": {"fluid": "water", "serves": "plant"}}
}


@pytest.mark.parametrize(("rise", "told"), [(-0.05, "brought some"), (2.0, "loop rack: a rise of 2.00 K is below 4 K")])
def test_no_cooling_is_shared_by_a_heat_that_is_none_or_doubted(rise: float, told: str) -> None:
    levels = (*HALL, *loop_of("rack", 30.0, rise), *loop_of("main", 144.3, 10.0))
    there = found(levels, cooling={"rule": "heat"}, **COLD)
    assert told in why(there.cooling)
    assert told in why(there.ppue)
    asked = {"rule": "two-part", "dynamic": "heat", "reserved_kw": 40.0, "capacity_kw": 400.0, "idle_w": 9.0}
    assert told in why(found(levels, cooling={**asked, **CONTRACT}, **COLD).cooling)


def test_the_channels_behind_its_values_are_named() -> None:
    levels = (*HALL, (WATER, 0.05), *loop_of("rack", 30.0, 8.0))
    there = found(levels, cooling=BY_ENERGY, coolant={"rack": {"fluid": "pg25"}})
    assert set(there.channels) == {one.id for one, _ in levels}
    alone = found(HALL, joules(100_000), cooling=BY_ENERGY, sut_is_all_it=True)
    assert set(alone.channels) == {UPSTREAM.id, COOLING.id}


@pytest.mark.parametrize(("boundary", "seen"), [("facility", 0.5), ("rack", 0.0)])
def test_the_readings_of_the_plant_count_at_the_facility(boundary: str, seen: float) -> None:
    rack = channel("rack", Kind.POWER, Role.LOAD, boundary="rack")
    levels = ((rack, 20_000.0), *HALL)
    taken = [sample for one, level in levels for sample in readings(one, level)]
    health = (Health(COOLING.id, 600, 300, 0, 0, 0.0, 300, 0.5, ()),)
    context = replace(site(cooling=BY_ENERGY), health=health)
    energy = integrate([one for one, _ in levels], taken, WINDOW, boundary, context)
    assert isinstance(energy.total, Quantity)
    assert lost_rel(energy) == seen
    plant = energy_document(energy)["facility"]
    assert set(plant["channels"]) == {one.id for one, _ in HALL}


@pytest.mark.parametrize(
    ("sut_w", "told"),
    [
        (20_000, "heat and electricity agree within their uncertainty"),
        (15_000, "more heat than electricity"),
        (40_000, "of its electricity left through the metered coolant; the rest left by air"),
    ],
)
def test_heat_is_held_against_electricity(sut_w: float, told: str) -> None:
    levels = (*HALL, *loop_of("rack", 30.0, 10.0))
    coolant = {"rack": {"fluid": "pg25", "sensor_half_width_k": 0.1}}
    there = found(levels, reference=joules(sut_w), cooling=BY_ENERGY, coolant=coolant)
    assert any(told in note for note in there.notes)
    assert there.heat[0].balance_rel == pytest.approx(20_030 / sut_w - 1, abs=0.01)


def test_sums_that_cannot_be_are_told() -> None:
    notes = found(((IT, 15_000.0), (UPSTREAM, 14_000.0), (COOLING, 9_000.0), (SITE, 20_000.0))).notes
    assert any("the system under test reads 33.3 % more than all IT" in note for note in notes)
    assert any("all IT reads 7.1 % more than what goes into its distribution" in note for note in notes)
    assert any("IT and cooling reads 20.0 % more than the whole site" in note for note in notes)


def test_the_category_of_the_standard_is_told() -> None:
    there = found(HALL, cooling=BY_ENERGY, it_metered_at="it-input")
    assert "IT is metered at the input of the IT equipment: category 3 of ISO/IEC 30134-2" in there.notes


def test_a_site_that_makes_no_sense_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="site: cooling: rule two-part needs"):
        found(HALL, cooling={"rule": "two-part"})


@given(st.lists(st.floats(1_000, 50_000), min_size=1, max_size=5), st.floats(500, 20_000), st.floats(0, 5_000))
@settings(max_examples=25, deadline=None)
def test_shares_by_energy_add_up_to_the_whole(tenants_w: list[float], cooling_w: float, loss_w: float) -> None:
    """What every tenant bears comes to all of the cooling and all of the loss."""
    it_w = sum(tenants_w)
    levels = ((IT, it_w), (UPSTREAM, it_w + loss_w + 1e-6 * it_w), (COOLING, cooling_w))
    each = [found(levels, joules(watts), cooling=BY_ENERGY) for watts in tenants_w]
    assert sum(number(one.cooling) for one in each) == pytest.approx(cooling_w * WINDOW_S, rel=1e-6)
    assert sum(number(one.loss) for one in each) == pytest.approx((loss_w + 1e-6 * it_w) * WINDOW_S, rel=1e-3, abs=10)
    assert {round(number(one.ppue), 9) for one in each} == {round(number(each[0].ppue), 9)}


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0, 0.3), st.floats(0, 0.3))
def test_arithmetic_is_that_of_the_gum(a: float, b: float, rel_a: float, rel_b: float) -> None:
    one, other = stated(a, 100 * rel_a, "J"), stated(b, 100 * rel_b, "J")
    product, quotient = times("J2", one, other), over("1", one, other)
    total, rest = plus("J", one, other), less("J", one, other)
    assert number(product) == pytest.approx(a * b)
    assert number(quotient) == pytest.approx(a / b)
    assert number(total) == pytest.approx(a + b)
    assert isinstance(product, Quantity)
    assert isinstance(rest, Quantity)
    assert isinstance(total, Quantity)
    assert product.high / product.value - 1 == pytest.approx((rel_a**2 + rel_b**2) ** 0.5, abs=1e-9)
    # Both are differences of floats as large as the sum: a rounding of it is no error of the rule.
    assert rest.high - rest.value == pytest.approx(total.high - total.value, abs=1e-12 * total.value)
    assert number(times("J", quotient, other)) == pytest.approx(a)


def test_nothing_bounds_a_quotient_by_what_may_be_zero() -> None:
    assert why(over("1", joules(1), Quantity(1.0, 0.0, 2.0, "J"))) == "what it is divided by may be zero"


def test_the_interval_of_ppue_holds_the_truth_as_often_as_it_says() -> None:
    """Monte Carlo (JCGM 101): every meter of the hall off by its own draw, +-1 % at k = 2."""
    rng, held, runs = random.Random(3), 0, 1000
    for _ in range(runs):
        it, up, cool = (
            stated(level * rng.gauss(1, 0.005) * WINDOW_S, 1.0, "J") for level in (100_000, 103_000, 12_000)
        )
        ppue = over("1", plus("J", cool, up), it)
        assert isinstance(ppue, Quantity)
        held += ppue.low <= 1.15 <= ppue.high
    assert 0.93 <= held / runs <= 0.975
