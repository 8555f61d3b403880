"""Carbon by location, by market and embodied, against figures worked out by hand."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.energy import carbon
from tcabench.errors import UsageError
from tcabench.records import Carbon, Context, NotMetered, Quantity, Value
from tcabench.site import parse_site

sys.path.insert(0, str(Path(__file__).parent))
from plant_rig import WINDOW, S, number, why

KWH = Quantity(3.6e6, 3.6e6 * 0.99, 3.6e6 * 1.01, "J")
BEGAN_S = 1_700_000_000 // 3600 * 3600 + 3300  # five minutes before a full hour: the window ends five minutes after it
GRID = {"g_per_kwh": 300.0, "year": 2026, "source": "operator", "half_width_pct": 10.0}
DIGEST = "ab" * 32


def hours(*rows: tuple[int, int, float]) -> dict[str, Any]:
    return {
        "file": "grid.csv", "time_zone": "UTC", "source": "grid operator", "half_width_pct": 5.0, "sha256": DIGEST,
        "rows": [list(row) for row in rows],
    }  # fmt: skip


def emitted(total: Value = KWH, part_j: Any = None, wall_s: int = BEGAN_S, **parts: Any) -> Carbon:
    found = carbon.emissions(
        "rack", total, WINDOW, Context(site={"id": "a", "carbon": parts}, start_wall_ns=wall_s * S), part_j
    )
    assert found is not None
    return found


def test_a_site_that_says_nothing_has_no_carbon() -> None:
    assert carbon.emissions("rack", KWH, WINDOW, Context(site={"id": "a"})) is None


def test_location_and_market_stand_side_by_side() -> None:
    market = {"g_per_kwh": 20.0, "instrument": "contract", "year": 2026, "source": "agreement", "half_width_pct": 0.0}
    found = emitted(location=GRID, market=market)
    assert number(found.location) == pytest.approx(300)
    assert number(found.market) == pytest.approx(20)
    assert number(found.intensity_location) == 300
    assert found.boundary == "rack"
    assert found.source_location == "2026, operator, +-10 % (k = 2)"
    assert found.source_market == "contract, 2026, agreement, +-0 % (k = 2)"


def test_the_interval_holds_meter_and_intensity() -> None:
    found = emitted(location=GRID).location
    assert isinstance(found, Quantity)
    assert found.high / found.value - 1 == pytest.approx((0.01**2 + 0.1**2) ** 0.5)


def test_what_is_not_given_is_not_metered() -> None:
    found = emitted()
    assert "carbon.country or carbon.location" in why(found.location)
    assert "carbon.market" in why(found.market)
    assert "carbon.embodied" in why(found.embodied)
    assert {found.source_location, found.source_market, found.source_embodied} == {"none"}


def test_without_energy_the_intensity_is_still_told() -> None:
    found = emitted(NotMetered("no meter"), location=GRID)
    assert why(found.location) == "no meter"
    assert number(found.intensity_location) == 300


def test_a_country_is_named_with_year_source_and_licence() -> None:
    saved = parse_site({"id": "a", "carbon": {"country": "FR"}}).model_dump(mode="json")
    found = emitted(**saved["carbon"])
    assert found.source_location.startswith("France, 2024, Ember via Our World in Data")
    assert "CC-BY-4.0, +-20 % (k = 2)" in found.source_location
    assert 20 < number(found.intensity_location) < 100


HOUR = BEGAN_S // 3600 * 3600
TWO = hours((HOUR, HOUR + 3600, 100.0), (HOUR + 3600, HOUR + 7200, 400.0))


def test_by_the_hour_each_half_of_the_window_has_its_own() -> None:
    """Ten minutes, five on either side of the full hour."""
    found = emitted(hourly=TWO, location=GRID)
    assert number(found.intensity_location) == pytest.approx(250)
    assert "2 row(s), energy taken as even over the window" in found.source_location
    assert "sha256 abababababab" in found.source_location


def test_by_the_hour_energy_weighs() -> None:
    """Three quarters of the energy before the full hour."""

    def part_j(start_ns: int, end_ns: int) -> float:
        middle = WINDOW.start_ns + 300 * S
        before, after = max(0, min(end_ns, middle) - start_ns), max(0, end_ns - max(start_ns, middle))
        return (3 * before + after) / S

    found = emitted(part_j=part_j, hourly=TWO)
    assert number(found.intensity_location) == pytest.approx(175)
    assert "weighted by the energy of each" in found.source_location
    assert number(found.location) == pytest.approx(175)


def test_hours_that_do_not_cover_the_window_are_not_stretched() -> None:
    short = hours((HOUR, HOUR + 3600, 100.0))
    alone = emitted(hourly=short)
    assert why(alone.location) == "grid.csv leaves 300 s of the window without a figure"
    beside = emitted(hourly=short, location=GRID)
    assert number(beside.intensity_location) == 300
    assert beside.source_location.endswith("not by the hour: grid.csv leaves 300 s of the window without a figure")


def test_without_wall_time_there_are_no_hours() -> None:
    assert why(emitted(hourly=TWO, wall_s=0).location) == "the wall time of the window is not known"


def test_embodied_emissions_are_shared_by_time_and_by_what_is_reserved() -> None:
    said = {"kg": 5700.0, "lifetime_years": 4.0, "share": 0.5, "half_width_pct": 30.0, "source": "data sheet"}
    found = emitted(embodied=said)
    assert number(found.embodied) == pytest.approx(5_700_000 * 600 / (4 * 365.25 * 86_400) * 0.5)
    assert isinstance(found.embodied, Quantity)
    assert found.embodied.high / found.embodied.value == pytest.approx(1.3)
    assert "5700 kg over 4 years, 50 % of it reserved" in found.source_embodied


def test_a_site_that_makes_no_sense_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"site: carbon: location\.year"):
        emitted(location={**GRID, "year": 26})


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=24), st.integers(0, 3000))
def test_the_mean_lies_between_the_hours(levels: list[float], offset_s: int) -> None:
    rows = [(HOUR + 3600 * i, HOUR + 3600 * (i + 1), g) for i, g in enumerate([*levels, levels[-1]])]
    intensity = emitted(hourly=hours(*rows), wall_s=HOUR + offset_s).intensity_location
    assert min(levels) - 1e-9 <= number(intensity) <= max(levels) + 1e-9
