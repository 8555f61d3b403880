"""Work done and spared: what a request is told agrees with a plain count of rows, pages and logits."""

import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint
from reference_engine.request import Request
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.account import DONE, WorkAccount
from reference_engine.sparse.certified_head import CertifiedHead
from reference_engine.sparse.pattern import Done, Sizes, Work
from reference_engine.sparse.seen import Seen
from tests.engine.paged_model import SPEC, PagedModel

PAGE = 16
ALONE = EngineConfig(kv_tok=512, without=frozenset({"speculation"}))


def dense_macs(checkpoint: Checkpoint, tokens: int) -> int:
    """Multiply-adds of `tokens` rows from the tensors themselves, attention in whole pages, logits after every row."""
    spec, weights = checkpoint.spec, checkpoint.tensors
    of_row = sum(t.numel() for name, t in weights.items() if t.ndim == 2 and name.startswith("model.layers."))
    pages = sum(at // PAGE + 1 for at in range(tokens))
    attention = 2 * pages * PAGE * spec.head_dim * spec.heads * spec.layers
    return tokens * (of_row + weights["model.embed_tokens.weight"].numel()) + attention


def run(engine: Engine, *requests: Request) -> None:
    for request in requests:
        engine.submit(request)
    while engine.busy:
        engine.step()


def total(work: Mapping[str, Work]) -> Work:
    return sum(work.values(), Work())


def test_done_and_spared_are_together_what_a_dense_engine_does(
    tiny: Checkpoint, request_of: Callable[..., Request]
) -> None:
    engine = Engine(Llama(tiny, ALONE, keep=True), ALONE)
    request = request_of(list(range(40)), max_tok=9)
    run(engine, request)
    rows = 40 + 9 - 1  # the last token is never computed
    spec = tiny.spec
    assert request.work.keys() == {DONE, "skipping"}
    assert total(request.work).macs == dense_macs(tiny, rows)
    assert request.work["skipping"].macs == (rows - 9) * spec.vocab * spec.hidden
    layers = sum(t.nbytes for name, t in tiny.tensors.items() if t.ndim == 2 and name.startswith("model.layers."))
    head = tiny.tensors["model.embed_tokens.weight"].nbytes
    weights = 9 * (layers + head)  # one step for the prompt, one for each further token
    together = max(1, 12 // (spec.heads // spec.kv_heads))
    last_rows = [*(min(at + together, 40) - 1 for at in range(0, 40, together)), *range(40, rows)]
    cache = sum(at // PAGE + 1 for at in last_rows) * spec.layers * spec.kv_heads * 2 * PAGE * spec.head_dim * 4
    assert request.work[DONE].bytes == pytest.approx(weights + cache)


def test_a_found_prefix_is_spared(tiny: Checkpoint, request_of: Callable[..., Request]) -> None:
    engine = Engine(Llama(tiny, ALONE, keep=True), ALONE)
    first, second = (request_of(list(range(70)), max_tok=4) for _ in range(2))
    run(engine, first)
    run(engine, second)
    assert second.prefix_tok >= 4 * PAGE
    assert "prefix" not in first.work
    assert total(second.work).macs == total(first.work).macs == dense_macs(tiny, 73)
    assert second.work["prefix"].macs == dense_macs(tiny, second.prefix_tok)
    assert second.work[DONE].macs < first.work[DONE].macs / 2


def test_without_skipping_every_logit_is_work(tiny: Checkpoint, request_of: Callable[..., Request]) -> None:
    config = EngineConfig(kv_tok=512, without=frozenset({"speculation", "skipping"}))
    engine = Engine(Llama(tiny, config, keep=True), config)
    request = request_of(list(range(40)), max_tok=3)
    run(engine, request)
    assert request.work.keys() == {DONE}
    assert request.work[DONE].macs == dense_macs(tiny, 42)


def test_without_skipping_a_screened_step_may_end_in_no_choice(request_of: Callable[..., Request]) -> None:
    config = EngineConfig(kv_tok=512, without=frozenset({"skipping"}))
    request, none = request_of(list(range(40)), max_tok=3), np.zeros(32, np.int32)
    plan = StepPlan((Segment(request, 0, 32, False),))
    WorkAccount(Sizes(SPEC, config, 1, 1)).stepped(plan, Seen(none, none, 0, 0, head_rows=64))
    assert request.done.screened == request.done.choices == 32
    assert request.done.head_rows == 64


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 12)), min_size=1, max_size=6))
def test_the_shares_of_all_requests_are_the_steps(asked: list[tuple[int, int]]) -> None:
    config = EngineConfig(kv_tok=1024, step_tok=64)
    model = PagedModel(config)
    engine = model.engine = Engine(model, config)
    requests = [model_request(i, *each) for i, each in enumerate(asked)]
    steps = heads = rows = 0
    for request in requests:
        engine.submit(request)
    while engine.busy:
        computed = sum(request.done.rows for request in requests)
        engine.step()
        now = sum(request.done.rows for request in requests)
        steps += now > computed
        rows = now
    heads = sum(request.done.heads for request in requests)
    assert sum(request.done.steps for request in requests) == pytest.approx(steps)
    assert heads <= steps + 1e-9
    assert rows >= sum(len(request.tokens) - 1 - request.prefix_tok for request in requests)
    assert all(request.work[DONE].macs > 0 for request in requests)


def model_request(at: int, prompt: int, answer: int) -> Request:
    from reference_engine.request import Sampling
    from reference_engine.text import WholeText

    tokens = [(at + i) % (SPEC.vocab - 1) for i in range(prompt)]
    sampling = Sampling(answer, ignore_eos=True)
    return Request(str(at), prompt, tokens, sampling, WholeText(lambda ids: "", ()))


def test_a_screened_row_costs_a_third_and_what_it_could_not_rule_out() -> None:
    sizes = Sizes(SPEC, EngineConfig(), 1, 1)
    whole = SPEC.vocab * SPEC.hidden
    found = CertifiedHead().spared(sizes, Done(screened=3, head_rows=2.0))
    assert found.macs == pytest.approx(3 * whole * 2 / 3 - 2 * SPEC.hidden)
    assert found.bytes == 0


@pytest.mark.parametrize(("start", "count"), [(0, 1), (15, 2), (3, 40), (16, 16), (0, 200), (31, 97)])
def test_pages_are_summed_as_if_one_by_one(start: int, count: int) -> None:
    account = WorkAccount(Sizes(SPEC, EngineConfig(), 1, 1))
    assert account._before(start, count, 1) == sum(at // PAGE + 1 for at in range(start, start + count))


def test_the_levers_say_their_kind() -> None:
    from reference_engine.config import Budget

    config = EngineConfig(without=frozenset({"packing"}), budget=Budget(pages=8))
    assert config.levers["prefix"] == "equivalent"
    assert config.levers["page-budget"] == "approximate"
    assert "packing" not in config.levers
    assert "certified-head" not in config.levers  # works only on packed weights


def test_the_server_tells_work_and_levers(ask: Callable[..., Any], client: Any, tiny_server: Any) -> None:
    answer = ask(max_tokens=5)
    *_, last = ask(max_tokens=5, stream=True, stream_options={"include_usage": True})
    for usage in (answer.usage, last.usage):
        assert usage.work["done"]["macs"] > 0
        assert sum(spared["macs"] for spared in usage.work["spared"].values()) > 0
    logged = {line["id"]: line for line in tiny_server.log_lines()}[answer.id]
    assert logged["work"]["done"] == answer.usage.work["done"]
    with urllib.request.urlopen(tiny_server.url + "/metrics") as said:
        lines = said.read().decode().splitlines()
    done = [float(line.split()[1]) for line in lines if line.startswith('engine_work_macs{what="done"}')]
    assert done[0] >= answer.usage.work["done"]["macs"] + last.usage.work["done"]["macs"] - 1
    (card,) = client.models.list().data
    assert card.levers["paging"] == "equivalent"
    assert card.levers == tiny_server.ready["levers"]


def test_the_certified_head_counts_what_it_computed(default_gguf: Any, request_of: Callable[..., Request]) -> None:
    from reference_engine.kernels import build
    from reference_engine.kernels.native import NativeModel
    from reference_engine.model.load import load

    if build.kinds_here()[0] != "avx512":
        pytest.skip("the screen is written for AVX-512 with VNNI alone")
    config = EngineConfig(kv_tok=1024, without=frozenset({"speculation", "prefix"}))
    engine = Engine(NativeModel(load(default_gguf, True), config, "avx512"), config)
    requests = [request_of(list(range(100 + i, 110 + i)), max_tok=2) for i in range(10)]
    run(engine, *requests)
    whole = 2 * engine.spec.vocab * engine.spec.hidden
    for request in requests:
        assert 0.6 * whole < request.work["certified-head"].macs <= whole * 2 / 3
        assert request.work["certified-head"].bytes == 0
