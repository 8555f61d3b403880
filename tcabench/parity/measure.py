"""Asks both systems the same questions and hands what they say to `quality`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcabench.errors import NotMeasured
from tcabench.load.ask import Asking, Tick, ask, score
from tcabench.parity.systems import System
from tcabench.quality.compared import CACHE_PROMPTS, SEEDS, Compared, compared
from tcabench.quality.paired import graded
from tcabench.records import Prompt
from tcabench.records.quality import Reply, Score, Spoken

TOP = 5  # alternatives told with each token: what every API that tells any at all allows
AGAIN = 8  # prompts of which the reference's own error is taken
CACHE_TOK = 32  # of an answer sampled with different seeds: so many tokens do not come out alike by chance
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
    """What was planned, what both said, and what was found in it."""

    planned: PlannedParity
    reference: Spoken
    candidate: Spoken
    compared: Compared


def measure(reference: System, candidate: System, planned: PlannedParity, stage: Stage) -> Parity:
    """`stage` is told what is asked next and how many requests that is, and gives whom to tick.

    raises: NotMeasured where the reference fails: nothing can be compared with it.
    """
    once = answers(reference, planned, planned.prompts, 1, stage)
    if failed := [reply for reply in once if reply.error]:
        raise NotMeasured(f"the reference {reference.name} does not answer: {failed[0].error}", "parity-reference")
    again = answers(reference, planned, planned.prompts[:AGAIN], planned.concurrency, stage)
    theirs = answers(candidate, planned, planned.prompts, planned.concurrency, stage)
    scored = [scores(system, planned, once, stage) for system in (reference, candidate)]
    drawn = [sampled(system, planned, stage) for system in (reference, candidate)]
    ours = Spoken(reference.name, graded(planned.prompts, once), again, drawn[0], scored[0])
    others = Spoken(candidate.name, graded(planned.prompts, theirs), (), drawn[1], scored[1])
    return Parity(planned, ours, others, compared(ours, others, planned.margin))


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


def sampled(system: System, planned: PlannedParity, stage: Stage) -> tuple[tuple[Reply, ...], ...]:
    """Answers to a few prompts at temperature 1, once for each seed."""
    prompts = planned.prompts[:CACHE_PROMPTS]
    tick = stage(f"{system.name}: two seeds", len(SEEDS) * len(prompts))
    return tuple(ask(system.endpoint, prompts, Asking(CACHE_TOK, 1.0, seed, None), 1, tick) for seed in SEEDS)
