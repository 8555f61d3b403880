"""Asks both systems the same questions and hands what they say to `quality`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcabench.errors import NotMeasured
from tcabench.load.ask import Asking, Tick, ask, score
from tcabench.parity.systems import System
from tcabench.quality.agreement import Agreement, agreement, self_error
from tcabench.quality.likeness import Likeness, likeness
from tcabench.quality.paired import Paired, paired
from tcabench.quality.verdict import Found, stand
from tcabench.records import Prompt
from tcabench.records.quality import Reply, Score

TOP = 5  # alternatives told with each token: what every API that tells any at all allows
AGAIN = 8  # prompts of which the reference's own error is taken
CACHE_PROMPTS, CACHE_TOK = 4, 32  # sampled twice with different seeds: so many tokens do not come out alike by chance
Stage = Callable[[str, int], Tick]


@dataclass(frozen=True, slots=True)
class PlannedParity:
    """What is decided before anything is asked. `max_tok` None: as long as each prompt says; `margin`: share by which
    perplexity may differ and still be called equivalent; `concurrency` requests are in flight at a time."""

    prompts: tuple[Prompt, ...]
    max_tok: int | None
    margin: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found. `cached`: prompts that the candidate, unlike the reference, answered alike for two seeds; None
    where a sampled answer came back as an error. `right`: graded answers, where the prompts say how they are graded.
    `unscored`: why no text was scored, "" where texts were."""

    planned: PlannedParity
    agreement: Agreement
    likeness: Likeness | None
    right: Paired | None
    cached: int | None
    unscored: str
    found: Found


def measure(reference: System, candidate: System, planned: PlannedParity, stage: Stage) -> Parity:
    """`stage` is told what is asked next and how many requests that is, and gives whom to tick.

    raises: NotMeasured where the reference fails: nothing can be compared with it.
    """
    once = answers(reference, planned, planned.prompts, 1, stage)
    if failed := [reply for reply in once if reply.error]:
        raise NotMeasured(f"the reference {reference.name} does not answer: {failed[0].error}", "parity-reference")
    again = answers(reference, planned, planned.prompts[:AGAIN], planned.concurrency, stage)
    theirs = answers(candidate, planned, planned.prompts, planned.concurrency, stage)
    agreed = agreement(once, theirs, self_error(once, again))
    scored = [scores(system, planned, once, stage) for system in (reference, candidate)]
    like, cached = likeness(*scored), cached_prompts(reference, candidate, planned, stage)
    unscored = "" if like else _why(reference, scored[0]) or _why(candidate, scored[1]) or "no text was cut alike"
    right = paired(planned.prompts, once, theirs)
    found = stand(agreed, like, planned.margin, cached, right)
    return Parity(planned, agreed, like, right, cached, unscored, found)


def answers(
    system: System, planned: PlannedParity, prompts: Sequence[Prompt], concurrency: int, stage: Stage
) -> tuple[Reply, ...]:
    """Greedy answers to `prompts`."""
    tick = stage(f"{system.name}: greedy answers", len(prompts))
    return ask(system.endpoint, prompts, Asking(planned.max_tok, top=TOP), concurrency, tick)


def scores(system: System, planned: PlannedParity, replies: Sequence[Reply], stage: Stage) -> tuple[Score, ...]:
    """The reference's own answers, each after its prompt as plain text, scored by `system`."""
    said = {reply.id: reply.text for reply in replies}
    texts = [(p.id, "\n\n".join((*(m.content for m in p.messages), said[p.id]))) for p in planned.prompts]
    return score(system.endpoint, texts, TOP, planned.concurrency, stage(f"{system.name}: scores", len(texts)))


def cached_prompts(reference: System, candidate: System, planned: PlannedParity, stage: Stage) -> int | None:
    """How many prompts the candidate answers alike at temperature 1 for two seeds where the reference does not; None
    where either answers one with an error."""
    prompts = planned.prompts[:CACHE_PROMPTS]
    ours, theirs = (_alike(system, prompts, stage) for system in (reference, candidate))
    if ours is None or theirs is None:
        return None
    return sum(other and not one for one, other in zip(ours, theirs, strict=True))


def _alike(system: System, prompts: Sequence[Prompt], stage: Stage) -> list[bool] | None:
    tick = stage(f"{system.name}: two seeds", 2 * len(prompts))
    one, two = (ask(system.endpoint, prompts, Asking(CACHE_TOK, 1.0, seed, None), 1, tick) for seed in (1, 2))
    if any(reply.error for reply in (*one, *two)):
        return None
    return [bool(a.text) and a.text == b.text for a, b in zip(one, two, strict=True)]


def _why(system: System, scored: Sequence[Score]) -> str:
    errors = [each.error for each in scored if each.error]
    return f"{system.name}: {errors[0]}" if errors else ""
