"""Clients take turns by what they were served; nobody waits for ever, and one client alone sees a plain queue."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.engine import Engine
from reference_engine.request import Request
from reference_engine.schedule import queue
from reference_engine.schedule.queue import OUTPUT_WEIGHT, FairQueue
from tests.engine.paged_model import VOCAB, drain, paged_engine, paged_request

PROMPT_TOK, MAX_TOK = 12, 6
COST = PROMPT_TOK + OUTPUT_WEIGHT * MAX_TOK


def one_at_a_time() -> Engine:
    return paged_engine(kv_tok=400, max_running=1, step_tok=64, without=frozenset({"prefix", "speculation"}))


def asked(client: str, n: int, size: int = PROMPT_TOK) -> list[Request]:
    return [paged_request([i % VOCAB] * size, f"{client}{i}", client=client, max_tok=MAX_TOK) for i in range(n)]


def long_answer(client: str, i: int, max_tok: int) -> Request:
    prompt = [i % VOCAB] * PROMPT_TOK
    return paged_request(prompt, f"{client}{i}", client=client, max_tok=max_tok, ignore_eos=True)


def submit(engine: Engine, *requests: Request) -> None:
    for request in requests:
        engine.submit(request)


def order(*requests: Request) -> str:
    """The clients in the order in which their requests began."""
    return "".join(request.client for request in sorted(requests, key=lambda request: request.first_ns or 0))


def test_one_client_is_served_in_order() -> None:
    engine, requests = one_at_a_time(), asked("a", 6)
    submit(engine, *requests)
    drain(engine)
    firsts = [request.first_ns or 0 for request in requests]
    assert firsts == sorted(firsts)


def test_a_client_that_floods_the_queue_does_not_hold_up_another() -> None:
    engine, flood, other = one_at_a_time(), asked("f", 20), asked("o", 2)
    submit(engine, *flood)
    for _ in range(3 * MAX_TOK):
        engine.step()
    submit(engine, *other)
    drain(engine)
    assert order(*flood, *other)[:9].count("o") == 2


def test_tokens_are_shared_out_and_not_requests() -> None:
    """Prompts three times as long: a third as many of them, the outputs weighed in."""
    engine, large, small = one_at_a_time(), asked("l", 12, 5 * PROMPT_TOK), asked("s", 12)
    submit(engine, *large, *small)
    drain(engine)
    begun = order(*large, *small)[:8]
    assert (begun.count("l"), begun.count("s")) == (2, 6)  # 72 tokens each, against 24


def test_answers_count_too() -> None:
    """Answers five times as long, of prompts alike: again 72 tokens each, against 24."""
    engine = one_at_a_time()
    of = {client: [long_answer(client, i, max_tok) for i in range(12)] for client, max_tok in (("l", 30), ("s", 6))}
    submit(engine, *of["l"], *of["s"])
    drain(engine)
    begun = order(*of["l"], *of["s"])[:8]
    assert (begun.count("l"), begun.count("s")) == (2, 6)


def test_who_was_away_saves_up_nothing() -> None:
    engine, steady, late = one_at_a_time(), asked("s", 20), asked("l", 10)
    submit(engine, *steady)
    for _ in range(8 * MAX_TOK):
        engine.step()
    submit(engine, *late)
    drain(engine)
    after = order(*steady, *late)[8:18]
    assert abs(after.count("l") - after.count("s")) <= 2


def test_a_preempted_request_comes_back_before_everybody() -> None:
    engine = paged_engine(page_tok=4, kv_tok=64, max_running=4, step_tok=64, draft_tok=0)
    running = [paged_request([i] * 15, f"r{i}", client="r", max_tok=16) for i in range(4)]
    submit(engine, *running)
    engine.step()
    waiting = [paged_request([4] * 15, f"w{i}", client="w", max_tok=16) for i in range(4)]
    submit(engine, *waiting)
    drain(engine)
    assert engine.scheduler.preemptions > 0
    assert max(request.finished_ns or 0 for request in running) < max(request.first_ns or 0 for request in waiting)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.integers(1, 12)), max_size=25))
def test_clients_that_wait_are_never_far_apart(sizes: list[tuple[str, int, int]]) -> None:
    """While two clients both wait, what they were served since differs by at most two of the largest requests: the
    bound of the paper's theorem 4.3 for one request at a time."""
    engine = one_at_a_time()
    for i, (client, prompt_tok, max_tok) in enumerate(sizes):
        engine.submit(paged_request([i % VOCAB] * prompt_tok, str(i), client=client, max_tok=max_tok))
    fair = engine.scheduler.waiting
    while engine.busy:
        engine.step()
        served = [fair._served[request.client] for request in fair]
        if served:
            assert max(served) - min(served) <= 2 * (40 + OUTPUT_WEIGHT * 12)


def test_cancelled_ones_leave_their_line() -> None:
    engine, requests = one_at_a_time(), [*asked("a", 2), *asked("b", 2)]
    submit(engine, *requests)
    engine.cancel(requests[2])
    engine.cancel(requests[3])
    drain(engine)
    assert [request.finish for request in requests] == ["length", "length", "cancelled", "cancelled"]
    assert not engine.scheduler.waiting._served  # an idle engine remembers nobody


def test_the_names_of_clients_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_CLIENTS", 8)
    fair = FairQueue()
    for i in range(100):
        (request,) = asked(str(i), 1)
        fair.push(request)
        fair.charge(request.client, 1)
        fair.remove(request)
    assert len(fair._served) <= 10
