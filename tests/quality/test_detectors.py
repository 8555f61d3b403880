"""Each detector at a clear hit, a clear miss and on either side of its threshold."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tcabench.quality import DETECTORS, detect, detected
from tcabench.quality.detectors import burst, cached, inflated, refused, repeated
from tcabench.records import NotMetered, Quantity, Status, Trace
from tests.quality.made_up_answers import MS, answer, found, some, words

Change = Callable[[Trace], Trace]
LOOP = "round and round it goes, "


def changed(**changes: object) -> Change:
    return lambda trace: replace(trace, **changes)  # type: ignore[arg-type]


def test_ordinary_answers_raise_no_suspicion_and_are_all_looked_at() -> None:
    for pinned in (True, False):
        findings = detect([answer(i) for i in range(40)], pinned)
        assert len(findings) >= len(DETECTORS.builtin)
        assert [f for f in findings if f.count or f.is_suspect] == []
        assert {f.of for f in findings if f.name not in ("cached", "prompt_kept")} == {40}


@pytest.mark.parametrize(
    ("name", "pinned", "change", "count"),
    [
        ("shortened", True, changed(output_tok=22), 3),
        ("shortened", True, changed(output_tok=23), 0),  # one token of slack: the end mark
        ("shortened", True, changed(output_tok=5, finish_reason="stop"), 3),
        ("shortened", False, changed(output_tok=5, finish_reason="stop"), 0),  # free to stop
        ("shortened", False, changed(output_tok=5), 3),  # said "length", and was not
        ("empty", False, changed(text=" \n", output_tok=4), 3),
        ("empty", False, changed(text="Yes", output_tok=1), 3),
        ("empty", False, changed(text="Yes.", output_tok=2), 0),
        ("empty", False, changed(text="Yes", output_tok=None, recount_tok=1), 3),
        ("empty", True, changed(text="Yes", output_tok=1), 0),  # of pinned ones, "shortened" says so
        ("empty", True, changed(text=""), 3),
        ("repeated", True, changed(text=LOOP * 20), 3),
        ("repeated", True, changed(text="0123456789" * 8), 3),  # 80 characters: the shortest that is judged
        ("repeated", True, changed(text="0123456789" * 7 + "012345678"), 0),
        ("burst", True, changed(chunk_ns=(5 * MS,) * 24), 3),
        ("burst", True, changed(chunk_ns=(5 * MS,)), 3),  # all of it in one chunk
        ("burst", True, changed(chunk_ns=(0, 24 * burst.MIN_NS_PER_TOK - 1)), 3),
        ("burst", True, changed(chunk_ns=(0, 24 * burst.MIN_NS_PER_TOK)), 0),
        ("burst", True, changed(chunk_ns=(5 * MS,) * 15, output_tok=15), 0),
        ("burst", True, changed(chunk_ns=(5 * MS,) * 16, output_tok=None, recount_tok=None), 3),
        ("refused", True, changed(text="I\u2019m sorry, but I can\u2019t help with that."), 3),
        ("refused", True, changed(text="  **I CANNOT ASSIST** with this request."), 3),
        ("refused", True, changed(text="You can't help with that, so I do: here is how."), 0),
        ("refused", True, changed(text="Sorry to hear that! Try this: I cannot assist him, but you can."), 0),
        ("inflated", True, changed(output_tok=27, recount_tok=24), 3),
        ("inflated", True, changed(output_tok=26, recount_tok=24), 0),  # two tokens of slack
        ("inflated", True, changed(output_tok=1051, recount_tok=1000), 3),
        ("inflated", True, changed(output_tok=1050, recount_tok=1000), 0),
        ("inflated", True, changed(output_tok=20, recount_tok=24), 0),
        ("inflated", True, changed(output_tok=9, recount_tok=0), 3),
    ],
)
def test_what_counts_as_a_hit(name: str, pinned: bool, change: Change, count: int) -> None:
    finding = found(name, some(3, 40, change), pinned)
    assert finding.count == count
    assert finding.examples == tuple(range(count))


@pytest.mark.parametrize(
    ("name", "pinned", "change", "most"),
    [
        ("shortened", True, changed(output_tok=3), 1),  # 1 of 100
        ("empty", False, changed(text="", output_tok=0), 9),  # 9 of 100: 4.8 % at the low end; 10: 5.5 %
        ("repeated", True, changed(text=LOOP * 20), 9),
        ("burst", True, changed(chunk_ns=(5 * MS,) * 24), 9),
        ("refused", True, changed(text="I cannot help with that."), 9),
        ("inflated", True, changed(output_tok=48, recount_tok=24), 5),  # 5 % more over the whole run
    ],
)
def test_how_many_make_a_run_suspect(name: str, pinned: bool, change: Change, most: int) -> None:
    assert not found(name, some(0, 100, change), pinned).is_suspect
    assert not found(name, some(most, 100, change), pinned).is_suspect
    finding = found(name, some(most + 1, 100, change), pinned)
    assert finding.is_suspect
    assert finding.count == most + 1
    assert finding.examples == tuple(range(min(5, most + 1)))
    assert isinstance(finding.share, Quantity)
    assert finding.share.low < (most + 1) / 100 < finding.share.high


def asked_twice(stored: int, of: int = 20, first_ms: float = 5, gap_ms: float = 0.0, text: str | None = None):
    """`of` prompts asked and asked again; `stored` of the repeats begin after `first_ms`, a chunk every `gap_ms`."""
    traces = [answer(i) for i in range(of)]
    for i in range(of, 2 * of):
        again = answer(i, prompt_id=f"p{i - of}", text=words(i - of))
        if i - of < stored:
            times = tuple(again.sent_ns + round((first_ms + gap_ms * k) * MS) for k in range(24))
            again = replace(again, chunk_ns=times, end_ns=times[-1], text=text or again.text)
        traces.append(again)
    return traces


@pytest.mark.parametrize(
    ("traces", "count", "is_suspect"),
    [
        (asked_twice(20), 20, True),
        (asked_twice(0), 0, False),  # the same answers at their usual pace: temperature 0
        (asked_twice(2), 2, False),  # one in ten
        (asked_twice(3), 3, True),
        (asked_twice(20, first_ms=19.9), 20, True),
        (asked_twice(20, first_ms=20), 0, False),
        (asked_twice(20, gap_ms=9.9), 20, True),
        (asked_twice(20, gap_ms=10), 0, False),  # written again: only the prompt was kept
        (asked_twice(20, text="another answer"), 0, False),
        (asked_twice(cached.MIN_REPEATS, cached.MIN_REPEATS), cached.MIN_REPEATS, True),
        (asked_twice(7, 7), 0, False),  # too few to say
    ],
)
def test_answers_from_a_store(traces: list[Trace], count: int, is_suspect: bool) -> None:
    finding = found("cached", traces)
    assert (finding.count, finding.is_suspect) == (count, is_suspect)


def test_a_kept_prompt_is_told_of_and_not_suspected() -> None:
    traces = asked_twice(20, first_ms=5, gap_ms=20)
    finding = found("prompt_kept", traces)
    assert (finding.count, finding.of, finding.left_out, finding.is_suspect) == (20, 20, 20, False)
    assert not found("cached", traces).count


def test_one_slow_start_makes_no_store() -> None:
    """All first answers but one came soon: the one that waited for a cold server proves nothing of its repeat."""
    slow = [replace(t, chunk_ns=(t.sent_ns + 900 * MS,), text="x") for t in asked_twice(0) if t.index == 0]
    quick = [replace(t, chunk_ns=(t.sent_ns + 50 * MS,), text="x") for t in asked_twice(0) if t.index > 0]
    assert found("cached", slow + quick).count == 0


def test_what_was_asked_before_the_first_answer_ended_came_from_no_store() -> None:
    at_once = [replace(t, sent_ns=0, chunk_ns=(MS if t.index >= 20 else 100 * MS,)) for t in asked_twice(20)]
    finding = found("cached", at_once)
    assert (finding.of, finding.left_out) == (0, 40)
    assert isinstance(finding.share, NotMetered)
    assert "too few to say" in finding.says


@pytest.mark.parametrize(
    ("text", "looped"),
    [
        ("abcd" * 10, 40),
        ("x" * 40, 40),
        ("0123456789ABCDEFGHI" + "ab" * 10 + "a", 21),  # just more than half, at the end
        ("ab" * 10 + "a" + "0123456789ABCDEFGHI", 21),  # at the beginning
        ("0123456789" + "ab" * 10 + "a" + "ABCDEFGHI", 21),
        ("", 0),
        ("a", 0),
        (words(3), 0),
    ],
)
def test_how_far_a_loop_reaches(text: str, looped: int) -> None:
    assert repeated.looped_chars(text) == looped


def test_half_an_answer_in_a_loop_is_not_yet_the_larger_part() -> None:
    loop = "ab" * 60
    assert found("repeated", some(1, 1, changed(text=loop + words(1, 60)[:119]))).count == 1
    assert found("repeated", some(1, 1, changed(text=loop + words(1, 60)[:120]))).count == 0


def test_failed_answers_and_calls_are_no_ones_answers() -> None:
    bad = [answer(i, status=Status.STREAM_CUT, output_tok=None, text="") for i in range(9)]
    calls = [answer(i, finish_reason="tool_calls", text="", output_tok=3) for i in range(9, 18)]
    assert {(f.count, f.of) for f in detect(bad + calls, True)} == {(0, 0)}


def test_answers_too_short_for_a_loop_are_left_out_and_counted() -> None:
    finding = found("repeated", some(4, 10, changed(text="no " * 20)))
    assert (finding.of, finding.left_out) == (6, 4)


def test_without_a_recount_nothing_is_said_of_the_count() -> None:
    finding = found("inflated", some(5, 5, changed(recount_tok=None)))
    assert (finding.of, finding.left_out, finding.is_suspect) == (0, 5, False)
    assert finding.says == inflated.NONE


def test_every_phrase_is_found_at_the_beginning_and_nowhere_else() -> None:
    for beginning in refused.BEGINNINGS:
        assert refused.is_refusal(beginning.capitalize() + " you.")
        assert not refused.is_refusal("Well: " + beginning)


def test_the_record_holds_every_finding_with_its_share() -> None:
    listed = detected(detect(some(12, 100, changed(text="I cannot help with that.")), True))["detected"]
    (one,) = [row for row in listed if row["name"] == "refused"]
    assert (one["count"], one["of"], one["suspect"], one["examples"]) == (12, 100, True, [0, 1, 2, 3, 4])
    assert one["share"]["value"] == "0.12"
    assert float(one["share"]["low"]) == pytest.approx(0.0700, abs=1e-4)  # Wilson, by hand
    assert float(one["share"]["high"]) == pytest.approx(0.1981, abs=1e-4)
    (none,) = [row for row in listed if row["name"] == "cached"]
    assert none["share"] == {"not_metered": "no answer that it could be seen in"}


def test_an_end_mark_in_each_short_answer_is_no_inflation() -> None:
    """10 % more in sum, and one token in each: what a server that counts end marks shows for answers of ten tokens."""
    finding = found("inflated", some(30, 30, changed(output_tok=11, recount_tok=10)))
    assert (finding.count, finding.of, finding.is_suspect) == (0, 30, False)


def test_a_store_behind_a_server_that_does_not_stream_is_found() -> None:
    """Each answer comes in one piece, so its time to the first token is that of the whole answer."""
    whole = [replace(t, chunk_ns=(t.sent_ns + (5 if t.index >= 20 else 500) * MS,)) for t in asked_twice(0)]
    finding = found("cached", whole)
    assert (finding.count, finding.of, finding.is_suspect) == (20, 20, True)
