"""One word for what was found, and why. The margin is declared before anything is asked."""

from dataclasses import dataclass
from enum import StrEnum
from math import expm1, log1p

from tcabench.quality.agreement import Agreement, Fate
from tcabench.quality.likeness import LEAST_TEXTS, Likeness
from tcabench.quality.paired import Paired

LEAST_CACHED = 2  # one sampled answer may come out alike for two seeds by chance
MARGINS = 2  # the scored texts need not hold the largest difference that there is


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


def stand(
    agreed: Agreement, like: Likeness | None, margin: float, cached: int | None, right: Paired | None = None
) -> Found:
    """The verdict. `margin`: the share by which perplexity may differ; `cached`: prompts whose sampled answers came out
    the same for different seeds, though the reference's did not, None where that could not be seen; `right`: graded
    answers of both, where there are any.

    Source of the test: Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657: equivalent at 5 % where the 90 % interval
    lies within the margin.
    """
    if not agreed.units:
        return Found(Standing.INCONCLUSIVE, "the candidate answered no prompt, or the reference's answers are empty")
    if worse := _worse(agreed, right):
        return worse
    if cached is None:
        why = "sampled answers came back as errors, so whether answers come from a cache could not be seen"
        return Found(Standing.INCONCLUSIVE, why)
    if cached >= LEAST_CACHED:
        return Found(
            Standing.INCONCLUSIVE,
            f"{cached} prompts were answered with the same sampled text whatever the seed: answers seem to come from a "
            "cache, so what was compared need not be what the model computes",
        )
    if agreed.failed:
        return Found(Standing.INCONCLUSIVE, f"{len(agreed.failed)} prompts were answered with an error")
    if not agreed.partings:
        return _identical(agreed, like, margin)
    if like is None:
        return Found(Standing.INCONCLUSIVE, "answers differ, and no text was scored by both")
    scored = _by_perplexity(like, margin)
    doubt = _doubt(agreed, like) if scored.standing is Standing.EQUIVALENT else ""
    return Found(Standing.INCONCLUSIVE, doubt) if doubt else scored


def _worse(agreed: Agreement, right: Paired | None) -> Found | None:
    """What makes a candidate worse whatever its perplexity."""
    if ended := agreed.count(Fate.ENDED):
        return Found(Standing.WORSE, f"{ended} of {agreed.compared} answers end before the reference's do")
    if right is not None and right.is_worse:
        return Found(
            Standing.WORSE,
            f"{right.lost} answers that the reference has right are wrong and {right.gained} the other way round "
            f"(McNemar, p = {right.p_value:.2g})",
        )
    return None


def _doubt(agreed: Agreement, like: Likeness) -> str:
    """Why scores that fit do not speak for the answers: "" where they do. A candidate whose scores differ by at most d
    can part only where the reference's margin is below 2 d; what parts elsewhere was not made by what was scored."""
    if like.failed or like.unlike:
        return (
            f"{like.failed} texts were not scored and {like.unlike} were cut otherwise: the rest does not speak for all"
        )
    faults = [parting for parting in agreed.partings if parting.fate is Fate.FAULT]
    most = MARGINS * 2 * max(like.logprob_max, agreed.self_error)
    strange = sum(parting.margin is None or parting.margin > most for parting in faults)
    if strange:
        return (
            f"the scores fit, but {strange} answers part where such scores cannot: chat is answered by something else"
        )
    if agreed.count(Fate.UNKNOWN) > agreed.compared / 2:
        return "the scores fit, but most answers part where the reference tells nothing"
    return ""


def _identical(agreed: Agreement, like: Likeness | None, margin: float) -> Found:
    scored = None if like is None else _by_perplexity(like, margin)
    if scored is not None and scored.standing is Standing.WORSE:
        return Found(Standing.INCONCLUSIVE, f"every answer is the same, and yet {scored.why}")
    why = (
        f"all {agreed.units:,} {'tokens' if agreed.is_tokens else 'characters'} of {agreed.compared} answers are equal"
    )
    if agreed.flip_bound is not None:
        why += f": with 95 % confidence a share of less than {agreed.flip_bound:.2g} differs on prompts of this kind"
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
