"""Laws of shared pages: a request sees its own text and nothing else, whatever was found, copied, evicted, preempted,
guessed or cancelled, and everybody ends."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reference_engine.engine import Engine
from reference_engine.kv.pool import PagePool
from reference_engine.kv.prefix import Match, PrefixCache
from reference_engine.model.load import Checkpoint
from reference_engine.request import Request
from tests.engine.paged_model import VOCAB, PagedModel, drain, paged_engine, paged_request, plainly

STEMS = ([0, 1, 2, 3, 0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 0, 2], [3, 3, 3, 3, 3, 3, 3, 3])
MOST_TOK = 24  # prompt and answer together
KV_TOK = 28

tokens = st.integers(0, VOCAB - 1)


class SharedPages(RuleBasedStateMachine):
    """Few pages, texts that begin alike, all levers at once."""

    @initialize(
        page_tok=st.sampled_from([1, 2, 4]),
        max_running=st.integers(1, 5),
        extra=st.integers(1, 20),
        draft_tok=st.integers(0, 4),
        without=st.sets(st.sampled_from(["batching", "paging", "prefix", "speculation"]), max_size=1),
    )
    def start(self, page_tok: int, max_running: int, extra: int, draft_tok: int, without: set[str]) -> None:
        self.engine = paged_engine(
            page_tok=page_tok, kv_tok=KV_TOK, max_running=max_running, step_tok=max_running + extra,
            draft_tok=draft_tok, without=frozenset(without),
        )  # fmt: skip
        self.asked: list[tuple[Request, dict[str, Any]]] = []
        self.cancelled: set[Request] = set()

    @rule(
        stem=st.sampled_from(STEMS),
        cut=st.integers(1, 10),
        tail=st.lists(tokens, max_size=6),
        n=st.integers(1, 3),
        client=st.sampled_from(["", "x", "y"]),
        asked=st.fixed_dictionaries(
            {
                "max_tok": st.integers(1, 8),
                "temperature": st.sampled_from([0.0, 0.0, 0.7]),
                "seed": st.integers(0, 3),
                "ignore_eos": st.booleans(),
                "stops": st.sampled_from([(), (), ("ab",), ("dd", "ca")]),
            }
        ),
    )
    def submit(self, stem: list[int], cut: int, tail: list[int], n: int, client: str, asked: dict[str, Any]) -> None:
        for _ in range(n):
            request = paged_request([*stem[:cut], *tail], str(len(self.asked)), client=client, **asked)
            self.engine.submit(request)
            self.asked.append((request, asked))

    @rule(turn=st.integers(1, 4), tail=st.lists(tokens, min_size=1, max_size=3), data=st.data())
    @precondition(lambda self: any(request.finish for request, _ in self.asked))
    def go_on_from_an_answer(self, turn: int, tail: list[int], data: st.DataObject) -> None:
        before = data.draw(st.sampled_from([request for request, _ in self.asked if request.finish]))
        prompt = [*before.tokens, *tail][:-turn] or [0]
        asked = {"max_tok": max(min(6, MOST_TOK - len(prompt)), 1)}
        if len(prompt) + asked["max_tok"] <= MOST_TOK:
            request = paged_request(prompt, str(len(self.asked)), **asked)
            self.engine.submit(request)
            self.asked.append((request, asked))

    @rule(steps=st.integers(1, 5))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            first = next(iter(self.engine.scheduler.running), None)
            before = first and first.preempted
            self.engine.step()
            assert (first and first.preempted) == before  # who was admitted first is never sent back

    @precondition(lambda self: any(request.finish is None for request, _ in self.asked))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from([request for request, _ in self.asked if request.finish is None]))
        self.engine.cancel(request)
        self.cancelled.add(request)

    @invariant()
    def the_books_are_right(self) -> None:
        self.engine.scheduler.check_integrity()
        model = self.engine.model
        assert isinstance(model, PagedModel)
        model.check_books()

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        owed = sum(request.prompt_tok + request.sampling.max_tok for request, _ in self.asked if not request.finish)
        for _ in range(owed):  # the first of the running never waits, so each step brings somebody on
            self.engine.step()
        assert not self.engine.busy
        assert self.engine.scheduler.pool.free == self.engine.scheduler.pool.size
        for request, asked in self.asked:
            alone = plainly(request.tokens[: request.prompt_tok], **asked)
            if request in self.cancelled:
                assert request.tokens == alone.tokens[: len(request.tokens)]
            else:
                assert (request.tokens, request.finish) == (alone.tokens, alone.finish)


TestSharedPages = SharedPages.TestCase
TestSharedPages.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def ask(engine: Engine, *prompts: list[int], **asked: Any) -> list[Request]:
    """All at once, to the end."""
    requests = [paged_request(prompt, str(i), **asked) for i, prompt in enumerate(prompts)]
    for request in requests:
        engine.submit(request)
    drain(engine)
    return requests


TEXT = [(3 * i + i * i) % VOCAB for i in range(40)]


@pytest.mark.parametrize(
    ("first", "then", "found", "copied"),
    [
        (TEXT[:10], TEXT[:10], 9, 1),  # two full pages; of the third only what both have, never the last token
        (TEXT[:12], TEXT[:12], 11, 1),
        (TEXT[:12], TEXT[:9], 8, 0),
        (TEXT[:12], TEXT[:13], 12, 0),
        (TEXT[:12], [*TEXT[:10], (TEXT[10] + 1) % VOCAB, 0, 0], 10, 1),
        (TEXT[:12], [(TEXT[0] + 1) % VOCAB, *TEXT[1:12]], 0, 0),
        (TEXT[:12], TEXT[4:12], 0, 0),  # the same tokens at other places are another text
    ],
)
def test_a_second_request_computes_what_is_new(first: list[int], then: list[int], found: int, copied: int) -> None:
    engine = paged_engine(page_tok=4, kv_tok=400)
    ask(engine, first, max_tok=6)
    (request,) = ask(engine, then, max_tok=6)
    assert isinstance(engine.model, PagedModel)
    assert (request.prefix_tok, engine.model.copied) == (found, copied)
    assert engine.scheduler.tally.prefix_tok == found
    assert request.tokens == plainly(then, max_tok=6).tokens


def test_a_page_is_not_evicted_in_the_step_that_copies_it() -> None:
    """8 pages: 2 kept, of which the second request shares one and copies one; the third needs that and all others."""
    engine = paged_engine(page_tok=4, kv_tok=32, draft_tok=0)
    ask(engine, TEXT[:8], max_tok=1)
    copying, large = paged_request(TEXT[:6], "b", max_tok=2), paged_request([3] * 23, "c", max_tok=1)
    for request in (copying, large):
        engine.submit(request)
    engine.step()
    assert (copying.prefix_tok, list(engine.scheduler.running)) == (5, [copying])
    drain(engine)
    assert large.finish == "length"


def test_a_copy_that_would_take_the_last_page_is_left_out() -> None:
    engine = paged_engine(page_tok=4, kv_tok=12, draft_tok=0)
    ask(engine, [0, 0, 0, 0, 1, 1, 1, 1, 2], max_tok=1)
    (request,) = ask(engine, [0, 0, 0, 0, 1, 1, 2, 2, 2], max_tok=3)
    assert (request.prefix_tok, request.finish) == (4, "length")


def test_the_next_turn_of_a_chat_finds_the_answer_too() -> None:
    engine = paged_engine(page_tok=4, kv_tok=400)
    (first,) = ask(engine, TEXT[:7], max_tok=11)
    (second,) = ask(engine, [*first.tokens, 1, 2, 3], max_tok=4)
    assert second.prefix_tok == 16  # 17 of 18 were computed: four full pages


@pytest.mark.parametrize("step_tok", [9, 64], ids=["chunked", "whole"])
def test_requests_that_come_together_share_their_prompt(step_tok: int) -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, step_tok=step_tok, max_running=8, draft_tok=0)
    requests = ask(engine, *[TEXT[:30]] * 4, max_tok=5)
    assert [request.prefix_tok for request in requests] == [0, 28, 28, 28]
    assert len({tuple(request.tokens) for request in requests}) == 1


def test_who_waits_for_a_page_goes_on_when_it_will_not_come() -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, step_tok=9, max_running=8)
    first, second = (paged_request(TEXT[:30], name) for name in "ab")
    engine.submit(first)
    engine.submit(second)
    engine.step()
    assert (first.computed, second.computed) == (9, 0)
    engine.cancel(first)
    drain(engine)
    assert second.tokens == plainly(TEXT[:30]).tokens
    assert second.prefix_tok == 8  # what the first had computed by then


def test_a_preempted_request_finds_its_own_pages_again() -> None:
    """The first takes 8 of 12 pages; of the other's, those of its beginning are still there when it comes back."""
    engine = paged_engine(page_tok=4, kv_tok=48, max_running=4, step_tok=64, draft_tok=0)
    requests = ask(engine, *([i, *TEXT[:14]] for i in range(2)), max_tok=16)
    assert engine.scheduler.preemptions == 1
    assert [request.prefix_tok for request in requests] == [0, 0]
    assert engine.scheduler.tally.prefix_tok == 16


def test_nothing_is_found_when_the_lever_is_off() -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, without=frozenset({"prefix"}))
    assert [request.prefix_tok for request in ask(engine, TEXT, TEXT, TEXT)] == [0, 0, 0]
    assert engine.scheduler.pool.kept == 0


def test_without_paging_all_pages_are_taken_at_once_and_nobody_is_preempted() -> None:
    engine = paged_engine(page_tok=4, kv_tok=64, max_running=4, step_tok=64, without=frozenset({"paging"}))
    requests = [paged_request([i, *TEXT[:14]], str(i), max_tok=16) for i in range(4)]
    for request in requests:
        engine.submit(request)
    engine.step()
    assert [len(request.pages) for request in requests] == [8, 8, 0, 0]
    drain(engine)
    assert engine.scheduler.preemptions == 0


def test_without_batching_one_request_runs_at_a_time() -> None:
    engine = paged_engine(page_tok=4, kv_tok=400, without=frozenset({"batching"}))
    for i in range(3):
        engine.submit(paged_request(TEXT[i:9], str(i)))
    while engine.busy:
        engine.step()
        assert len(engine.scheduler.running) <= 1


def test_the_least_lately_used_page_goes_first_and_a_text_loses_its_end_first() -> None:
    engine = paged_engine(page_tok=4, kv_tok=48, draft_tok=0)
    old, new = [0] * 17, [1] * 17
    ask(engine, old, max_tok=1)
    ask(engine, new, max_tok=1)
    ask(engine, [2] * 25, max_tok=1)  # of 12 pages 8 were kept; 3 of them are wanted
    prefix = engine.scheduler.ledger.prefix
    assert prefix is not None
    kept = [prefix.tokens_of(page) for page in range(12)]
    assert (kept.count((0,) * 4), kept.count((1,) * 4)) == (1, 4)
    assert ask(engine, old, max_tok=1)[0].prefix_tok == 4


def test_a_page_is_not_found_by_its_digest_alone() -> None:
    pool = PagePool(4)
    cache = PrefixCache(pool, 2)
    pages = pool.take(2)
    assert pages is not None
    chain: list[bytes] = []
    cache.extend(chain, [1, 2, 3, 4])
    for at in range(2):
        cache.add(chain, at, [1, 2, 3, 4], pages[at])
    assert cache.match(chain, [1, 2, 3, 4, 5]) == Match(pages, None, 4)
    assert cache.match(chain, [1, 2, 3, 3, 5]) == Match(pages[:1], pages[1], 3)  # another text under the same digests
    assert cache.match(chain[1:], [3, 4, 5]) == Match([], None, 0)  # a page without its beginning


def lose_entry(engine: Engine) -> None:
    prefix = engine.scheduler.ledger.prefix
    assert prefix is not None
    prefix._digests.clear()


def lose_content(engine: Engine) -> None:
    pool = engine.scheduler.pool
    pool._blank += pool._kept
    pool._worthy.clear()
    pool._kept.clear()


def lose_reference(engine: Engine) -> None:
    engine.scheduler.pool.take(1)


@pytest.mark.parametrize("break_it", [lose_entry, lose_content, lose_reference])
def test_an_idle_engine_sees_that_pages_went_astray(break_it: Callable[[Engine], None]) -> None:
    engine = paged_engine(page_tok=4, kv_tok=400)
    ask(engine, TEXT[:9])
    request = paged_request([4, 4])
    engine.submit(request)
    break_it(engine)
    with pytest.raises(RuntimeError, match=r"page \d+"):
        engine.cancel(request)


@pytest.mark.parametrize("config", [{}, {"step_tok": 7, "max_running": 6}, {"kv_tok": 160, "page_tok": 4}])
def test_a_real_model_says_the_same_with_and_without(
    tiny: Checkpoint, engine_of: Callable[..., Engine], request_of: Callable[..., Request], config: dict[str, Any]
) -> None:
    stem = [(7 * i + i * i) % 256 for i in range(50)]
    prompts = [stem[:45], stem, [*stem[:20], 1, 2, 3], stem, stem[:45], [*stem[:37], 9]]
    answers = []
    for without in (frozenset[str](), frozenset({"prefix", "speculation"})):
        engine = engine_of(tiny, **({"page_tok": 8} | config), without=without)
        requests = [request_of(prompt, str(i), max_tok=14) for i, prompt in enumerate(prompts)]
        for request in requests:
            engine.submit(request)
        drain(engine)
        answers.append([request.tokens for request in requests])
        assert (engine.scheduler.tally.prefix_tok > 0) == (not without)
    assert answers[0] == answers[1]
