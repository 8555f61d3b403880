"""Which part of a run counts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.errors import NotMeasured
from tcabench.records import Status, Trace, WindowPlan
from tcabench.timeline import steady_window, tokens_between
from tcabench.timeline.window import OPTIONAL_PHASES, ORDER, PHASES

S = 1_000_000_000
PLAN = WindowPlan(idle_s=5, warmup_s=10, measure_s=60, drain_s=30)
MARKS = {"idle_start": 0, "idle_end": 5 * S, "load_start": 6 * S, "load_stop": 76 * S, "drain_end": 80 * S}


AFTER = {"idle_after_start": 81 * S, "idle_after_end": 86 * S}


def answered(*chunk_s: float, tokens: int | None = None) -> Trace:
    chunks = tuple(round(s * S) for s in chunk_s)
    n = len(chunks) if tokens is None else tokens
    return Trace(
        0, "p", 9, None, 0, chunks[-1] if chunks else 0, chunks, Status.OK, 200, "", "length", "", 1, n, None, None
    )


def test_the_window_runs_from_warm_up_to_the_last_sending() -> None:
    window = steady_window([answered(20)], MARKS, PLAN)
    assert (window.start_ns, window.end_ns) == (16 * S, 76 * S)
    assert (window.idle_start_ns, window.idle_end_ns, window.drain_end_ns) == (0, 5 * S, 80 * S)
    assert window.why_end == "planned duration reached"


def test_the_idle_time_after_the_load_is_in_the_window() -> None:
    window = steady_window([answered(20)], MARKS | AFTER, PLAN)
    assert (window.idle_after_start_ns, window.idle_after_end_ns) == (81 * S, 86 * S)


@pytest.mark.parametrize("marks", [{}, {"idle_after_start": 81 * S}])
def test_a_run_that_broke_off_before_it_idled_again_has_a_window_all_the_same(marks: dict[str, int]) -> None:
    window = steady_window([answered(20)], MARKS | marks, PLAN)
    assert window.end_ns == 76 * S
    assert window.idle_after_start_ns == window.idle_after_end_ns


def test_a_marker_does_not_move_the_window() -> None:
    marks = {"marker_start": 5 * S, "marker_end": 6 * S}
    assert steady_window([answered(20)], MARKS | marks, PLAN) == steady_window([answered(20)], MARKS, PLAN)


def test_every_phase_has_its_place() -> None:
    assert [name for name in ORDER if name not in OPTIONAL_PHASES] == list(PHASES)
    assert ORDER.index("idle_end") < ORDER.index("marker_start") < ORDER.index("load_start")
    assert PHASES[-2:] == ("idle_after_start", "idle_after_end")


def test_a_load_that_ran_out_of_requests_says_so() -> None:
    window = steady_window([answered(20)], MARKS | {"load_stop": 40 * S}, PLAN)
    assert window.end_ns == 40 * S
    assert "no more requests" in window.why_end


@pytest.mark.parametrize(
    ("marks", "traces", "says"),
    [
        ({k: v for k, v in MARKS.items() if k != "load_stop"}, [answered(20)], "did not reach load_stop"),
        (MARKS | {"load_stop": 12 * S}, [answered(8)], "no longer than the warm-up of 10 s"),
        (MARKS, [], "no request gave a single token"),
        (MARKS, [answered()], "no request gave a single token"),
    ],
)
def test_without_a_window_there_is_a_reason(marks: dict[str, int], traces: list[Trace], says: str) -> None:
    with pytest.raises(NotMeasured, match=says):
        steady_window(traces, marks, PLAN)


@given(
    st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=20), max_size=10),
    st.lists(st.integers(0, 1001), min_size=2, max_size=6).map(sorted),
)
def test_tokens_add_up_over_adjoining_spans(chunks: list[list[int]], edges: list[int]) -> None:
    traces = [
        Trace(i, "p", 9, None, 0, 0, tuple(sorted(c)), Status.OK, 200, "", None, "", 1, 2 * len(c), None, None)
        for i, c in enumerate(chunks)
    ]
    parts = sum(tokens_between(traces, a, b) for a, b in pairwise(edges))
    assert parts == pytest.approx(tokens_between(traces, edges[0], edges[-1]))
