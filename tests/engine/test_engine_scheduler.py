"""Laws of continuous batching: nothing leaks, all end, nobody is overtaken, and the tokens are the dense model's."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.errors import EngineError, RequestError
from reference_engine.model.dense import dense_logits
from reference_engine.model.load import Checkpoint
from reference_engine.request import Request

EngineOf = Callable[..., Engine]
RequestOf = Callable[..., Request]

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def dense_greedy(checkpoint: Checkpoint, prompt: list[int], n: int) -> list[int]:
    ids = list(prompt)
    for _ in range(n):
        ids.append(int(dense_logits(checkpoint, ids)[-1].argmax()))
    return ids[len(prompt) :]


def drain(engine: Engine, limit: int = 10_000) -> int:
    """Step to the end, checking the books after every step; returns the number of steps."""
    for steps in range(limit):
        if not engine.busy:
            return steps
        engine.step()
        engine.scheduler.check_integrity()
    raise AssertionError("the engine did not come to an end")


prompts = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=40), min_size=1, max_size=8)


@relaxed
@given(
    prompts=prompts,
    max_tok=st.integers(1, 12),
    page_tok=st.sampled_from([1, 4, 16]),
    kv_tok=st.integers(52, 200),
    max_running=st.integers(1, 6),
    extra=st.integers(1, 30),
)
def test_everybody_ends_and_no_page_leaks(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, prompts: list[list[int]], max_tok: int,
    page_tok: int, kv_tok: int, max_running: int, extra: int,
) -> None:  # fmt: skip
    engine = engine_of(tiny, page_tok=page_tok, kv_tok=kv_tok, max_running=max_running, step_tok=max_running + extra)
    requests = [request_of(prompt, str(i), max_tok=max_tok) for i, prompt in enumerate(prompts)]
    for request in requests:
        engine.submit(request)
    drain(engine)
    assert [request.finish for request in requests] == ["length"] * len(requests)
    assert [request.output_tok for request in requests] == [max_tok] * len(requests)
    assert engine.scheduler.pool.free == engine.scheduler.pool.size


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"step_tok": 7, "max_running": 6},  # prompts in chunks
        {"kv_tok": 96, "page_tok": 4},  # preemption
        {"kv_tok": 96, "page_tok": 1, "step_tok": 9, "max_running": 8},  # both
        {"max_running": 1, "step_tok": 200},
    ],
    ids=["roomy", "chunked", "preempting", "chunked-preempting", "one-by-one"],
)
def test_the_tokens_are_the_dense_models(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, config: dict[str, Any]
) -> None:
    engine = engine_of(tiny, **config)
    asked = [[(7 * i + j * j) % 256 for j in range(5 + 9 * i)] for i in range(6)]
    requests = [request_of(prompt, str(i), max_tok=14) for i, prompt in enumerate(asked)]
    for request in requests:
        engine.submit(request)
    drain(engine)
    assert (engine.scheduler.preemptions > 0) == ("kv_tok" in config)
    for prompt, request in zip(asked, requests, strict=True):
        assert request.tokens[len(prompt) :] == dense_greedy(tiny, prompt, 14)


def test_requests_that_come_later_join_the_batch(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    engine, first, second = engine_of(tiny), request_of([1, 2, 3], "a", max_tok=20), request_of([4, 5], "b", max_tok=4)
    engine.submit(first)
    for _ in range(5):
        engine.step()
    engine.submit(second)
    drain(engine)
    assert second.finished_ns is not None
    assert first.finished_ns is not None
    assert second.finished_ns < first.finished_ns
    assert first.tokens[3:] == dense_greedy(tiny, [1, 2, 3], 20)


def test_nobody_is_overtaken(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    """A large request at the head of the queue is not passed by small ones, however well they would fit."""
    engine = engine_of(tiny, kv_tok=64, page_tok=4, max_running=4, step_tok=64)
    sizes = [40, 40, 4, 4, 40, 4]
    requests = [request_of([i] * size, str(i), max_tok=8) for i, size in enumerate(sizes)]
    for request in requests:
        engine.submit(request)
    drain(engine)
    firsts = [request.first_ns or 0 for request in requests]
    assert firsts == sorted(firsts)


def test_a_long_prompt_does_not_stop_those_that_decode(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf
) -> None:
    engine = engine_of(tiny, step_tok=10, max_running=4)
    short = request_of([1], "short", max_tok=60)
    engine.submit(short)
    engine.step()
    engine.submit(request_of([2] * 200, "long", max_tok=1))
    for before in range(1, 20):
        assert [delta.request_id for delta in engine.step()] == ["short"]
        assert short.output_tok == before + 1


def test_the_oldest_keeps_its_pages(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    engine = engine_of(tiny, kv_tok=96, page_tok=4, max_running=4, step_tok=64)
    requests = [request_of([i] * 20, str(i), max_tok=30) for i in range(4)]
    for request in requests:
        engine.submit(request)
    drain(engine)
    assert requests[0].preempted == 0
    assert sum(request.preempted for request in requests) == engine.scheduler.preemptions > 0


def test_a_full_queue_refuses(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    engine = engine_of(tiny, max_running=1, max_waiting=1, step_tok=8)
    engine.submit(request_of([1]))
    engine.submit(request_of([1]))
    with pytest.raises(RequestError, match="queue is full") as caught:
        engine.submit(request_of([1]))
    assert caught.value.status == 429
    drain(engine)
    engine.submit(request_of([1]))


def test_what_can_never_fit_is_refused(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    engine = engine_of(tiny, kv_tok=64)
    with pytest.raises(RequestError, match="exceed the context of 64 tokens"):
        engine.submit(request_of([1] * 60, max_tok=5))
    engine.submit(request_of([1] * 60, max_tok=4))
    drain(engine)


@pytest.mark.parametrize("steps", [0, 1, 5], ids=["waiting", "running", "decoding"])
def test_a_cancelled_request_frees_its_pages(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, steps: int
) -> None:
    engine, request, other = engine_of(tiny), request_of([1, 2, 3], "a"), request_of([4, 5, 6], "b")
    engine.submit(request)
    engine.submit(other)
    for _ in range(steps):
        engine.step()
    engine.cancel(request)
    engine.cancel(request)
    engine.scheduler.check_integrity()
    drain(engine)
    assert (request.finish, other.finish) == ("cancelled", "length")
    assert engine.scheduler.pool.free == engine.scheduler.pool.size
    assert other.tokens[3:] == dense_greedy(tiny, [4, 5, 6], 8)


def test_the_end_token_ends_unless_ignored(
    tiny: Checkpoint, checkpoint_of: Any, engine_of: EngineOf, request_of: RequestOf
) -> None:
    answer = dense_greedy(tiny, [9, 9, 9], 12)
    end = answer[5]
    ending = checkpoint_of(eos_ids=(end,))
    engine = engine_of(ending)
    stops, ignores = request_of([9, 9, 9], "a", max_tok=12, ignore_eos=False), request_of([9, 9, 9], "b", max_tok=12)
    engine.submit(stops)
    engine.submit(ignores)
    drain(engine)
    assert stops.finish == "stop"
    assert stops.tokens[3:] == answer[: answer.index(end) + 1]
    assert (ignores.finish, ignores.tokens[3:]) == ("length", answer)


def test_a_stop_string_ends_the_request(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    seen = request_of([65, 66], max_tok=12)
    engine = engine_of(tiny)
    engine.submit(seen)
    drain(engine)
    text = bytes(t for t in seen.tokens[2:] if t < 256).decode(errors="replace")
    stop = text[4:6]
    request = request_of([65, 66], "s", stops=(stop,), max_tok=12)
    engine.submit(request)
    shown = ""
    while engine.busy:
        shown += "".join(delta.text for delta in engine.step())
    assert (request.finish, shown) == ("stop", text[: text.index(stop)])
    assert request.output_tok < 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_tok": 4, "max_running": 4}, "must exceed max_running"),
        ({"page_tok": 0}, "page_tok is 0"),
        ({"kv_tok": 0}, "kv_tok is 0"),
        ({"max_waiting": -1}, "max_waiting is -1"),
    ],
)
def test_a_config_that_cannot_work_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        EngineConfig(**changes)
