"""Laws of due times and of the list of requests."""

from itertools import islice, pairwise
from math import exp, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.errors import UsageError
from tcabench.records import Arrivals, Message, Prompt, WindowPlan, Workload
from tcabench.workload import expand
from tcabench.workload.arrivals import constant, offsets, poisson, standard_exponential

seeds = st.integers(0, 2**63)
rates = st.floats(0.01, 10_000)


def workload(prompts: int, arrivals: Arrivals) -> Workload:
    made = tuple(Prompt(f"p{i}", (Message("user", f"say {i}"),), i + 1) for i in range(prompts))
    return Workload("w", 1, "W", "CC0-1.0", "0" * 64, made, True, 0.0, arrivals, WindowPlan(0, 0, 1, 1))


CLOSED = Arrivals("closed", 8, None)


@given(rates, st.integers(2, 300))
def test_constant_arrivals_are_evenly_spaced_and_do_not_drift(rate: float, count: int) -> None:
    due = list(islice(constant(rate), count))
    assert due[0] == 0
    assert due[-1] == (count - 1) / rate
    assert all(b > a for a, b in pairwise(due))


@given(rates, seeds)
def test_poisson_arrivals_rise_and_repeat_for_a_seed(rate: float, seed: int) -> None:
    due = list(islice(poisson(rate, seed), 100))
    assert due[0] > 0
    assert all(b > a for a, b in pairwise(due))
    assert due == list(islice(poisson(rate, seed), 100))


@given(seeds)
def test_another_seed_gives_other_arrivals(seed: int) -> None:
    assert list(islice(poisson(1, seed), 5)) != list(islice(poisson(1, seed + 1), 5))


@given(seeds, rates)
def test_the_rate_only_stretches_time(seed: int, rate: float) -> None:
    one, other = islice(poisson(1, seed), 50), islice(poisson(rate, seed), 50)
    assert [t * rate for t in other] == pytest.approx(list(one), rel=1e-12)


def test_the_mean_rate_is_the_one_asked_for() -> None:
    """The mean of n gaps lies within 5 standard deviations, 1/sqrt(n); the seed is fixed."""
    n = 20_000
    last = next(islice(poisson(3.0, 7), n - 1, None))
    assert last * 3 / n == pytest.approx(1, abs=5 / sqrt(n))


def test_the_gaps_are_exponential() -> None:
    """Kolmogorov-Smirnov: the largest distance to 1 - exp(-x) stays below the 0.1 % critical value 1.95/sqrt(n)."""
    rng, n = Random(3), 20_000
    drawn = sorted(standard_exponential(rng) for _ in range(n))
    distance = max(abs((i + 0.5) / n - (1 - exp(-x))) for i, x in enumerate(drawn))
    assert distance < 1.95 / sqrt(n)


def test_known_values_hold_on_every_machine() -> None:
    assert list(islice(poisson(1.0, 1), 3)) == [0.13436424411240122, 1.5838553089011391, 2.3725786600366523]
    assert [r.prompt_id for r in islice(expand(workload(5, CLOSED), 1), 7)] == [
        "p0",
        "p1",
        "p3",
        "p4",
        "p2",
        "p4",
        "p1",
    ]
    assert [r.seed for r in islice(expand(workload(5, CLOSED), 1), 2)] == [1217086331, 1830655377]


@given(st.integers(1, 30), seeds)
def test_each_pass_sends_every_prompt_once(prompts: int, seed: int) -> None:
    requests = list(islice(expand(workload(prompts, CLOSED), seed), 3 * prompts))
    for at in range(0, 3 * prompts, prompts):
        assert {r.prompt_id for r in requests[at : at + prompts]} == {f"p{i}" for i in range(prompts)}
    assert [r.index for r in requests] == list(range(3 * prompts))
    assert all(r.due_s is None for r in requests)


@given(seeds)
def test_the_same_seed_gives_the_same_requests_and_another_does_not(seed: int) -> None:
    plan = workload(12, Arrivals("poisson", None, 4.0))
    first = list(islice(expand(plan, seed), 40))
    assert first == list(islice(expand(plan, seed), 40))
    assert [r.prompt_id for r in first] != [r.prompt_id for r in islice(expand(plan, seed + 1), 40)]


@given(seeds)
def test_passes_differ_in_order_and_requests_in_seed(seed: int) -> None:
    requests = list(islice(expand(workload(20, CLOSED), seed), 60))
    order = [r.prompt_id for r in requests]
    assert not order[:20] == order[20:40] == order[40:]
    assert len({r.seed for r in requests}) == 60
    assert all(0 <= r.seed < 2**31 for r in requests)


def test_requests_carry_what_the_workload_says() -> None:
    plan = workload(3, CLOSED)
    by_id = {p.id: p for p in plan.prompts}
    for request in islice(expand(plan, 5), 6):
        prompt = by_id[request.prompt_id]
        assert (request.messages, request.max_tok) == (prompt.messages, prompt.max_tok)
        assert (request.pin_output, request.temperature) == (True, 0.0)


def test_arrivals_of_the_run_stand_in_for_those_of_the_workload() -> None:
    due = [r.due_s for r in islice(expand(workload(3, CLOSED), 1, Arrivals("constant", None, 2.0)), 3)]
    assert due == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("arrivals", "told"),
    [
        (Arrivals("closed", None, None), "needs a concurrency"),
        (Arrivals("closed", 0, None), "at least 1"),
        (Arrivals("constant", None, None), "constant needs a rate above 0"),
        (Arrivals("poisson", None, 0.0), "poisson needs a rate above 0"),
        (Arrivals("poisson", None, float("inf")), "poisson needs a rate"),
        (Arrivals("poisson", None, float("nan")), "poisson needs a rate"),
        (Arrivals("bursty", 1, 1.0), "unknown kind 'bursty'"),
    ],
)
def test_arrivals_without_sense_are_refused_before_the_first_request(arrivals: Arrivals, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        offsets(arrivals, 1)
    with pytest.raises(UsageError, match=told):
        expand(workload(2, CLOSED), 1, arrivals)
