"""A page budget: the native step picks the pages that torch picks, the same bits in any company; a budget that is never
reached changes nothing, and what is counted is what was left out."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference_engine.__main__ import main
from reference_engine.config import Budget, EngineConfig
from reference_engine.engine import Engine
from reference_engine.errors import EngineError
from reference_engine.kernels.native import NativeModel
from reference_engine.model.export import export
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint
from reference_engine.model.opened import open_model
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.account import WorkAccount
from reference_engine.sparse.pages import PageBudget, picked
from reference_engine.sparse.pattern import Done, Sizes
from reference_engine.text import TextStream
from tests.engine import test_engine_native as rig
from tests.engine.test_engine_native import BOUND, KINDS, SHAPE, SHAPES, quantised, request, tokens

BUDGET = Budget(pages=5, dense_layers=1)
PAGES = list(range(30, 60))


@pytest.fixture(scope="module")
def packed_of(checkpoint_of: Callable[..., Checkpoint]) -> Callable[..., Checkpoint]:
    return lambda **changes: quantised(checkpoint_of(**(SHAPE | {"layers": 3} | changes)))


@pytest.fixture(scope="module")
def tiny_native(checkpoint_of: Any, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three layers that the native step does."""
    made = checkpoint_of(**(SHAPE | {"layers": 3, "vocab": 257, "eos_ids": (2,)}))
    return export(made, tiny_tokenizer, tmp_path_factory.mktemp("native") / "tiny")


def model_of(checkpoint: Checkpoint, kind: str = KINDS[0], threads: int = 2, budget: Budget = BUDGET) -> NativeModel:
    return NativeModel(checkpoint, EngineConfig(kv_tok=2048, budget=budget), kind, threads)


def torch_of(checkpoint: Checkpoint, budget: Budget = BUDGET) -> Llama:
    return Llama(checkpoint, EngineConfig(kv_tok=2048, budget=budget), keep=True)


def logits_of(model: Any, ids: list[int], pages: list[int], chunk: int = 100) -> Tensor:
    return rig.logits_of(model, ids, pages, chunk)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_native_step_picks_what_torch_picks(packed_of: Any, shape: dict[str, Any], kind: str) -> None:
    checkpoint = packed_of(**shape)
    for n in (81, 96, 97, 300):
        ids = tokens(n, n)
        wanted = logits_of(torch_of(checkpoint), ids, PAGES)
        assert distance(logits_of(model_of(checkpoint, kind), ids, PAGES, 64), wanted) < 20 * BOUND
        everything = logits_of(torch_of(checkpoint, Budget()), ids, PAGES)
        assert distance(everything, wanted) > 100 * BOUND  # or the comparison above would prove nothing


def test_a_few_rows_before_a_choice_pick_each_for_itself(packed_of: Any) -> None:
    checkpoint, ids = packed_of(), tokens(300)
    one, other = model_of(checkpoint), model_of(checkpoint)
    logits_of(one, ids[:290], PAGES), logits_of(other, ids[:290], PAGES)
    asked = request(ids[:290], PAGES)
    drafted = one.run(StepPlan((Segment(asked, 289, 11, True, tuple(ids[290:])),)), list(range(11))).logits
    for at, logits in enumerate(drafted, 289):
        asked.tokens = ids[: at + 1]
        assert torch.equal(other.run(StepPlan((Segment(asked, at, 1, True),)), [0]).logits[0], logits)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_row_is_the_same_bits_in_any_company(packed_of: Any, data: st.DataObject) -> None:
    checkpoint = packed_of(heads=6, kv_heads=2)
    alone, crowd = model_of(checkpoint, threads=1), model_of(checkpoint, threads=data.draw(st.integers(1, 3)))
    n = data.draw(st.integers(1, 220))
    mine = list(range(100, 114))
    wanted = logits_of(alone, tokens(n), list(range(14)))
    logits_of(crowd, tokens(n), mine, data.draw(st.integers(1, n)))
    others = data.draw(st.lists(st.tuples(st.integers(1, 150), st.integers(1, 8)), max_size=9))
    segments, page = [Segment(request(tokens(n), mine), n - 1, 1, True)], 0
    for seed, (length, count) in enumerate(others):
        asked = request(tokens(length, seed), list(range(page, page + 10)))
        segments.append(Segment(asked, max(0, length - count), min(count, length), True))
        page += 10
    place = data.draw(st.integers(0, len(others)))
    segments[0], segments[place] = segments[place], segments[0]
    assert torch.equal(crowd.run(StepPlan(tuple(segments)), [place]).logits[0], wanted)


@pytest.mark.parametrize("budget", [Budget(pages=19, dense_layers=0), Budget(pages=4, dense_layers=3)], ids=str)
def test_a_budget_that_is_never_reached_changes_no_bit(packed_of: Any, budget: Budget) -> None:
    checkpoint, ids = packed_of(), tokens(300)
    dense, model = model_of(checkpoint, budget=Budget()), model_of(checkpoint, budget=budget)
    assert torch.equal(logits_of(model, ids, PAGES), logits_of(dense, ids, PAGES))
    assert torch.equal(logits_of(torch_of(checkpoint, budget), ids, PAGES),
                       logits_of(torch_of(checkpoint, Budget()), ids, PAGES))  # fmt: skip


def test_rows_of_a_prompt_attend_to_all_pages(packed_of: Any) -> None:
    """What a prompt leaves in the cache is what a dense step leaves there, up to its last row."""
    checkpoint, ids = packed_of(), tokens(300)
    tables = []
    for budget in (Budget(), BUDGET):
        model = torch_of(checkpoint, budget)
        logits_of(model, ids, PAGES, 50)
        tables.append(model.kv.gather(2, torch.tensor([PAGES]))[0][0, :, :300])
    assert torch.equal(tables[0][:, :299], tables[1][:, :299])
    assert not torch.equal(tables[0][:, 299], tables[1][:, 299])


def test_ranges_follow_their_pages(packed_of: Any) -> None:
    """Pages used before by another text, half of one copied, and keys overwritten after guesses that were wrong."""
    checkpoint, ids, wrong = packed_of(), tokens(300), tokens(300, 9)
    fresh, used = model_of(checkpoint), model_of(checkpoint)
    wanted = logits_of(fresh, ids, PAGES)
    logits_of(used, wrong, PAGES)
    logits_of(used, ids[:184], PAGES)
    asked, theirs = request(ids[:185], PAGES), [*PAGES[:11], 99, *PAGES[12:]]
    used.run(StepPlan((Segment(asked, 184, 17, True, tuple(wrong[:16])),)), [])  # fills page 11, begins page 12
    asked = request(ids, theirs)
    used.run(StepPlan((Segment(asked, 184, 115, False),), copies=((PAGES[11], 99),)), [])
    scores = used.run(StepPlan((Segment(asked, 299, 1, True),)), [0])
    assert torch.equal(scores.logits[0], wanted)


def test_what_is_left_out_is_counted(packed_of: Any) -> None:
    """By row, and once for pages that rows of one request would have fetched together."""
    checkpoint, ids = packed_of(), tokens(300)
    model = model_of(checkpoint)
    logits_of(model, ids[:290], PAGES)
    short = request(tokens(20), [0, 1])
    one = Segment(request(ids[:290], PAGES), 289, 1, True)
    seen = model.run(StepPlan((one, Segment(short, 0, 20, True))), []).seen
    pages = 289 // 16 + 1
    assert seen is not None
    assert seen.left_pages.tolist() == [(pages - 5) * 2 * 2, *[0] * 20]  # two layers, two KV heads
    assert seen.unread_pages == (pages - 5) * 2 * 2
    drafts = Segment(one.request, 289, 3, True, tuple(ids[290:292]))
    seen = model.run(StepPlan((drafts,)), []).seen
    assert seen is not None
    assert seen.left_pages.tolist() == [(pages - 5) * 2 * 2] * 3
    assert (pages - 15) * 4 <= seen.unread_pages <= (pages - 5) * 4
    mixed = Segment(request(ids[:291], PAGES), 287, 4, True)  # three rows of a prompt fetch every page
    seen = model.run(StepPlan((mixed,)), []).seen
    assert seen is not None
    assert seen.left_pages.tolist() == [0, 0, 0, (291 // 16 + 1 - 5) * 4]
    assert seen.unread_pages == 0
    dense = model_of(checkpoint, budget=Budget()).run(StepPlan((one,)), []).seen
    assert dense is not None
    assert (int(dense.left_pages.sum()), dense.unread_pages) == (0, 0)


def test_of_equal_scores_the_first_pages_are_taken() -> None:
    """All keys alike: the first page, then those after it, then the last two."""
    keys = torch.ones(1, 1, 10 * 16, 8)
    kept = picked(torch.ones(1, 1, 2, 8), keys, torch.tensor([[9 * 16 + 3]]), 16, 6)
    assert kept[0, 0, 0].nonzero()[:, 0].tolist() == [0, 1, 2, 3, 8, 9]


def test_the_pages_with_the_largest_scores_are_taken() -> None:
    """Page 4 for one head, page 6 for the other that shares its keys, however loud the first is; a page after the row
    for none."""
    keys = torch.zeros(1, 1, 12 * 16, 8)
    keys[0, 0, 4 * 16 + 5, 0] = 3.0
    keys[0, 0, 5 * 16, 0] = 2.0
    keys[0, 0, 6 * 16 + 1, 1] = -1.0
    keys[0, 0, 11 * 16, 0] = 9.0
    queries = torch.zeros(1, 1, 2, 8)
    queries[0, 0, 0, 0], queries[0, 0, 1, 1] = 9.0, -9.0
    kept = picked(queries, keys, torch.tensor([[10 * 16 + 1]]), 16, 5)
    assert kept[0, 0, 0].nonzero()[:, 0].tolist() == [0, 4, 6, 9, 10]


def answers(model: Any, limits: EngineConfig, prompts: list[list[int]], drafts: bool = True) -> list[list[int]]:
    engine = Engine(model, limits if drafts else replace(limits, draft_tok=0))
    asked = [
        Request(str(i), len(ids), list(ids), Sampling(40), TextStream(lambda _: "")) for i, ids in enumerate(prompts)
    ]
    for one in asked:
        engine.submit(one)
    while engine.busy:
        engine.step()
    return [one.tokens[one.prompt_tok :] for one in asked]


def test_answers_do_not_depend_on_company_chunks_or_preemption(packed_of: Any) -> None:
    """Alone in a large cache, and together in one that is too small, with prefixes shared and guesses made; a second
    turn that begins with a first one's answer too."""
    checkpoint = packed_of()
    prompts = [tokens(90 + 13 * i, i) for i in range(5)] + [tokens(100, 0), tokens(90, 0)[:80] + tokens(30, 77)]
    prompts[5][:90] = prompts[0]
    wide = EngineConfig(kv_tok=2048, budget=BUDGET, max_running=1, without=frozenset({"prefix", "speculation"}))
    alone = [answers(NativeModel(checkpoint, wide, KINDS[0], 1), wide, [ids])[0] for ids in prompts]
    prompts.append(prompts[1] + alone[1] + [5, 6, 7])
    alone += answers(NativeModel(checkpoint, wide, KINDS[0], 1), wide, prompts[-1:])
    tight = EngineConfig(kv_tok=416, budget=BUDGET, max_running=4, step_tok=37)
    model = NativeModel(checkpoint, tight, KINDS[0], 2)
    engine = Engine(model, tight)
    asked = [
        Request(str(i), len(ids), list(ids), Sampling(40), TextStream(lambda _: "")) for i, ids in enumerate(prompts)
    ]
    for one in asked:
        engine.submit(one)
    while engine.busy:
        engine.step()
    assert engine.scheduler.preemptions > 0
    assert engine.scheduler.tally.prefix_tok > 0
    assert [one.tokens[one.prompt_tok :] for one in asked] == alone


def test_answers_are_those_of_torch(packed_of: Any) -> None:
    checkpoint = packed_of()
    limits = EngineConfig(kv_tok=800, max_running=6, step_tok=50, budget=BUDGET)
    prompts = [tokens(90 + 7 * i, i) for i in range(6)]
    native = answers(NativeModel(checkpoint, limits, KINDS[0], 2), limits, prompts)
    assert native == answers(Llama(checkpoint, limits, keep=True), limits, prompts)


def test_scored_rows_pick_too_and_the_rows_before_them_do_not(packed_of: Any) -> None:
    """A text whose end alone is scored: the log-probabilities are those of choosing it token by token."""
    checkpoint, ids = packed_of(), tokens(300)
    limits = EngineConfig(kv_tok=2048, budget=BUDGET)
    engine = Engine(NativeModel(checkpoint, limits, KINDS[0], 2), limits)
    text = Request("text", 200, ids[:200], Sampling(100, logprobs=1, ignore_eos=True), TextStream(lambda _: ""))
    text.given = tuple(ids)
    engine.submit(text)
    deltas = []
    while engine.busy:
        deltas += engine.step()
    assert text.tokens == ids
    model, asked = model_of(checkpoint), request(ids[:200], PAGES)
    model.run(StepPlan((Segment(asked, 0, 199, False),)), [])
    for at, delta in zip(range(199, 299), deltas, strict=True):
        asked.tokens = ids[: at + 1]
        logits = model.run(StepPlan((Segment(asked, at, 1, True),)), [0]).logits[0]
        assert delta.logprob is not None
        assert delta.logprob.logprob == pytest.approx(float(logits.log_softmax(-1)[ids[at + 1]]), abs=1e-6)


@pytest.mark.parametrize("pages", [-1, 1, 3])
def test_budgets_that_are_none_are_refused(pages: int) -> None:
    with pytest.raises(EngineError, match="at least"):
        Budget(pages=pages)


def test_what_is_spared_is_said_in_the_patterns_units(checkpoint_of: Any) -> None:
    spec = checkpoint_of(**SHAPE, layers=3).spec
    config = EngineConfig(kv_tok=2048, budget=BUDGET)
    sizes = Sizes(spec, config, 0, 0)
    work = PageBudget().spared(sizes, Done(left_pages=10, scored_pages=32, unread_pages=6.0))
    assert (work.macs, work.bytes) == ((10 - 2) * 2 * 16 * 32 * 2, (6 - 2) * 2 * 16 * 32 * 4)
    assert PageBudget().why_dense(spec, config) is None
    assert "no text is longer" in str(PageBudget().why_dense(spec, replace(config, budget=Budget(pages=64))))
    assert "all layers" in str(PageBudget().why_dense(spec, replace(config, budget=Budget(pages=9, dense_layers=3))))
    assert PageBudget().why_dense(spec, EngineConfig()) == "there is no page budget"


def test_a_request_is_told_what_its_own_rows_left_out(packed_of: Any) -> None:
    """One long and one short in the same steps; what the long one left out is its own alone."""
    checkpoint = packed_of()
    limits = EngineConfig(kv_tok=2048, budget=BUDGET, draft_tok=0)
    account = WorkAccount(Sizes(checkpoint.spec, limits, 1, 1))
    model = model_of(checkpoint)
    logits_of(model, tokens(291), PAGES)
    long, short = request(tokens(290), PAGES), request(tokens(9), [0])
    for at in (289, 290):
        long.tokens = tokens(at + 1)
        plan = StepPlan((Segment(short, 0, 9, True), Segment(long, at, 1, True)))
        account.stepped(plan, model.run(plan, []).seen)
    pages, times = 19, 2 * 2  # two layers, two KV heads
    assert long.done.left_pages == long.done.unread_pages == 2 * (pages - 5) * times
    assert long.done.scored_pages == 2 * pages * times
    assert (short.done.left_pages, short.done.scored_pages, short.done.unread_pages) == (0, 0, 0.0)
    assert account.of(long)["page-budget"].macs > 0
    assert "page-budget" not in account.of(short)


def test_the_levers_say_that_it_is_approximate() -> None:
    assert EngineConfig(budget=BUDGET).levers["page-budget"] == "approximate"
    assert "page-budget" not in EngineConfig().levers
    assert np.all([kind == "equivalent" for kind in EngineConfig().levers.values()])


@pytest.mark.parametrize("tokens", ["100", "-16", "48"])
def test_the_command_line_takes_whole_pages(tokens: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--page-budget", tokens]) == 2
    said = capsys.readouterr().err
    assert (
        said
        == f"error[config]: a page budget of {tokens} tokens; it must be a multiple of 16 from 64 up, or 0 for all\n"
    )


def test_a_server_attends_to_what_it_was_told(serve: Any, tiny_native: Path) -> None:
    """The same question, of some 300 tokens, to a server with a budget and to one without."""
    told = []
    for options in ([], ["--page-budget", "64"], ["--page-budget", "64"]):
        with (
            serve(tiny_native, *options) as served,
            closing(HTTPConnection(served.url.removeprefix("http://"))) as line,
        ):
            body = {"model": "tiny", "prompt": "abc " * 80, "max_tokens": 2, "logprobs": 1, "temperature": 0}
            line.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            told.append(json.loads(line.getresponse().read())["choices"][0]["logprobs"]["token_logprobs"])
    assert told[1] == told[2] != told[0]


def test_a_gpu_attends_to_all_pages_and_says_so(tiny_folder: Path) -> None:
    with pytest.raises(EngineError, match="on a GPU all pages"):
        open_model(tiny_folder, EngineConfig(budget=BUDGET), torch.device("cuda"))
