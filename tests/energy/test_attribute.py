"""The split into prefill, decode and unloaded: by hand, and its laws."""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.energy import attribute
from tcabench.records import NotMetered, Quantity, Split, Status, Trace, Window

sys.path.insert(0, str(Path(__file__).parent))
from plant_rig import S, number, why

WINDOW = Window(0, 0, 0, 10 * S, 20 * S, 20 * S, "test")


def request(sent_s: float, first_s: float | None, end_s: float, index: int = 0) -> Trace:
    """Sent, first content and end in s of the run's clock; None: it never had any content."""
    chunks = () if first_s is None else (round(first_s * S), round(end_s * S))
    plain: dict[str, Any] = {
        "index": index, "prompt_id": "p", "max_tok": 9, "due_ns": None, "sent_ns": round(sent_s * S),
        "end_ns": round(end_s * S), "chunk_ns": chunks, "status": Status.OK, "http_status": 200, "error": "",
        "finish_reason": "stop", "text": "", "prompt_tok": 5, "output_tok": 2, "recount_tok": None, "server_id": None,
    }  # fmt: skip
    return Trace(**plain)


def at(watts: float) -> Callable[[int, int], float]:
    return lambda start_ns, end_ns: watts * (end_ns - start_ns) / S


def split(traces: list[Trace], watts: float = 100.0, rel: float = 0.1) -> Split:
    total_j = watts * 10
    total = Quantity(total_j, total_j * (1 - rel), total_j * (1 + rel), "J")
    found = attribute.split(traces, at(watts), total, WINDOW)
    assert found is not None
    return found


def parts(found: Split) -> tuple[float, float, float]:
    return number(found.prefill), number(found.decode), number(found.unloaded)


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        ([request(11, 13, 18)], (200, 500, 300)),
        ([request(5, 8, 30)], (0, 1000, 0)),  # decode all through the window
        ([request(11, None, 14)], (300, 0, 700)),  # no content: prefill to its end
        ([request(10, 12, 20), request(10, 20, 20)], (600, 400, 0)),  # 2 s both prefill, then half and half
        ([request(11, 13, 18), request(14, 15, 16)], (250, 450, 300)),
        ([request(1, 2, 3), request(25, 26, 27)], (0, 0, 1000)),  # none under way in the window
    ],
)
def test_each_instant_is_shared_evenly(traces: list[Trace], expected: tuple[float, float, float]) -> None:
    assert parts(split(traces)) == pytest.approx(expected)


def test_each_part_has_the_relative_interval_of_the_total() -> None:
    for part in (split([request(11, 13, 18)]).prefill, split([request(11, 13, 18)]).decode):
        assert isinstance(part, Quantity)
        assert part.low / part.value == pytest.approx(0.9)
        assert part.high / part.value == pytest.approx(1.1)


def test_the_rule_is_named() -> None:
    assert "shared evenly between the requests under way" in split([request(11, 13, 18)]).rule


def test_without_energy_no_part_has_any() -> None:
    found = attribute.split([request(11, 13, 18)], at(1), NotMetered("no meter"), WINDOW)
    assert found is not None
    assert why(found.prefill) == why(found.decode) == why(found.unloaded) == "no meter"


def test_without_requests_there_is_nothing_to_split() -> None:
    assert attribute.split([], at(1), Quantity.exact(10, "J"), WINDOW) is None


spans = st.tuples(st.floats(0, 30), st.floats(0, 10), st.floats(0, 10), st.booleans())
loads = st.lists(spans, min_size=1, max_size=30)


def made(drawn: list[tuple[float, float, float, bool]]) -> list[Trace]:
    return [request(a, a + b if has else None, a + b + c) for a, b, c, has in drawn]


@given(loads, st.floats(1, 1e5))
@settings(max_examples=150, deadline=None)
def test_the_parts_add_up_to_the_total(drawn: list[tuple[float, float, float, bool]], watts: float) -> None:
    found = split(made(drawn), watts)
    assert min(parts(found)) >= 0
    assert sum(parts(found)) == pytest.approx(watts * 10, rel=1e-9)


@given(loads)
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_requests_does_not_matter(drawn: list[tuple[float, float, float, bool]]) -> None:
    assert parts(split(made(drawn))) == parts(split(made(drawn)[::-1]))


@given(loads)
@settings(max_examples=100, deadline=None)
def test_twice_the_same_requests_give_the_same_shares(drawn: list[tuple[float, float, float, bool]]) -> None:
    assert parts(split(made(drawn) * 2)) == pytest.approx(parts(split(made(drawn))), rel=1e-9, abs=1e-6)


@given(loads)
@settings(max_examples=100, deadline=None)
def test_unloaded_is_the_time_without_a_request(drawn: list[tuple[float, float, float, bool]]) -> None:
    edges = sorted(
        {10 * S, 20 * S, *(t for one in made(drawn) for t in (one.sent_ns, one.end_ns) if 10 * S < t < 20 * S)}
    )
    free_ns = sum(
        b - a for a, b in pairwise(edges) if not any(one.sent_ns <= a and b <= one.end_ns for one in made(drawn))
    )
    assert number(split(made(drawn)).unloaded) == pytest.approx(100 * free_ns / S, rel=1e-9, abs=1e-6)


def test_a_hundred_thousand_requests_ask_for_few_parts() -> None:
    """The energy is asked for where a share changes, never more than three times a request."""
    asked = 0

    def counted(start_ns: int, end_ns: int) -> float:
        nonlocal asked
        asked += 1
        return (end_ns - start_ns) / S

    many = [request(10 + i * 1e-4, 10.5 + i * 1e-4, 11 + i * 1e-4, i) for i in range(100_000)]
    found = attribute.split(many, counted, Quantity.exact(10, "J"), WINDOW)
    assert found is not None
    assert sum(parts(found)) == pytest.approx(10)
    assert asked <= 300_001
