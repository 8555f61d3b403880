"""How alike two systems hold the same texts: perplexity, divergence and best tokens, text by text.

Both score the same texts, so every token is judged after the same words. Intervals resample whole texts, never tokens:
the tokens of a text are not independent of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, log

from tcabench.records.quality import Score, Token

DRAWS, SEED = 4_000, 20_260_101
LEAST_TEXTS = 10  # below so many the resampled interval is too narrow to be trusted


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean per token, and the intervals that hold it with 90 and 95 % confidence."""

    mean: float
    low90: float
    high90: float
    low95: float
    high95: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """Over `tokens` tokens of `texts` texts. `nll`: the candidate's negative log-likelihood less the reference's, in
    nat per token; `kl`: the Kullback-Leibler divergence of the candidate from the reference, at least (see `_kl`);
    `same_best`: share of tokens at which both hold the same token for the best; `logprob_max`, `logprob_mean`:
    |d log-probability| of the text's own tokens. `unlike`: texts that the two cut into different tokens, left out;
    `failed`: texts that one of them did not score."""

    texts: int
    tokens: int
    perplexity: float
    nll: Spread
    kl: Spread
    same_best: float
    logprob_max: float
    logprob_mean: float
    unlike: int
    failed: int

    @property
    def perplexity_rel(self) -> float:
        """The candidate's perplexity over the reference's, less one."""
        return exp(self.nll.mean) - 1


@dataclass(frozen=True, slots=True)
class _Text:
    nll: float
    kl: float
    tokens: int
    same_best: int
    largest: float
    total: float
    reference_nll: float


def likeness(reference: Sequence[Score], candidate: Sequence[Score]) -> Likeness | None:
    """The candidate's scores against the reference's; None where no text was scored by both and cut alike."""
    other = {score.id: score for score in candidate}
    pairs = [(score, other[score.id]) for score in reference if score.id in other]
    good = [(one, two) for one, two in pairs if not one.error and not two.error]
    alike = [(one, two) for one, two in good if _labels(one) == _labels(two) and len(one.tokens) > 1]
    texts = [_text(one, two) for one, two in alike]
    if not texts:
        return None
    tokens = sum(text.tokens for text in texts)
    return Likeness(
        texts=len(texts), tokens=tokens, perplexity=exp(fsum(text.reference_nll for text in texts) / tokens),
        nll=_spread([text.nll for text in texts], [text.tokens for text in texts]),
        kl=_spread([text.kl for text in texts], [text.tokens for text in texts]),
        same_best=sum(text.same_best for text in texts) / tokens,
        logprob_max=max(text.largest for text in texts), logprob_mean=fsum(text.total for text in texts) / tokens,
        unlike=len(good) - len(alike), failed=len(pairs) - len(good),
    )  # fmt: skip


def _labels(score: Score) -> list[str]:
    return [token.label for token in score.tokens]


def _text(reference: Score, candidate: Score) -> _Text:
    """The sums over one text's tokens, the first left out: nothing comes before it."""
    pairs = [
        (one, other, one.logprob - other.logprob)
        for one, other in zip(reference.tokens, candidate.tokens, strict=True)
        if one.logprob is not None and other.logprob is not None
    ]
    gaps = [gap for _, _, gap in pairs]
    return _Text(
        nll=fsum(gaps), kl=fsum(_kl(one, other) for one, other, _ in pairs), tokens=len(pairs),
        same_best=sum(_best(one) == _best(other) for one, other, _ in pairs),
        largest=max(map(abs, gaps), default=0.0), total=fsum(map(abs, gaps)),
        reference_nll=-fsum(one.logprob or 0.0 for one, _, _ in pairs),
    )  # fmt: skip


def _best(token: Token) -> str:
    """The likeliest token, by its label."""
    return max(_known(token).items(), key=lambda each: each[1])[0]


def _known(token: Token) -> dict[str, float]:
    return dict(token.top) | ({} if token.logprob is None else {token.label: token.logprob})


def _kl(reference: Token, candidate: Token) -> float:
    """sum p * ln(p / q) in nat over the tokens that both tell of, all others taken as one. Joining outcomes can only
    lower a divergence, so the true one is at least this. Source: Cover and Thomas, Elements of Information Theory,
    2nd ed., section 2.7 (log sum inequality)."""
    ours, theirs = _known(reference), _known(candidate)
    shared = sorted(ours.keys() & theirs.keys())  # in one order, for sums that come out alike wherever they are made
    p, q = [exp(ours[label]) for label in shared], [exp(theirs[label]) for label in shared]
    rest_p, rest_q = 1 - fsum(p), 1 - fsum(q)
    if rest_p > 0 and rest_q > 0:
        p, q = [*p, rest_p], [*q, rest_q]
    return max(fsum(a * log(a / b) for a, b in zip(p, q, strict=True) if a > 0 and b > 0), 0.0)


def _spread(sums: Sequence[float], tokens: Sequence[int]) -> Spread:
    """The mean per token, and its percentile intervals when whole texts are drawn again, with replacement.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13 (blocks are texts)."""
    import numpy as np

    draws = np.random.default_rng(SEED).integers(0, len(sums), (DRAWS, len(sums))).tolist()
    means = [fsum(sums[i] for i in drawn) / max(sum(tokens[i] for i in drawn), 1) for drawn in draws]
    low95, low90, high90, high95 = (float(value) for value in np.quantile(means, (0.025, 0.05, 0.95, 0.975)))
    return Spread(fsum(sums) / max(sum(tokens), 1), low90, high90, low95, high95)
