"""One word for what was found, and why. The margin is declared before anything is asked."""

from dataclasses import dataclass
from enum import StrEnum
from math import expm1, log1p

from tcabench.quality.agreement import Agreement, Fate
from tcabench.quality.likeness import LEAST_TEXTS, Likeness
from tcabench.quality.paired import Paired


class Standing(StrEnum):
    """IDENTICAL: every token equal. EQUIVALENT: perplexity within the margin, by two one-sided tests at 5 %. WORSE:
    beyond it, or fewer right answers, or answers cut short. INCONCLUSIVE: none of these could be shown."""

    IDENTICAL = "IDENTICAL"
    EQUIVALENT = "EQUIVALENT"
    WORSE = "WORSE"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Found:
    """The verdict and the sentence that goes with it."""

    standing: Standing
    why: str


def stand(agreed: Agreement, like: Likeness | None, margin: float, cached: int, right: Paired | None = None) -> Found:
    """The verdict. `margin`: the share by which perplexity may differ; `cached`: prompts whose sampled answers came out
    the same for different seeds, though the reference's did not; `right`: graded answers of both, where there are any.

    Source of the test: Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657: equivalent at 5 % where the 90 % interval
    lies within the margin.
    """
    if not agreed.compared:
        return Found(Standing.INCONCLUSIVE, "the candidate answered no prompt")
    if cached:
        return Found(
            Standing.INCONCLUSIVE,
            f"{cached} prompts were answered with the same sampled text whatever the seed: answers seem to come from a "
            "cache, so what was compared need not be what the model computes",
        )
    if agreed.count(Fate.ENDED):
        ended = agreed.count(Fate.ENDED)
        return Found(Standing.WORSE, f"{ended} of {agreed.compared} answers end before the reference's do")
    if agreed.failed:
        return Found(Standing.INCONCLUSIVE, f"{len(agreed.failed)} prompts were answered with an error")
    if right is not None and right.is_worse:
        return Found(
            Standing.WORSE,
            f"{right.lost} answers that the reference has right are wrong and {right.gained} the other way round "
            f"(McNemar, p = {right.p_value:.2g})",
        )
    scored = None if like is None else _by_perplexity(like, margin)
    if agreed.partings:
        return scored or Found(Standing.INCONCLUSIVE, "answers differ, and no text was scored by both")
    if scored is not None and scored.standing is Standing.WORSE:
        return Found(Standing.INCONCLUSIVE, f"every answer is the same, and yet {scored.why}")
    return _identical(agreed, like)


def _identical(agreed: Agreement, like: Likeness | None) -> Found:
    unit = "tokens" if agreed.is_tokens else "characters"
    why = (
        f"all {agreed.units:,} {unit} of {agreed.compared} answers are equal: with 95 % confidence fewer than "
        f"{agreed.flip_bound or 1:.2g} of them differ on prompts of this kind"
    )
    return Found(Standing.IDENTICAL, why if like is not None else f"{why}; no text was scored by both")


def _by_perplexity(like: Likeness, margin: float) -> Found:
    low, high = like.nll.low90, like.nll.high90
    between = f"{100 * expm1(low):+.2g} to {100 * expm1(high):+.2g} %"
    said = f"perplexity differs by {between} (90 % interval, {like.texts} texts)"
    if like.texts < LEAST_TEXTS:
        return Found(Standing.INCONCLUSIVE, f"{said}; fewer than {LEAST_TEXTS} texts decide nothing")
    if -log1p(margin) <= low and high <= log1p(margin):
        return Found(Standing.EQUIVALENT, f"{said}, within the declared {100 * margin:g} %")
    if low > log1p(margin):
        return Found(Standing.WORSE, f"{said}, beyond the declared {100 * margin:g} %")
    if high < -log1p(margin):
        return Found(Standing.INCONCLUSIVE, f"{said}: better by more than the margin, so another model")
    return Found(Standing.INCONCLUSIVE, f"{said}, which neither fits the declared {100 * margin:g} % nor leaves it")
