"""Each metric against figures worked out by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.metrics import DEFAULT_METRICS, compute, stat_rel
from tcabench.metrics.interval import widen
from tcabench.records import NotMetered, Quantity, Status, Value

sys.path.insert(0, str(Path(__file__).parent))
from made_up import WINDOW, S, energy, trace


def number(value: Value) -> float:
    assert isinstance(value, Quantity), value
    assert value.low <= value.value <= value.high
    return value.value


def why(value: Value) -> str:
    assert isinstance(value, NotMetered), value
    return value.why


EVEN = [trace(i, 20 + i * 0.5, 0.1, 0.02, 10) for i in range(119)]  # 119 requests, each wholly inside the window


def test_energy_figures() -> None:
    values = compute(DEFAULT_METRICS, EVEN, energy(2380.0), WINDOW)
    assert number(values["j_per_output_token"]) == pytest.approx(2380 / 1190)
    assert number(values["output_tokens_per_kwh"]) == pytest.approx(3.6e6 / 2)
    assert number(values["j_per_request"]) == pytest.approx(20)
    assert number(values["power_mean"]) == pytest.approx(2380 / 60)
    assert why(values["power_idle"]) == "no idle phase"
    assert number(values["output_tokens"]) == 1190
    assert number(values["window_s"]) == 60


def test_latency_figures() -> None:
    values = compute(DEFAULT_METRICS, EVEN, energy(1.0), WINDOW)
    assert number(values["ttft.p50"]) == pytest.approx(0.1)
    assert number(values["itl.p99"]) == pytest.approx(0.02)
    assert number(values["tpot.p90"]) == pytest.approx(0.02)
    assert number(values["e2e.p50"]) == pytest.approx(0.1 + 9 * 0.02)
    assert number(values["output_tokens_per_s"]) == pytest.approx(1190 / 60)
    assert number(values["requests_per_s"]) == pytest.approx(119 / 60)
    assert number(values["error_rate"]) == 0


def test_tokens_count_where_their_own_time_puts_them() -> None:
    straddles = [trace(0, 15, 0.5, 1.0, 10)]  # tokens at 15.5, 16.5 ... 24.5: five of them from 20 s on
    assert number(compute(["output_tokens"], straddles, energy(1), WINDOW)["output_tokens"]) == 5


def test_a_request_that_straddles_the_edge_counts_by_its_share() -> None:
    values = compute(["j_per_request"], [trace(0, 15, 0.5, 1.0, 10)], energy(30), WINDOW)
    assert number(values["j_per_request"]) == pytest.approx(60)


def test_open_loop_counts_from_the_due_instant() -> None:
    late = [trace(i, 30 + i * 0.1, 0.2, 0.01, 3, due_ns=round((29 + i * 0.1) * S)) for i in range(40)]
    assert number(compute(["ttft"], late, energy(1), WINDOW)["ttft.p50"]) == pytest.approx(1.2)


def test_failed_requests_count_as_errors_and_give_no_tokens() -> None:
    failed = [trace(i, 40, 0.1, 0.1, 3, status=Status.STREAM_CUT, output_tok=None) for i in range(2)]
    values = compute(DEFAULT_METRICS, [*EVEN[:6], *failed], energy(60), WINDOW)
    assert number(values["error_rate"]) == pytest.approx(2 / 8)
    assert number(values["output_tokens"]) == 60
    assert isinstance(values["error_rate"], Quantity)
    assert 0 < values["error_rate"].low < 0.25 < values["error_rate"].high < 1


def test_without_usage_and_tokenizer_there_is_no_figure_per_token() -> None:
    values = compute(DEFAULT_METRICS, [trace(0, 30, 0.1, 0.1, 5, output_tok=None, recount_tok=None)], energy(1), WINDOW)
    for name in ("j_per_output_token", "output_tokens_per_kwh", "output_tokens", "output_tokens_per_s"):
        assert "without `usage`" in why(values[name])


def test_the_recount_stands_in_for_a_missing_usage() -> None:
    values = compute(["output_tokens"], [trace(0, 30, 0.1, 0.1, 5, output_tok=None, recount_tok=7)], energy(1), WINDOW)
    assert number(values["output_tokens"]) == 7


def test_a_server_that_counts_more_than_it_sends_shows() -> None:
    padded = [trace(i, 30, 0.1, 0.1, 5, output_tok=10, recount_tok=5) for i in range(4)]
    assert number(compute(["token_count_difference"], padded, energy(1), WINDOW)["token_count_difference"]) == 1.0


def test_unmetered_energy_is_told_not_guessed() -> None:
    values = compute(DEFAULT_METRICS, EVEN, NotMetered("no meter sees it"), WINDOW)
    for name in ("j_per_output_token", "output_tokens_per_kwh", "j_per_request", "power_mean", "power_peak"):
        assert why(values[name]) == "no meter sees it"


@pytest.mark.parametrize(
    ("n", "p90_open", "p99_open"), [(10, True, True), (40, False, True), (380, False, True), (381, False, False)]
)
def test_a_quantile_that_the_sample_cannot_bound_is_open_above(n: int, p90_open: bool, p99_open: bool) -> None:
    spread = [trace(i, 21 + i * 0.1, 0.1 + i * 0.001, 0.01, 2) for i in range(n)]
    values = compute(["ttft"], spread, energy(1), WINDOW)
    p90, p99 = values["ttft.p90"], values["ttft.p99"]
    assert isinstance(p90, Quantity)
    assert isinstance(p99, Quantity)
    assert (p90.open_above, p99.open_above) == (p90_open, p99_open)
    assert p99.high == pytest.approx(0.1 + (n - 1) * 0.001) if p99_open else p99.high <= 0.1 + n * 0.001


def test_an_interval_of_a_factor_three_goes_over_to_the_reciprocal() -> None:
    lopsided = energy(1190.0)
    lopsided = replace(lopsided, total=Quantity(1190, 1190 / 3, 3 * 1190, "J"), block_j=())
    value = compute(["output_tokens_per_kwh"], EVEN, lopsided, WINDOW)["output_tokens_per_kwh"]
    assert isinstance(value, Quantity)
    assert (value.low, value.value, value.high) == pytest.approx((1.2e6, 3.6e6, 10.8e6))


def test_uneven_blocks_widen_the_interval() -> None:
    even = energy(1190.0)
    uneven = replace(even, block_j=(50.0, 150.0) * 6)
    assert (stat_rel(EVEN, even, WINDOW) or 0) < 0.02
    assert (stat_rel(EVEN, uneven, WINDOW) or 0) > 0.2


@given(st.integers(1, 400), st.floats(0.5, 1000), st.floats(0, 0.5))
def test_more_energy_never_looks_more_frugal(tokens: int, joules: float, rel: float) -> None:
    traces = [trace(0, 21, 0.1, 0.1, tokens)]
    name = "output_tokens_per_kwh"
    less, more = (compute([name], traces, energy(j, rel, 0), WINDOW)[name] for j in (joules, joules * 2))
    assert number(less) > number(more)
    assert isinstance(less, Quantity)
    assert isinstance(more, Quantity)
    assert less.low > more.low


def test_requests_given_up_on_count_as_slower_than_all() -> None:
    answered = [trace(i, 21 + i * 0.03, 0.05, 0.01, 2) for i in range(1000)]
    timed_out = [trace(1000 + i, 30, 0.1, 0.1, 0, status=Status.TIMEOUT, output_tok=None) for i in range(20)]
    values = compute(["ttft", "e2e"], [*answered, *timed_out], energy(1), WINDOW)
    assert number(values["e2e.p50"]) == pytest.approx(0.06)
    assert "among the 20 requests that were given up on" in why(values["e2e.p99"])
    p99 = compute(["ttft"], [*answered, *timed_out[:5]], energy(1), WINDOW)["ttft.p99"]
    assert isinstance(p99, Quantity)
    assert p99.open_above


def test_a_server_that_counts_more_than_was_asked_for_gets_no_figure() -> None:
    values = compute(DEFAULT_METRICS, [trace(0, 30, 0.1, 0.1, 5, output_tok=5000)], energy(1), WINDOW)
    for name in ("j_per_output_token", "output_tokens_per_kwh", "output_tokens_per_s"):
        assert "more tokens than were asked for" in why(values[name])


def test_the_spread_of_energy_per_request_is_that_of_requests() -> None:
    """Energy follows the tokens exactly, and requests are long in one block and short in the next."""
    lengths = (100, 10)
    traces = [trace(i, 20.1 + i * 5, 0.01, 0.001, lengths[i % 2]) for i in range(12)]
    whole = energy(660.0)
    follows = replace(whole, block_j=(100.0, 10.0) * 6)
    values = compute(["j_per_output_token", "j_per_request"], traces, follows, WINDOW)
    token, request = values["j_per_output_token"], values["j_per_request"]
    assert isinstance(token, Quantity)
    assert isinstance(request, Quantity)
    assert token.high / token.value < 1.001
    assert request.high / request.value > 1.4


def test_widening_a_value_below_or_across_zero_keeps_its_sides_apart() -> None:
    """Energy above idle may be negative within its interval: more doubt moves both ends outwards."""
    wide = widen(Quantity(-2.0, -5.0, 1.0, "J"), 1.0)
    assert wide.low == pytest.approx(-2 - (9 + 4) ** 0.5)
    assert wide.high == pytest.approx(-2 + (9 + 4) ** 0.5)
    assert widen(Quantity(1.0, 0.5, 2.0, "J"), 3.0).low == 0.0
