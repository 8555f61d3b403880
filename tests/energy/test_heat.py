"""Heat of coolant loops against figures worked out by hand, and the properties of the fluids against their tables."""

import random
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.energy.fluids import FLUIDS, PG25
from tcabench.energy.heat import Loop, loops
from tcabench.energy.series import by_channel
from tcabench.records import Channel, Kind, PowerSample, Quantity, Role
from tcabench.site import Coolant

sys.path.insert(0, str(Path(__file__).parent))
from plant_rig import WINDOW, WINDOW_S, S, channel, number, readings, why

FLOW = channel("rack", Kind.FLOW, Role.FLOW)
SUPPLY = channel("rack", Kind.TEMPERATURE, Role.SUPPLY)
RETURN = channel("rack", Kind.TEMPERATURE, Role.RETURN)
TOLD = channel("rack", Kind.HEAT_ENERGY, Role.INFO)
PG = Coolant(fluid="pg25", sensor_half_width_k=0.1, flow_half_width_pct=2)


def samples(flow: Any = 150.0, supply: Any = 30.0, back: Any = 40.0) -> list[PowerSample]:
    return [*readings(FLOW, flow), *readings(SUPPLY, supply), *readings(RETURN, back)]


def loop(
    taken: list[PowerSample], coolant: Coolant | None = PG, channels: tuple[Channel, ...] = (FLOW, SUPPLY, RETURN)
) -> Loop:
    (found,) = loops(channels, by_channel(taken), WINDOW, {"rack": coolant} if coolant else {})
    return found


@pytest.mark.parametrize(
    ("fluid", "t_c", "density", "cp"),
    [
        # IAPWS-95 at 0.2 MPa
        ("water", 10.0, 999.7496, 4194.784),
        ("water", 25.0, 997.0921, 4181.029),
        ("water", 35.0, 994.0769, 4179.004),
        ("water", 60.0, 983.2390, 4184.734),
        # Melinder (IIR, 2010), 25 % propylene glycol by mass
        ("pg25", 25.0, 1017.1742, 3932.564),
        ("pg25", 35.0, 1012.4794, 3956.671),
        ("pg25", 60.0, 998.3973, 4015.708),
    ],
)
def test_the_properties_are_those_of_the_tables(fluid: str, t_c: float, density: float, cp: float) -> None:
    assert FLUIDS[fluid].density_kg_m3(t_c) == pytest.approx(density, rel=1e-4)
    assert FLUIDS[fluid].cp_j_per_kg_k(t_c) == pytest.approx(cp, rel=1.2e-4)


def test_a_litre_a_minute_and_a_kelvin_are_67_watts() -> None:
    """The rule of OCP: 1.5 L/min for each kW at 10 K with PG25."""
    found = loop(samples(flow=150.0, supply=30.0, back=40.0))
    assert number(found.heat.heat) / WINDOW_S == pytest.approx(100_150, rel=2e-3)
    assert number(found.heat.flow) == pytest.approx(150)
    assert number(found.heat.rise) == pytest.approx(10)
    assert "Melinder" in found.heat.fluid


def test_water_for_pg25_is_near_four_per_cent_too_much() -> None:
    right, wrong = (
        number(loop(samples(), coolant).heat.heat) for coolant in (PG, PG.model_copy(update={"fluid": "water"}))
    )
    assert wrong / right == pytest.approx(1.037, abs=0.002)


def test_the_interval_is_that_of_flow_rise_and_fluid() -> None:
    heat = loop(samples()).heat.heat
    assert isinstance(heat, Quantity)
    sensors = (2 * 0.1**2) ** 0.5 / 10
    density = (PG25.density_kg_m3(30) / PG25.density_kg_m3(40) - 1) / 2
    expected = (0.02**2 + sensors**2 + PG25.half_rel**2 + density**2) ** 0.5
    assert heat.high / heat.value - 1 == pytest.approx(expected, rel=1e-3)
    assert 1 - heat.low / heat.value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("rise_k", "doubted"), [(10.0, False), (4.0, False), (3.9, True), (1.0, True)])
def test_a_small_rise_widens_the_interval_and_is_told(rise_k: float, doubted: bool) -> None:
    found = loop(samples(back=30.0 + rise_k))
    assert isinstance(found.heat.heat, Quantity)
    half_rel = (found.heat.heat.high - found.heat.heat.low) / 2 / found.heat.heat.value
    assert half_rel > 0.14 / rise_k
    assert ("do not certify on this heat" in found.heat.why) == doubted
    assert found.doubt == found.heat.why


def test_a_rise_within_the_sensors_reaches_below_zero() -> None:
    heat = loop(samples(back=30.05)).heat.heat
    assert isinstance(heat, Quantity)
    assert heat.low < 0 < heat.value


def test_a_flow_near_its_meters_smallest_step_is_doubted() -> None:
    coarse = replace(FLOW, resolution=1.0)
    found = loop(samples(flow=4.0), PG, (coarse, SUPPLY, RETURN))
    assert "smallest step" in found.heat.why
    assert isinstance(found.heat.heat, Quantity)
    assert found.heat.heat.high / found.heat.heat.value > 1.14


def test_without_a_stated_accuracy_a_sensor_is_taken_as_half_a_kelvin() -> None:
    silent = (FLOW, *(replace(one, gain_low=1.0, gain_high=1.0) for one in (SUPPLY, RETURN)))
    rise = loop(samples(), Coolant(fluid="pg25"), silent).heat.rise
    assert isinstance(rise, Quantity)
    assert rise.high - rise.value == pytest.approx(0.5 * 2**0.5)


@pytest.mark.parametrize(
    ("taken", "coolant", "told"),
    [
        (samples(), None, r"does not say what flows in loop rack: coolant\.rack\.fluid"),
        (samples(flow=0.0), PG, "shows no flow"),
        (samples(supply=40.0, back=30.0), PG, "supply and return are swapped"),
        (samples(supply=61.0, back=70.0), PG, "pg25 is known from 15 to 60 degC"),
        ([s for s in samples() if not (s.channel == SUPPLY.id and 200 * S < s.t_ns < 260 * S)], PG, "1 gap"),
        ([s for s in samples() if s.channel != FLOW.id], PG, "gap|not one reading"),
    ],
)
def test_what_cannot_be_told_is_not_metered(taken: list[PowerSample], coolant: Coolant | None, told: str) -> None:
    found = loop(taken, coolant).heat
    assert why(found.heat) == why(found.flow) == why(found.rise)
    assert re.search(told, why(found.heat))


def test_a_loop_of_the_site_without_meters_is_named() -> None:
    (found,) = loops((), {}, WINDOW, {"hall": PG})
    assert why(found.heat.heat) == "loop hall has no flow and no supply and no return channel"


def test_heat_rises_and_falls_with_the_load() -> None:
    """A ramp of the return temperature: the integral is that of its mean."""
    ramp = loop(samples(back=lambda s: 35.0 + 10.0 * (s - 100) / 600)).heat
    assert number(ramp.heat) == pytest.approx(number(loop(samples(back=40.0)).heat.heat), rel=1e-3)


def test_a_heat_meter_counts_where_flow_and_temperatures_cannot_be_had() -> None:
    told = replace(TOLD, role=Role.LOAD)
    (found,) = loops([told], by_channel(readings(told, 50_000.0)), WINDOW, {})
    assert number(found.heat.heat) == pytest.approx(50_000 * WINDOW_S, rel=0.01)
    assert found.heat.why == "as the device tells it: loop rack has no flow and no supply and no return channel"


def test_a_frozen_heat_meter_that_lost_energy_is_not_used() -> None:
    told = replace(TOLD, role=Role.LOAD)
    still = readings(told, lambda s: 0.0 if 300 <= s < 360 else 50_000.0)
    taken = by_channel([sample for sample in still if not 301 * S <= sample.t_ns < 360 * S])
    (sound,), (frozen,) = (loops([told], taken, WINDOW, {}, frozen=ids) for ids in ((), (told.id,)))
    assert isinstance(sound.heat.heat, Quantity)
    assert sound.channels == (told.id,)
    assert not isinstance(frozen.heat.heat, Quantity)
    assert frozen.channels == ()


def test_a_devices_figure_for_information_makes_no_loop() -> None:
    assert loops([TOLD], by_channel(readings(TOLD, 50_000.0)), WINDOW, {}) == ()


def test_a_devices_own_figure_that_does_not_fit_is_told() -> None:
    taken = [*samples(), *readings(TOLD, 50_000.0)]
    found = loop(taken, PG, (FLOW, SUPPLY, RETURN, TOLD))
    assert number(found.heat.heat) / WINDOW_S == pytest.approx(100_150, rel=2e-3)
    assert "-50.1 % against flow and temperatures" in found.notes[0]


@given(st.floats(10, 500), st.floats(16, 40), st.floats(0.5, 15), st.floats(0.1, 1.0))
@settings(max_examples=25, deadline=None)
def test_heat_is_proportional_to_flow(flow: float, supply: float, rise: float, factor: float) -> None:
    whole, part = (number(loop(samples(v, supply, supply + rise)).heat.heat) for v in (flow, flow * factor))
    assert part == pytest.approx(whole * factor, rel=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Monte Carlo: errors of the sensors drawn from the stated limits (k = 2, normal)."""
    rng, held, runs = random.Random(7), 0, 200
    true_j = number(loop(samples(flow=100.0, supply=30.0, back=36.0)).heat.heat)
    for _ in range(runs):
        flow, cold, hot = 100.0 * rng.gauss(1, 0.01), 30.0 + rng.gauss(0, 0.05), 36.0 + rng.gauss(0, 0.05)
        heat = loop(short(flow, cold, hot)).heat.heat
        assert isinstance(heat, Quantity)
        held += heat.low <= true_j <= heat.high
    assert held / runs >= 0.93


def short(flow: float, supply: float, back: float) -> list[PowerSample]:
    """Three readings of each sensor, as far apart as may be bridged."""
    return [
        PowerSample(s * S, 0, one.id, value)
        for one, value in ((FLOW, flow), (SUPPLY, supply), (RETURN, back))
        for s in range(100, 701, 5)
    ]
