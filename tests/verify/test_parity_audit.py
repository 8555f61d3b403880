"""A-27: a comparison that is not the one planned, or not what both said gives, is found however well it is signed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tcabench
from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence.parity_table import read_spoken, write_spoken
from tcabench.evidence.tables import write_samples
from tcabench.pipeline import as_kept
from tcabench.quality.compared import compared, metered_alike
from tcabench.records import RunRecord
from tcabench.records.quality import Reply, Score, Spoken, Token
from tcabench.verify import Checked, Standing, verify
from tcabench.verify.parity import found_in
from tests.evidence.sample_run import record, sealed_in, traces

IDS = [f"chat-{index:03}" for index in range(12)]
PLANNED = {"system": "dense", "prompts": 12, "perplexity_margin": 0.01, "concurrency": 4}


def tokens(*chosen: str, p: float = 0.6) -> tuple[Token, ...]:
    return tuple(Token(word, log(p), ((word, log(p)), ("other", log((1 - p) / 2)))) for word in chosen)


def spoken(name: str, p: float = 0.6, word: str = "a") -> Spoken:
    """Twelve short answers, the first ending in `word`, and twelve texts held at probability `p`."""
    greedy = [Reply(each, f"b{word}", tokens("b", word), "length", 2) for each in IDS[:1]]
    greedy += [Reply(each, "ba", tokens("b", "a"), "length", 2) for each in IDS[1:]]
    drawn = tuple(tuple(Reply(each, f"{seed} {each}") for each in IDS[:4]) for seed in (1, 2))
    scores = tuple(Score(each, (Token("b", None), *tokens("c", "d", p=p))) for each in IDS)
    return Spoken(name, tuple(greedy), tuple(greedy[:2]), drawn, scores)


def run_with(ours: Spoken, theirs: Spoken) -> RunRecord:
    """The sample run, compared."""
    run = record()
    head = {
        "schema": "tcabench/parity/v1", "why": "", "reference": {"name": ours.name}, "candidate": {"name": theirs.name},
        "planned": {"prompts": IDS, "perplexity_margin": 0.01, "concurrency": 4},
    }  # fmt: skip
    found = found_in(head, (ours, theirs), run.traces, 0.0)
    plan = {**run.plan, "reference": PLANNED}
    return replace(run, plan=plan, parity=as_kept({**head, "found": found}), spoken=(ours, theirs))


def lacking(**news: Any) -> Callable[[RunRecord], RunRecord]:
    """A comparison from which both sides lack the same, and all that follows from the rest."""
    return lambda _: run_with(*(replace(one, **news) for one in ALIKE))


ALIKE = (spoken("dense"), spoken("metered system"))
APART = (spoken("dense"), spoken("metered system", p=0.3, word="x"))


@pytest.mark.parametrize(("both", "verdict"), [(ALIKE, "IDENTICAL"), (APART, "WORSE")])
def test_a_comparison_as_it_was_is_valid(tmp_path: Path, both: tuple[Spoken, Spoken], verdict: str) -> None:
    run = run_with(*both)
    assert run.parity["found"]["verdict"] == verdict
    sealed = sealed_in(tmp_path, run)
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict is Standing.VALID, found.steps


def changed(**news: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda run: replace(run, parity={**run.parity, **news})


def found_with(**news: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda run: replace(run, parity={**run.parity, "found": {**run.parity["found"], **news}})


def planned_with(**news: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda run: replace(run, parity={**run.parity, "planned": {**run.parity["planned"], **news}})


def said(side: int, **news: Any) -> Callable[[RunRecord], RunRecord]:
    def change(run: RunRecord) -> RunRecord:
        assert run.spoken
        both = list(run.spoken)
        both[side] = replace(both[side], **news)
        return replace(run, spoken=(both[0], both[1]))

    return change


LIES = {
    "another verdict": found_with(verdict="IDENTICAL"),
    "another reason": found_with(why="all is well"),
    "more tokens": found_with(units="9999"),
    "fewer partings": found_with(partings=[]),
    "a smaller divergence": lambda run: found_with(
        likeness={**run.parity["found"]["likeness"], "logprob_max": "0.001"}
    )(run),
    "a wider margin than was planned": planned_with(perplexity_margin=0.9),
    "other prompts": planned_with(prompts=[*IDS[1:], "chat-099"]),
    "fewer prompts": planned_with(prompts=IDS[1:]),
    "another reference": changed(reference={"name": "bundled"}),
    "no verdict at all": changed(found=None),
    "other answers": said(1, greedy=ALIKE[1].greedy),
    "other scores": said(1, scores=ALIKE[1].scores),
    "a prompt left out": said(1, greedy=APART[1].greedy[1:]),
    "answers from a store": said(1, sampled=(APART[1].sampled[0], APART[1].sampled[0])),
    "a set of sampled answers gone": said(1, sampled=APART[1].sampled[:1]),
    "no sampled answers of either": lacking(sampled=()),
    "sampled answers to no prompt": lacking(sampled=((), ())),
    "no scores of either": lacking(scores=()),
    "a prompt that the reference failed on": lacking(
        greedy=(*ALIKE[0].greedy[:-1], replace(ALIKE[0].greedy[-1], error="gone"))
    ),
    "nothing that was said": lambda run: replace(run, spoken=None),
    "no comparison": lambda run: replace(run, parity={}, spoken=None),
    "a comparison that nobody planned": lambda run: replace(run, plan={**run.plan, "reference": None}),
    "begun while meters ran": lambda run: replace(
        run, events=(*run.events, {"t": run.events[1]["t"] + 1, "event": "comparison_start"})
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_what_was_changed_before_it_was_sealed_is_invalid(tmp_path: Path, name: str) -> None:
    sealed = sealed_in(tmp_path, LIES[name](run_with(*APART)))
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict is Standing.INVALID
    assert Checked.FAIL in [step.outcome for step in found.steps]


def test_a_changed_verdict_is_found_by_its_audit(tmp_path: Path) -> None:
    sealed = sealed_in(tmp_path, found_with(verdict="EQUIVALENT")(run_with(*APART)))
    found = verify(sealed.run.report, sealed.trust)
    assert found.steps[5].detail.startswith("A-27 comparison with a reference: the comparison states EQUIVALENT")
    assert "gives: WORSE" in found.steps[5].detail


@pytest.mark.parametrize(("shown", "standing"), [("true", Standing.VALID), ("7", Standing.INVALID)])
def test_numbers_of_the_comparison_on_the_page_are_held_against_the_evidence(
    tmp_path: Path, shown: str, standing: Standing
) -> None:
    run = run_with(*APART)
    value = run.parity["found"]["units"] if shown == "true" else shown
    number = f'<ul><data data-tca="parity/units" value="{value}">{value}</data>'.encode()
    from tests.evidence.sample_run import page_of

    sealed = sealed_in(tmp_path, run, render=lambda result, tcab: page_of(result, tcab).replace(b"<ul>", number))
    assert verify(sealed.run.report, sealed.trust).verdict is standing


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LOGPROB = st.floats(-100, 0)
TOKENS = st.lists(
    st.builds(Token, TEXT, st.none() | LOGPROB, st.lists(st.tuples(TEXT, LOGPROB), max_size=3).map(tuple)), max_size=3
).map(tuple)
REPLY = st.builds(
    Reply, TEXT, TEXT, st.none() | TOKENS, st.none() | TEXT, st.none() | st.integers(0, 2**31), TEXT,
    st.none() | st.booleans(),
)  # fmt: skip
REPLIES = st.lists(REPLY, max_size=3).map(tuple)
SPOKEN = st.builds(
    Spoken, st.just("a"), REPLIES, REPLIES,
    st.lists(st.lists(REPLY, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
    st.lists(st.builds(Score, TEXT, TOKENS, TEXT), max_size=3).map(tuple),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(SPOKEN, SPOKEN)
def test_what_was_said_comes_back_exactly(ours: Spoken, theirs: Spoken) -> None:
    assert read_spoken(write_spoken(ours, theirs), "a", "a") == (ours, theirs)


def test_text_that_utf8_cannot_hold_is_marked_not_fatal() -> None:
    odd = Spoken("a", (Reply("1", "x\ud800", (Token("\ud800", -1.0, (("\udfff", -2.0),)),)),))
    [reply] = read_spoken(write_spoken(odd, Spoken("b")), "a", "b")[0].greedy
    assert reply.tokens
    for text in (reply.text.removeprefix("x"), reply.tokens[0].label, reply.tokens[0].top[0][0]):
        assert set(text) == {"\ufffd"}


def test_a_log_probability_that_is_none_is_refused() -> None:
    for value in (0.5, float("nan"), float("-inf")):
        table = write_spoken(Spoken("a", (Reply("1", "x", (Token("x", value),)),)), Spoken("b"))
        with pytest.raises(NotVerified, match="log-probability"):
            read_spoken(table, "a", "b")
    with pytest.raises(EvidenceError):
        write_spoken(Spoken("a", (Reply("1", output_tok=2**70),)), Spoken("b"))
    with pytest.raises(NotVerified, match="columns"):
        read_spoken(write_samples(()), "a", "b")


def test_the_figures_do_not_depend_on_the_order_of_sets() -> None:
    """Python shuffles sets anew in every process; a verifier must come to the same last digit."""
    code = (
        "from tests.verify.test_parity_audit import APART, run_with\n"
        "import json; print(json.dumps(run_with(*APART).parity, sort_keys=True))"
    )
    root = Path(tcabench.__file__).parents[1]
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(printed) == 1
    assert json.loads(printed.pop())["found"]["verdict"] == "WORSE"


def test_metered_answers_are_held_against_the_compared_ones() -> None:
    made = traces()[:3]
    texts = [trace.text for trace in made]
    replies = [
        Reply(made[0].prompt_id, texts[0]),
        Reply(made[1].prompt_id, texts[1][:5]),
        Reply(made[2].prompt_id, "no"),
    ]
    assert metered_alike(replies, made) == (3, 2)
    assert metered_alike([*replies, Reply("chat-999", "x"), Reply(made[0].prompt_id, error="HTTP 500")], made) == (3, 2)


def test_the_reason_for_no_scores_names_the_system() -> None:
    mute = replace(ALIKE[1], scores=tuple(Score(each, error="HTTP 404") for each in IDS))
    found = compared(ALIKE[0], mute, 0.01)
    assert (found.likeness, found.unscored) == (None, "metered system: HTTP 404")
