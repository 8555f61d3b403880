"""Guessing changes how many steps an answer takes and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.engine import Engine
from reference_engine.model.load import Checkpoint
from reference_engine.request import Request
from reference_engine.schedule.plan import StepPlan
from reference_engine.schedule.scheduler import Scheduler
from reference_engine.speculate import MOST_REST, PromptLookup
from tests.engine.paged_model import VOCAB, drain, paged_engine, paged_request, plainly

relaxed = settings(max_examples=100, deadline=None)


class Rows:
    """An `Observer` that keeps how many rows and guesses each step had, the rows of new requests not counted."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.known: set[Request] = set()

    def stepped(self, plan: StepPlan, took_ns: int, scheduler: Scheduler) -> None:
        older = [segment for segment in plan.segments if segment.request in self.known]
        self.steps.append((sum(s.count for s in older), sum(len(s.drafts) for s in plan.segments)))
        self.known.update(segment.request for segment in plan.segments)

    def finished(self, request: Request) -> None:
        """Not looked at."""


@relaxed
@given(
    prompts=st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=4),
    draft_tok=st.integers(0, 6),
    draft_rows=st.integers(0, 10),
    asked=st.fixed_dictionaries(
        {
            "max_tok": st.integers(1, 30),
            "temperature": st.sampled_from([0.0, 0.3, 1.0]),
            "top_p": st.sampled_from([1.0, 0.8]),
            "ignore_eos": st.booleans(),
            "stops": st.sampled_from([(), ("abc",), ("a", "dd")]),
            "logprobs": st.sampled_from([None, 2]),
        }
    ),
)
def test_tokens_text_and_end_are_those_of_plain_decoding(
    prompts: list[list[int]], draft_tok: int, draft_rows: int, asked: dict[str, Any]
) -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, draft_tok=draft_tok, draft_rows=draft_rows)
    requests = [paged_request(prompt, str(i), **asked) for i, prompt in enumerate(prompts)]
    for request in requests:
        engine.submit(request)
    deltas = drain(engine)
    for request, prompt in zip(requests, prompts, strict=True):
        bare = paged_engine(page_tok=16, kv_tok=400, draft_tok=0)
        alone = paged_request(prompt, request.id, **asked)
        bare.submit(alone)
        assert [delta for delta in deltas if delta.request_id == request.id] == drain(bare)
        assert (request.tokens, request.finish) == (alone.tokens, alone.finish)
    assert engine.scheduler.tally.generated_tok == sum(request.output_tok for request in requests)


def test_a_text_that_repeats_itself_takes_fewer_steps() -> None:
    engine, rows = paged_engine(page_tok=4, kv_tok=400, draft_tok=4), Rows()
    engine.observers = (rows,)
    request = paged_request([0, 1, 2, 0, 1, 2, 0, 1], max_tok=60)
    engine.submit(request)
    drain(engine)
    tally = engine.scheduler.tally
    assert tally.accepted_tok > 0
    assert len(rows.steps) == 60 - tally.accepted_tok  # each guess that was right spared one
    assert tally.drafted_tok == sum(drafts for _, drafts in rows.steps)
    assert request.tokens == plainly(request.tokens[:8], max_tok=60).tokens


def test_no_guess_goes_beyond_the_answers_limit() -> None:
    engine, rows = paged_engine(page_tok=4, kv_tok=12, draft_tok=4), Rows()
    engine.observers = (rows,)
    engine.submit(paged_request([0, 1, 0, 1, 0, 1, 0], max_tok=5))  # the cache holds exactly prompt and answer
    drain(engine)
    assert all(computed <= 7 for computed, _ in rows.steps)
    assert sum(drafts for _, drafts in rows.steps[-1:]) <= 4


@pytest.mark.parametrize("draft_rows", [0, 3, 6])
def test_guesses_take_only_the_rows_that_decoding_leaves(draft_rows: int) -> None:
    engine, rows = paged_engine(page_tok=4, kv_tok=800, draft_tok=4, draft_rows=draft_rows), Rows()
    engine.observers = (rows,)
    for i in range(4):
        engine.submit(paged_request([0, 1, 2, 0, 1, 2, 0, 1 + i % 2], str(i), max_tok=10 + 8 * i))
    drain(engine)
    assert all(tokens <= max(draft_rows, tokens - drafts) for tokens, drafts in rows.steps)
    assert any(drafts for _, drafts in rows.steps) == (draft_rows > 0)


def test_nobody_guesses_while_a_prompt_is_computed() -> None:
    engine, rows = paged_engine(page_tok=4, kv_tok=800, step_tok=36, draft_tok=4), Rows()
    engine.submit(paged_request([0, 1, 2] * 4, "a", max_tok=40))
    for _ in range(4):
        engine.step()
    engine.submit(paged_request([3] * 150, "b", max_tok=1))
    engine.step()  # admits it
    engine.observers = (rows,)
    for _ in range(3):
        engine.step()
    assert [drafts for _, drafts in rows.steps] == [0, 0, 0]


def test_guesses_preempt_nobody() -> None:
    """With and without them as often, where the pages only just suffice."""
    preemptions = []
    for draft_tok in (0, 4):
        engine = paged_engine(page_tok=1, kv_tok=44, max_running=2, draft_tok=draft_tok)
        for i in range(2):
            engine.submit(paged_request([i, 1, 2, 1, 2, 1, 2], str(i), max_tok=15))
        drain(engine)
        preemptions.append(engine.scheduler.preemptions)
    assert preemptions == [0, 0]


def test_the_lever_switches_it_off() -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, without=frozenset({"speculation"}))
    engine.submit(paged_request([0, 1] * 8, max_tok=40))
    drain(engine)
    assert engine.scheduler.tally.drafted_tok == 0


def test_it_guesses_what_followed_the_last_time() -> None:
    text = [5, 6, 7, 8, 9, 1, 6, 7, 4, 2, 5, 6, 7]
    assert PromptLookup().propose(text, 4) == (8, 9)  # three tokens together weigh more than two, later on
    assert PromptLookup().propose([*text[:10], 6, 7], 4) == (4, 2)  # of two places the later one
    assert PromptLookup().propose([1, 2, 3, 4], 4) == ()
    assert PromptLookup().propose([7], 4) == ()
    assert PromptLookup().propose([1, 2, 3, 3, 3], 4) == (3, 3)  # what repeats itself goes on


@given(text=st.lists(st.integers(0, 3), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_the_index_that_grows_with_the_text_is_the_one_built_at_once(text: list[int], cuts: list[int]) -> None:
    growing = PromptLookup()
    for cut in sorted(cuts):
        growing.propose(text[:cut], 4)
    assert growing.propose(text, 4) == PromptLookup().propose(text, 4)


def test_it_guesses_more_after_luck_and_rests_after_misses() -> None:
    lookup, text = PromptLookup(), [1, 2, 3] * 20
    widths = []
    for _ in range(3):
        guess = lookup.propose(text, 7)
        widths.append(len(guess))
        lookup.learn(len(guess), len(guess))
    assert widths == [2, 4, 6]
    rests = []
    for _ in range(7):
        waited = 0
        while not (guess := lookup.propose(text, 7)):
            waited += 1
        rests.append(waited)
        lookup.learn(len(guess), 0)
    assert rests == [0, 0, 2, 4, 8, MOST_REST, MOST_REST]


def test_a_real_model_says_the_same_with_and_without(
    tiny: Checkpoint, engine_of: Callable[..., Engine], request_of: Callable[..., Request]
) -> None:
    prompts = [[1, 2, 3, 1, 2, 3, 1, 2], [7, 7, 7, 7], [(5 * i) % 19 for i in range(30)]]
    answers = []
    for draft_tok in (0, 6):
        engine = engine_of(tiny, draft_tok=draft_tok, draft_rows=12)
        requests = [request_of(prompt, str(i), max_tok=120) for i, prompt in enumerate(prompts)]
        for request in requests:
            engine.submit(request)
        drain(engine)
        answers.append([request.tokens for request in requests])
        assert (engine.scheduler.tally.drafted_tok > 0) == (draft_tok > 0)
    assert answers[0] == answers[1]
