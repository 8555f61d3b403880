"""From what two systems said to one word about them: pure, so that whoever has the answers comes to the same word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import expm1
from typing import Any

from tcabench.quality.agreement import Agreement, Fate, Parting, agreement, self_error
from tcabench.quality.likeness import Likeness, Spread, likeness
from tcabench.quality.paired import Paired, paired
from tcabench.quality.verdict import Found, stand
from tcabench.records import Status, Trace
from tcabench.records.quality import Reply, Spoken
from tcabench.units import decimal

CACHE_PROMPTS, SEEDS = 4, (1, 2)  # so many prompts are answered once for each seed, to find a cache
TOLD = 20  # partings written out; all are counted
MOST_CHARS = 200
KL_DECIMALS = 10  # of a divergence in nat per token


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found. `cached`: prompts that the candidate, unlike the reference, answered alike for two seeds; None
    where a sampled answer came back as an error. `right`: graded answers, where the prompts say how they are graded.
    `unscored`: why no text was scored, "" where texts were."""

    agreement: Agreement
    likeness: Likeness | None
    right: Paired | None
    cached: int | None
    unscored: str
    found: Found


def compared(reference: Spoken, candidate: Spoken, margin: float) -> Compared:
    """`margin`: the share by which perplexity may differ and still be called equivalent, declared before."""
    agreed = agreement(reference.greedy, candidate.greedy, self_error(reference.greedy, reference.again))
    like, cached = likeness(reference.scores, candidate.scores), cached_prompts(reference, candidate)
    unscored = "" if like else _why(reference) or _why(candidate) or "no text was cut alike"
    right = paired(reference.greedy, candidate.greedy)
    return Compared(agreed, like, right, cached, unscored, stand(agreed, like, margin, cached, right))


def cached_prompts(reference: Spoken, candidate: Spoken) -> int | None:
    """How many prompts the candidate answers alike at temperature 1 for two seeds where the reference does not; None
    where either answers one with an error."""
    ours, theirs = _alike(reference.sampled), _alike(candidate.sampled)
    if ours is None or theirs is None:
        return None
    return sum(other and not one for one, other in zip(ours, theirs, strict=True))


def _alike(sampled: Sequence[Sequence[Reply]]) -> list[bool] | None:
    if any(reply.error for seed in sampled for reply in seed):
        return None
    return [bool(a.text) and a.text == b.text for a, b in zip(*sampled, strict=True)]


def _why(spoken: Spoken) -> str:
    return next((f"{spoken.name}: {each.error}" for each in spoken.scores if each.error), "")


def metered_alike(candidate: Sequence[Reply], traces: Sequence[Trace]) -> tuple[int, int]:
    """(prompts, same): of the compared prompts, how many were also answered in the metered load, and for how many of
    those every metered text begins with the very answer that was compared (beyond an end, a load with pinned output
    goes on; every text begins with an empty answer, so only an empty one is the same as that)."""
    texts: dict[str, list[str]] = {}
    for trace in traces:
        if trace.status is Status.OK:
            texts.setdefault(trace.prompt_id, []).append(trace.text)
    met = [(reply.text, texts[reply.id]) for reply in candidate if not reply.error and reply.id in texts]
    return len(met), sum(
        all(text.startswith(said) and bool(said or not text) for text in metered) for said, metered in met
    )


def found_document(found: Compared, metered: tuple[int, int] | None) -> dict[str, Any]:
    """What was found, JSON-ready, every number a decimal string. `metered`: see `metered_alike`; None where the load
    was sampled, so that the texts cannot be the same."""
    agreed = found.agreement
    return {
        "verdict": found.found.standing.value,
        "why": found.found.why,
        "answers": str(agreed.compared),
        "same": str(agreed.same),
        "units": str(agreed.units),
        "is_tokens": agreed.is_tokens,
        "flip_bound": _maybe(agreed.flip_bound),
        "self_error": decimal(agreed.self_error),
        "fates": {fate.value: str(agreed.count(fate)) for fate in Fate},
        "partings": [_parting(each) for each in agreed.partings[:TOLD]],
        "failed": list(agreed.failed),
        "cached": None if found.cached is None else str(found.cached),
        "likeness": _likeness(found.likeness) if found.likeness else {"why": found.unscored[:MOST_CHARS]},
        "graded": _graded(found.right) if found.right else None,
        "metered": None if metered is None else {"prompts": str(metered[0]), "same": str(metered[1])},
    }


def _maybe(number: float | None) -> str | None:
    return None if number is None else decimal(number)


def _parting(parting: Parting) -> dict[str, Any]:
    return {
        "prompt": parting.prompt_id, "after": str(parting.at), "fate": parting.fate.value,
        "margin": _maybe(parting.margin), "reference": parting.reference[:MOST_CHARS],
        "candidate": parting.candidate[:MOST_CHARS],
    }  # fmt: skip


def _likeness(like: Likeness) -> dict[str, Any]:
    counts = {name: str(getattr(like, name)) for name in ("texts", "tokens", "unlike", "failed")}
    numbers = {
        name: decimal(getattr(like, name)) for name in ("perplexity", "same_best", "logprob_mean", "logprob_max")
    }
    spreads = {
        "perplexity_rel": _spread(like.nll, expm1),
        "nll": _spread(like.nll),
        "kl": _spread(like.kl, _to_quantum),
    }
    return {**counts, **numbers, **spreads}


def _to_quantum(divergence: float) -> float:
    """A sum of terms that nearly cancel has fewer true digits than its size lets think: what is below says nothing."""
    return round(divergence, KL_DECIMALS)


def _spread(spread: Spread, told: Callable[[float], float] = float) -> dict[str, str]:
    return {name: decimal(told(getattr(spread, name))) for name in ("mean", "low90", "high90", "low95", "high95")}


def _graded(right: Paired) -> dict[str, str]:
    names = ("graded", "reference_right", "candidate_right", "lost", "gained")
    return {**{name: str(getattr(right, name)) for name in names}, "p_value": decimal(right.p_value)}
