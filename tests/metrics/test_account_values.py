"""The metrics that read the energy account: dynamic energy, prefill and decode, the plant, carbon."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcabench.metrics import DEFAULT_METRICS, compute
from tcabench.records import Carbon, Energy, Facility, Heat, NotMetered, Quantity, Split, Value

sys.path.insert(0, str(Path(__file__).parent))
from made_up import WINDOW, energy, trace

NEW = (
    "energy_total", "energy_dynamic", "j_per_output_token_dynamic", "power_idle_before", "power_idle_after",
    "j_per_prompt_token_prefill", "j_per_output_token_decode", "heat_removed", "ppue_interim", "ere", "cue", "wue",
    "cer", "co2e_location_g_per_1k_output_tokens", "co2e_market_g_per_1k_output_tokens", "sci_g_per_1k_output_tokens",
)  # fmt: skip
EVEN = [trace(i, 20 + i * 0.5, 0.1, 0.02, 10) for i in range(119)]  # 1190 tokens, 595 prompt tokens, all inside


def q(value: float, rel: float, unit: str) -> Quantity:
    return Quantity(value, value * (1 - rel), value * (1 + rel), unit)


def whole(blocks: int = 0) -> Energy:
    """2,380 J over the window, of which 1,190 above idle, with a plant and carbon."""
    heat = Heat("rack", q(1800, 0.02, "J"), q(10, 0.02, "L/min"), q(5, 0.02, "K"), "water", -0.2)
    plant = Facility(
        it=q(2380, 0, "J"), it_all=q(9000, 0, "J"), share=q(0.26, 0, "1"), cooling=q(238, 0, "J"), loss=q(24, 0, "J"),
        ppue=q(1.11, 0.01, "1"), erf=q(0.1, 0, "1"), ere=q(1.0, 0, "1"), wue=q(1.2, 0, "L/kWh"), cer=q(8.0, 0, "1"),
        heat=(heat,), rule="by energy", tier="M2",
    )  # fmt: skip
    carbon = Carbon(
        "chip",
        q(0.2, 0.1, "g"),
        q(0.01, 0, "g"),
        q(0.05, 0.3, "g"),
        q(300, 0.1, "g/kWh"),
        q(15, 0, "g/kWh"),
        "",
        "",
        "",
    )
    return replace(
        energy(2380.0, 0.0, blocks) if blocks else replace(energy(2380.0), block_j=()),
        dynamic=q(1190, 0.04, "J"), idle_before=q(19, 0, "W"), idle_after=q(21, 0, "W"),
        split=Split(q(595, 0.02, "J"), q(1190, 0.02, "J"), q(595, 0.02, "J"), "a rule"), facility=plant, carbon=carbon,
    )  # fmt: skip


def number(value: Value) -> float:
    assert isinstance(value, Quantity), value
    assert value.low <= value.value <= value.high
    return value.value


def why(value: Value) -> str:
    assert isinstance(value, NotMetered), value
    return value.why


VALUES = compute(NEW, EVEN, whole(), WINDOW)


@pytest.mark.parametrize(
    ("name", "expected", "unit"),
    [
        ("energy_total", 2380 / 3.6e6, "kWh"),
        ("energy_dynamic", 1190 / 3.6e6, "kWh"),
        ("j_per_output_token_dynamic", 1.0, "J/token"),
        ("power_idle_before", 19, "W"),
        ("power_idle_after", 21, "W"),
        ("j_per_prompt_token_prefill", 1.0, "J/token"),
        ("j_per_output_token_decode", 1.0, "J/token"),
        ("heat_removed.rack", 1800 / 3.6e6, "kWh"),
        ("ppue_interim", 1.11, "1"),
        ("ere", 1.0, "1"),
        ("cue", 0.333, "kg/kWh"),
        ("wue", 1.2, "L/kWh"),
        ("cer", 8.0, "1"),
        ("co2e_location_g_per_1k_output_tokens", 0.2 / 1.19, "g/ktoken"),
        ("co2e_market_g_per_1k_output_tokens", 0.01 / 1.19, "g/ktoken"),
        ("sci_g_per_1k_output_tokens", 0.25 / 1.19, "g/ktoken"),
    ],
)
def test_each_figure_by_hand(name: str, expected: float, unit: str) -> None:
    value = VALUES[name]
    assert number(value) == pytest.approx(expected)
    assert isinstance(value, Quantity)
    assert value.unit == unit


def test_intervals_join_their_parts() -> None:
    cue, sci = VALUES["cue"], VALUES["sci_g_per_1k_output_tokens"]
    assert isinstance(cue, Quantity)
    assert isinstance(sci, Quantity)
    assert cue.high / cue.value - 1 == pytest.approx((0.1**2 + 0.01**2) ** 0.5)
    assert (sci.high - sci.value) * 1.19 == pytest.approx(((0.2 * 0.1) ** 2 + (0.05 * 0.3) ** 2) ** 0.5)


def test_a_prompt_that_straddles_the_edge_counts_by_the_share_of_its_prefill() -> None:
    straddles = [trace(0, 19, 4.0, 0.1, 10)]  # prefill from 19 to 23 s, three quarters of it in the window
    value = compute(["j_per_prompt_token_prefill"], straddles, whole(), WINDOW)["j_per_prompt_token_prefill"]
    assert number(value) == pytest.approx(595 / (5 * 0.75))


def test_without_prompt_counts_there_is_no_figure_per_prompt_token() -> None:
    uncounted = [trace(0, 30, 0.1, 0.1, 5, prompt_tok=None)]
    values = compute(NEW, uncounted, whole(), WINDOW)
    assert "prompt tokens" in why(values["j_per_prompt_token_prefill"])
    assert number(values["j_per_output_token_decode"]) == pytest.approx(1190 / 5)


def test_the_part_above_idle_wanders_relatively_more() -> None:
    uneven = replace(whole(12), block_j=(100.0, 2380 / 6 - 100.0) * 6)
    values = compute(["j_per_output_token", "j_per_output_token_dynamic"], EVEN, uneven, WINDOW)
    total, dynamic = values["j_per_output_token"], values["j_per_output_token_dynamic"]
    assert isinstance(total, Quantity)
    assert isinstance(dynamic, Quantity)
    spread = total.high / total.value - 1
    assert dynamic.high / dynamic.value - 1 == pytest.approx(((2 * spread) ** 2 + 0.04**2) ** 0.5, rel=1e-6)


def test_a_run_without_a_site_says_so_shortly() -> None:
    plain = energy(2380.0)
    values = compute(NEW, EVEN, plain, WINDOW)
    assert number(values["energy_total"]) > 0
    for name in ("heat_removed", "ppue_interim", "ere", "wue", "cer"):
        assert why(values[name]) == "no site told of a plant (--site)"
    for name in ("cue", *NEW[-3:]):
        assert why(values[name]) == "no site told of carbon (--site)"
    assert why(values["energy_dynamic"]) == "the run had no idle phase"
    assert all(len(value.why) < 60 for value in values.values() if isinstance(value, NotMetered))


def test_sci_needs_embodied_emissions_and_never_takes_the_market_based_figure() -> None:
    account = whole()
    assert account.carbon is not None
    bare = replace(account, carbon=replace(account.carbon, embodied=NotMetered("no embodied emissions given")))
    values = compute(NEW[-3:], EVEN, bare, WINDOW)
    assert why(values["sci_g_per_1k_output_tokens"]) == "no embodied emissions given"
    assert number(values["co2e_location_g_per_1k_output_tokens"]) > 0
    other = replace(account, carbon=replace(account.carbon, market=q(1e6, 0, "g")))
    assert compute(["sci_g_per_1k_output_tokens"], EVEN, other, WINDOW) == {
        "sci_g_per_1k_output_tokens": VALUES["sci_g_per_1k_output_tokens"]
    }


def test_unmetered_energy_is_told_everywhere() -> None:
    values = compute(NEW, EVEN, NotMetered("no meter sees it"), WINDOW)
    assert {why(value) for value in values.values()} == {"no meter sees it"}


def test_all_of_them_are_computed_by_default() -> None:
    assert set(NEW) <= set(DEFAULT_METRICS)
