"""Two systems' scores of the same texts."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.quality.likeness import Likeness, likeness
from tcabench.records.quality import Score, Token


def text(name: str, *probabilities: float, label: str = "t") -> Score:
    """A text whose tokens after the first are held at these probabilities; the rest goes to `u`."""
    rest = (Token(label, log(p), ((label, log(p)), ("u", log(1 - p)))) for p in probabilities)
    return Score(name, (Token("first", None), *rest))


def found(reference: list[Score], candidate: list[Score]) -> Likeness:
    like = likeness(reference, candidate)
    assert like is not None
    return like


def test_values_by_hand() -> None:
    like = found([text("a", 0.5, 0.8), text("b", 0.9)], [text("b", 0.6), text("a", 0.25, 0.8)])
    gaps = [log(0.5 / 0.25), 0.0, log(0.9 / 0.6)]
    kl = [0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75), 0.0, 0.9 * log(0.9 / 0.6) + 0.1 * log(0.1 / 0.4)]
    assert (like.texts, like.tokens, like.unlike, like.failed) == (2, 3, 0, 0)
    assert like.nll.mean == pytest.approx(sum(gaps) / 3)
    assert like.kl.mean == pytest.approx(sum(kl) / 3)
    assert like.perplexity == pytest.approx(exp(-(log(0.5) + log(0.8) + log(0.9)) / 3))
    assert like.same_best == pytest.approx(2 / 3)
    assert (like.logprob_max, like.logprob_mean) == pytest.approx((max(gaps), sum(gaps) / 3))


def test_the_same_scores_differ_by_nothing() -> None:
    same = [text(str(i), 0.3, 0.6) for i in range(12)]
    like = found(same, same)
    assert (like.nll.low95, like.nll.high95, like.kl.high95, like.same_best, like.logprob_max) == (0, 0, 0, 1, 0)


def test_intervals_lie_around_the_mean_and_within_each_other() -> None:
    ours, theirs = [text(str(i), 0.5) for i in range(30)], [text(str(i), 0.3 + 0.01 * i) for i in range(30)]
    nll = found(ours, theirs).nll
    assert nll.low95 < nll.low90 < nll.mean < nll.high90 < nll.high95
    gaps = [log(0.5 / (0.3 + 0.01 * i)) for i in range(30)]
    spread = (sum((gap - nll.mean) ** 2 for gap in gaps) / 30 / 30) ** 0.5
    assert (nll.high95 - nll.low95) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.05)


def test_whole_texts_are_drawn_and_not_tokens() -> None:
    """Tokens of one text go together: a hundred copies of one token say no more than one."""
    short = found([text(str(i), 0.5) for i in range(20)], [text(str(i), 0.4 + 0.01 * i) for i in range(20)])
    long = found(
        [text(str(i), *[0.5] * 100) for i in range(20)], [text(str(i), *[0.4 + 0.01 * i] * 100) for i in range(20)]
    )
    assert long.nll.low95 == pytest.approx(short.nll.low95)


def test_texts_cut_otherwise_or_not_scored_are_told() -> None:
    good, other = text("a", 0.5), text("b", 0.5, label="x")
    like = found([good, text("b", 0.5), text("c", 0.5)], [good, other, Score("c", error="HTTP 400")])
    assert (like.texts, like.unlike, like.failed) == (1, 1, 1)
    assert likeness([good], [Score("a", error="HTTP 400")]) is None
    assert likeness([Score("a", (Token("first", None),))], [Score("a", (Token("first", None),))]) is None


weights = st.lists(st.floats(0.01, 1), min_size=8, max_size=8)


@given(weights, weights, st.integers(1, 8))
def test_the_divergence_told_is_never_more_than_the_true_one(p: list[float], q: list[float], k: int) -> None:
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]

    def score(of: list[float]) -> Score:
        best = sorted(((str(i), log(x)) for i, x in enumerate(of)), key=lambda each: -each[1])[:k]
        return Score("a", (Token("first", None), Token("0", log(of[0]), tuple(best))))

    told = found([score(p)], [score(q)]).kl.mean
    true = sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    assert 0 <= told <= true + 1e-12
