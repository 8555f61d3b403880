"""Choosing tokens: the right distribution, and the same draw whoever else is in the batch."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from reference_engine.engine import Engine
from reference_engine.model.dense import dense_logits
from reference_engine.model.load import Checkpoint
from reference_engine.request import Delta, Request
from reference_engine.sampling import draw, logprobs

EngineOf = Callable[..., Engine]
RequestOf = Callable[..., Request]


def run(engine: Engine, *requests: Request) -> list[Delta]:
    for request in requests:
        engine.submit(request)
    deltas = []
    while engine.busy:
        deltas += engine.step()
    return deltas


@pytest.mark.parametrize("config", [{}, {"kv_tok": 96, "page_tok": 4}], ids=["roomy", "preempting"])
def test_a_seed_gives_the_same_answer_alone_and_in_any_batch(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, config: dict[str, Any]
) -> None:
    wanted = {"max_tok": 24, "temperature": 1.0, "top_p": 0.9, "seed": 1234}
    alone = request_of([1, 2, 3], "alone", **wanted)
    run(engine_of(tiny), alone)
    crowd = [request_of([i] * 9, str(i), max_tok=24, temperature=0.7, seed=i) for i in range(4)]
    together = request_of([1, 2, 3], "together", **wanted)
    engine = engine_of(tiny, **config)
    run(engine, *crowd, together)
    assert together.tokens == alone.tokens
    assert (together.preempted > 0) == bool(config)


def test_another_seed_gives_another_answer(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    requests = [request_of([1, 2, 3], str(seed), max_tok=24, temperature=1.0, seed=seed) for seed in range(8)]
    run(engine_of(tiny), *requests)
    assert len({tuple(request.tokens) for request in requests}) == 8


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.5, 0.3, 0.15, 0.05]),
        (1.0, 0.9, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        (1.0, 0.5, [1, 0, 0, 0]),
        (1.0, 0.51, [0.5 / 0.8, 0.3 / 0.8, 0, 0]),
        (0.5, 1.0, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
    ],
)
def test_draws_follow_the_distribution(
    request_of: RequestOf, temperature: float, top_p: float, expected: list[float]
) -> None:
    n = 3000
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    asked = [request_of([0], temperature=temperature, top_p=top_p, seed=seed) for seed in range(n)]
    counts = Counter(draw(logits.expand(n, -1), asked))
    for token, share in zip([1, 3, 0, 2], expected, strict=True):
        spread = math.sqrt(max(share * (1 - share), 1e-12) / n)
        assert abs(counts[token] / n - share) <= 5 * spread


def test_greedy_takes_the_best_row_by_row(request_of: RequestOf) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    assert draw(logits, [request_of([0]), request_of([0])]) == [1, 0]


def test_logprobs_are_the_dense_models(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    request = request_of([7, 8, 9], max_tok=10, temperature=1.0, seed=5, logprobs=3)
    reports = [delta.logprob for delta in run(engine_of(tiny), request)]
    dense = dense_logits(tiny, request.tokens[:-1])[2:].log_softmax(-1)
    for row, token, report in zip(dense, request.tokens[3:], reports, strict=True):
        assert report is not None
        assert report.token == token
        assert report.logprob == pytest.approx(float(row[token]), abs=1e-4)
        assert [logprob for _, logprob in report.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


def test_log_probabilities_sum_to_one(request_of: RequestOf) -> None:
    (report,) = logprobs(torch.randn(1, 50), [request_of([0], logprobs=50)], [4])
    assert report is not None
    assert math.fsum(math.exp(logprob) for _, logprob in report.top) == pytest.approx(1, abs=1e-6)


def test_no_report_unless_asked(request_of: RequestOf) -> None:
    assert logprobs(torch.randn(1, 5), [request_of([0])], [4]) == [None]


def test_the_choices_of_a_seed_are_many_and_each_is_the_same_again(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf
) -> None:
    def answers() -> list[tuple[int, ...]]:
        wanted = {"max_tok": 24, "temperature": 1.0, "seed": 7}
        requests = [request_of([1, 2, 3], str(choice), **wanted, choice=choice) for choice in range(16)]
        run(engine_of(tiny), *requests)
        return [tuple(request.tokens) for request in requests]

    first = answers()
    assert len(set(first)) == 16
    assert answers() == first


def test_bias_moves_the_choice_and_not_the_report(request_of: RequestOf) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    plain, biased = request_of([0], logprobs=3), request_of([0], logprobs=3, logit_bias={2: 1.5, 0: -100})
    assert draw(logits, [plain]) == [1]
    assert draw(logits, [biased]) == [2]
    assert [report.top for report in logprobs(logits, [biased], [2]) if report] == [
        report.top for report in logprobs(logits, [plain], [2]) if report
    ]
    assert logits.tolist() == [[0.0, 2.0, 1.0]]


def test_a_biased_draw_follows_the_biased_distribution(request_of: RequestOf) -> None:
    n, shares = 3000, [0.15, 0.5, 0.05, 0.3]
    logits = torch.tensor([shares]).log()
    factor = 4.0
    bias = {2: math.log(factor), 1: -100.0}
    asked = [request_of([0], temperature=1.0, seed=seed, logit_bias=bias) for seed in range(n)]
    counts = Counter(draw(logits.expand(n, -1), asked))
    whole = shares[0] + shares[2] * factor + shares[3]
    for token, share in ((0, shares[0] / whole), (1, 0.0), (2, shares[2] * factor / whole), (3, shares[3] / whole)):
        assert abs(counts[token] / n - share) <= 5 * math.sqrt(max(share * (1 - share), 1e-12) / n)


@pytest.mark.parametrize(
    ("penalties", "output", "expected"),
    [
        ({"frequency_penalty": 1.0}, [], 1),
        ({"frequency_penalty": 0.6}, [1], 1),
        ({"frequency_penalty": 0.6}, [1, 1], 2),  # 3 - 2 * 0.6 < 2
        ({"presence_penalty": 0.6}, [1, 1], 1),
        ({"presence_penalty": 1.1}, [1, 1], 2),
        ({"presence_penalty": 1.1, "frequency_penalty": 0.1}, [1, 2], 1),
        ({"presence_penalty": -2.0}, [0], 1),
        ({"frequency_penalty": -2.0}, [0, 0], 0),
    ],
)
def test_penalties_count_the_answers_own_tokens(
    request_of: RequestOf, penalties: dict[str, float], output: list[int], expected: int
) -> None:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, with the prompt's tokens left out of c."""
    request = request_of([1, 1, 1], **penalties)
    request.tokens += output
    assert draw(torch.tensor([[0.0, 3.0, 2.0]]), [request]) == [expected]


def test_only_what_the_model_alone_decides_is_plain(request_of: RequestOf) -> None:
    assert request_of([0]).sampling.is_plain
    for changes in (
        {"temperature": 0.5},
        {"logprobs": 0},
        {"logit_bias": {1: 0.5}},
        {"frequency_penalty": 0.5},
        {"presence_penalty": -0.5},
        {"constraint": object()},
    ):
        assert not request_of([0], **changes).sampling.is_plain


def test_a_shaped_row_leaves_its_neighbours_as_they_are(request_of: RequestOf) -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    plain, drawn = request_of([0]), request_of([0], temperature=1.0, seed=3)
    alone = draw(logits[:1], [plain]) + draw(logits[2:], [drawn])
    first, _, last = draw(logits, [plain, request_of([0], logit_bias={7: 100}), drawn])
    assert [first, last] == alone
