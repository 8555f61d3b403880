"""Whatever a server sends: no detector raises, counts stay within what was looked at, examples are real requests."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.quality import detect, detected
from tcabench.quality.detectors.repeated import looped_chars, shortest_period
from tcabench.records import Status, Trace
from tests.quality.made_up_answers import found, some

TIMES = st.integers(-(2**62), 2**62)
COUNTS = st.none() | st.integers(-5, 10**6)
TEXT = st.text(max_size=120) | st.text(alphabet="ab ", max_size=120) | st.just("I can't help with that") | st.just("x")
TRACES = st.lists(
    st.builds(
        Trace, index=st.integers(0, 10**6), prompt_id=st.sampled_from("abc"), max_tok=st.integers(1, 300),
        due_ns=st.none() | TIMES, sent_ns=TIMES, end_ns=TIMES, chunk_ns=st.lists(TIMES, max_size=20).map(tuple),
        status=st.sampled_from([Status.OK, Status.OK, Status.OK, *Status]), http_status=st.none(), error=st.just(""),
        finish_reason=st.none() | st.sampled_from(["stop", "length", "tool_calls", "odd"]), text=TEXT,
        prompt_tok=COUNTS, output_tok=COUNTS, recount_tok=COUNTS, server_id=st.none(),
    ),
    max_size=30, unique_by=lambda trace: trace.index,
)  # fmt: skip


@given(TRACES, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_traces_give_findings_that_add_up(traces: list[Trace], pinned: bool) -> None:
    findings = detect(traces, pinned)
    indices, done = {t.index for t in traces}, sum(t.status is Status.OK for t in traces)
    for one in findings:
        assert 0 <= one.count <= one.of
        assert one.of + one.left_out <= done
        assert len(one.examples) == min(5, one.count)
        assert set(one.examples) <= indices
        assert one.count > 0 or not one.is_suspect
    assert json.loads(json.dumps(detected(findings), allow_nan=False)) == detected(findings)


@given(TRACES, st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_traces_does_not_matter(traces: list[Trace], pinned: bool, rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(traces)
    rng.shuffle(shuffled)
    assert detect(shuffled, pinned) == detect(traces, pinned)


def period_by_trying(piece: str) -> int:
    tried = range(1, len(piece) // 2 + 1)
    return next((p for p in tried if all(piece[i] == piece[i + p] for i in range(len(piece) - p))), 0)


LOOPS = st.builds(lambda piece, n, rest: piece * n + rest, st.text("ab", max_size=5), st.integers(0, 6), st.text("ab"))


@given(st.text(alphabet="ab", max_size=24) | LOOPS)
@settings(max_examples=400, deadline=None)
def test_the_shortest_period_is_the_one_found_by_trying_all(piece: str) -> None:
    assert shortest_period(piece) == period_by_trying(piece)


@given(st.text(min_size=1, max_size=12), st.integers(8, 20), st.data())
@settings(max_examples=200, deadline=None)
def test_a_loop_of_more_than_half_is_always_found(piece: str, times: int, data: st.DataObject) -> None:
    loop = piece * times
    around = data.draw(st.text(max_size=len(loop) - 1))
    cut = data.draw(st.integers(0, len(around)))
    text = around[:cut] + loop + around[cut:]
    fits = len(piece) <= len(text) // 8
    assert not fits or looped_chars(text) >= len(loop)


@given(st.integers(0, 40), st.integers(1, 40))
def test_more_refusals_never_clear_a_suspicion(refusals: int, more: int) -> None:
    def refuse(trace: Trace) -> Trace:
        return replace(trace, text="I cannot assist with it.")

    fewer, greater = (found("refused", some(n, 100, refuse)) for n in (refusals, refusals + more))
    assert greater.is_suspect or not fewer.is_suspect
