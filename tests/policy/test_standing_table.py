"""Where a result stands among public ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.policy import standing
from tcabench.policy.standing import published
from tcabench.units import J_PER_KWH


def test_every_public_row_is_consistent_and_sourced() -> None:
    assert len(published()) >= 20
    assert len({row.what for row in published()}) == len(published())
    for row in published():
        # published figures carry 2 or 3 digits, so the two columns agree to within 3 per cent
        assert row.token_per_kwh * row.j_per_token == pytest.approx(J_PER_KWH, rel=0.03), row.what
        assert row.source
        assert row.date[:3] == "202"
    assert {row.boundary for row in published()} == {"wall", "gpu"}


def test_no_public_row_fails_the_letter() -> None:
    assert min(row.token_per_kwh for row in published()) > 15_000


def test_the_letter_itself_stands_below_everything() -> None:
    found = standing(15_000)
    assert (found.j_per_token, found.times_letter) == (240, 1)
    assert found.better == len(found.rows)
    assert "No public result listed is below it" in found.sentence
    assert "is not wall" in found.caveat


def test_a_row_meets_itself() -> None:
    found = standing(8_000_000)
    at = next(row for row in found.rows if row.published.what.startswith("Llama-3.1-8B, chat, H100, batch size 8"))
    assert at.times == 1
    assert found.rows.index(at) == found.better


def test_the_sentence_names_boundary_source_and_date() -> None:
    sentence = standing(14_000_000).sentence
    assert "14,000,000 token/kWh is 0.2571 J/token, 933.3 times the letter's 15,000 token/kWh (240 J/token)" in sentence
    assert "boundary wall, MLPerf Inference v4.1 power logs, 2024-08-28" in sentence


@given(st.floats(1e-3, 1e12))
def test_rows_fall_and_the_better_ones_come_first(value: float) -> None:
    found = standing(value)
    rates = [row.published.token_per_kwh for row in found.rows]
    assert rates == sorted(rates, reverse=True)
    assert all(row.times < 1 for row in found.rows[: found.better])
    assert all(row.times >= 1 for row in found.rows[found.better :])
    assert found.j_per_token * value == pytest.approx(J_PER_KWH)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_what_is_no_result_is_not_placed(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be placed"):
        standing(value)
