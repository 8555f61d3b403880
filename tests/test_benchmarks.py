"""The benchmarks still run and write what they promise. Never how fast: that is for the benchmarks themselves."""

import json
import subprocess
import sys
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import Figures, at_least, at_most, told
from benchmarks.meters_cost import _late_ms
from benchmarks.meters_loads import PARTS, Chain, Played
from benchmarks.meters_peer import HIGH_W, LOW_W, PERIOD_S, drawn_j
from tests.energy.simulated_meters import S

ROOT = Path(__file__).resolve().parents[1]
ROW = {"median", "min", "max", "goal", "unit"}
CHAIN = Chain(chip_s=1.0, part_s=10.0, seed=3, low_w=50.0, high_w=250.0)


def check_shape(document: dict[str, Any], rounds: int) -> None:
    """Design, section 6."""
    assert set(document) == {"machine", "versions", "rounds", "ratios"}
    assert document["rounds"] == rounds
    assert document["machine"]["cores"] >= 1
    assert {"tcabench", "commit"} <= set(document["versions"])
    for name, row in document["ratios"].items():
        assert set(row) == ROW, name
        assert row["min"] <= row["median"] <= row["max"], name
        assert row["goal"] is None or isinstance(row["goal"], float), name
        assert row["unit"].endswith((", at least", ", at most")) == (row["goal"] is not None), name


def test_the_parts_that_need_no_network_run_and_write_their_figures(tmp_path: Path) -> None:
    out = tmp_path / "meters.json"
    asked = ["--share", "0.01", "--rounds", "1", "--only", "coverage,marker,lateness", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "meters.py"), *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    check_shape(document, 1)
    for wanted in ("coverage: NVML counter", "width: RAPL, wraps", "marker, 5 s meter: delay found",
                   "late by, own process: 99 % quantile"):  # fmt: skip
        assert wanted in document["ratios"]
        assert wanted in done.stdout


def test_a_part_that_does_not_exist_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "meters.py"), "--only", "truht"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no part truht" in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.name)
def test_every_result_that_is_kept_has_the_shape(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["rounds"] >= 3
    check_shape(document, document["rounds"])


def test_figures_are_medians_of_their_rounds() -> None:
    figures = Figures()
    for value in (3.0, 1.0, 2.123456789):
        figures.take([at_most("a", value, 2.0, "ms"), at_least("b", value, 2.0, "share"), told("c", value, "W")])
    document = figures.document({}, 3)["ratios"]
    assert document["a"] == {"median": 2.1235, "min": 1.0, "max": 3.0, "goal": 2.0, "unit": "ms, at most"}
    assert document["b"]["unit"] == "share, at least"
    assert (document["c"]["goal"], document["c"]["unit"]) == (None, "W")


def test_the_picture_of_sparsity_is_drawn_from_what_was_measured(tmp_path: Path) -> None:
    from benchmarks.sparsity_picture import draw

    draw(tmp_path / "once.svg")
    draw(tmp_path / "again.svg")
    drawn = (tmp_path / "once.svg").read_text()
    assert drawn == (tmp_path / "again.svg").read_text()
    for title in ("the union grows with the batch", "When leaving neurons out pays", "Gate thresholds"):
        assert title in drawn


def test_the_smallest_equivalent_budget_has_only_equivalent_ones_above_it() -> None:
    from benchmarks.sparsity_budget import EQUIVALENT, LONGEST, smallest

    held = {256: 0.0, 512: 1.0, 1024: 0.0, 2048: 1.0, 4096: 1.0}
    rows = [told(f"budget {tok} of {LONGEST}: {EQUIVALENT}", value, "") for tok, value in held.items()]
    rows.append(told(f"budget 512 of 2048: {EQUIVALENT}", 1.0, ""))
    assert smallest(rows) == 2048
    assert smallest(rows[:1]) is None


def test_a_played_chain_draws_what_its_power_adds_up_to() -> None:
    load, played = CHAIN.load(), Played(CHAIN)
    played.start_s, played.epoch_s = 100.0, 105.0
    end_s, step_s = 5 + CHAIN.first_s(len(PARTS)) + 2, 0.0005
    watts = [played((i + 0.5) * step_s) for i in range(round(end_s / step_s))]
    assert sum(watts) * step_s == pytest.approx(played.joules(end_s), rel=1e-4)
    between_j = CHAIN.between_j(load, CHAIN.first_s(1), CHAIN.first_s(2))
    first, last = (round((5 + CHAIN.first_s(place)) / step_s) for place in (1, 2))
    assert sum(watts[first:last]) * step_s == pytest.approx(between_j, rel=1e-3)
    assert played(1.0) == CHAIN.low_w == min(watts)
    assert max(watts) <= CHAIN.high_w


def test_before_its_beginning_is_told_a_chain_draws_its_low_power() -> None:
    played = Played(CHAIN)
    assert played.epoch_s == inf
    assert played(7.0) == CHAIN.low_w
    assert played.joules(7.0) == 7 * CHAIN.low_w


def test_the_levels_of_a_chain_have_its_energy() -> None:
    load = CHAIN.load()
    levels = CHAIN.levels(load, 1000.0)
    joules = sum(watts * (b - a) / S for (a, watts), (b, _) in pairwise(levels))
    assert levels[0][0] == 1000 * S
    assert joules == pytest.approx(CHAIN.between_j(load, 0.0, CHAIN.first_s(len(PARTS))), rel=1e-6)


def test_the_truth_of_the_square_wave_is_low_then_high() -> None:
    assert drawn_j(PERIOD_S / 2) == pytest.approx(LOW_W * PERIOD_S / 2)
    assert drawn_j(PERIOD_S) == pytest.approx((LOW_W + HIGH_W) * PERIOD_S / 2)
    assert drawn_j(10.75 * PERIOD_S) - drawn_j(10.5 * PERIOD_S) == pytest.approx(HIGH_W * PERIOD_S / 4)


def test_a_tick_without_a_reading_waited_for_the_next_one() -> None:
    tick = 50_000_000
    began = [7 + k * tick for k in range(20)]
    began[12] += 3_000_000
    del began[15]
    assert _late_ms(began, began[9] + 1, began[-1] - 1) == [0, 0, 3, 0, 0, 50, 0, 0, 0]
