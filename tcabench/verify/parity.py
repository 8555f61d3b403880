"""The comparison with a reference, derived from what both said; and A-27: is it the one that is stated?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import read_json
from tcabench.evidence.parity_table import PARITY, PARITY_TABLE, read_spoken
from tcabench.quality.compared import CACHE_PROMPTS, SEEDS, compared, found_document, metered_alike
from tcabench.records import Trace
from tcabench.records.quality import Spoken

Pair = tuple[Spoken, Spoken]


def read_parity(members: Mapping[str, bytes]) -> tuple[dict[str, Any], Pair | None]:
    """`parity.json` ({} where none was planned) and what both said (None where nothing was). raises: NotVerified."""
    if PARITY not in members:
        return {}, None
    document = read_json(members[PARITY], PARITY)
    if not isinstance(document, dict):
        raise NotVerified(f"{PARITY}: not an object", kind="malformed")
    if PARITY_TABLE not in members:
        return document, None
    names = (document["reference"]["name"], document["candidate"]["name"])
    return document, read_spoken(members[PARITY_TABLE], *names)


def found_in(
    parity: Mapping[str, Any], spoken: Pair | None, traces: Sequence[Trace], temperature: float
) -> dict[str, Any] | None:
    """What follows from what both said, None where they said nothing. The run and its verifier ask it the same."""
    if spoken is None:
        return None
    found = compared(*spoken, parity["planned"]["perplexity_margin"])
    return found_document(found, metered_alike(spoken[1].greedy, traces) if temperature == 0 else None)


def misjudged(
    plan: Mapping[str, Any], parity: Mapping[str, Any], spoken: Pair | None, found: Mapping[str, Any] | None
) -> Iterator[str]:
    """A-27: everything in which the comparison as it is stated is not the one that was planned, or that follows."""
    planned = plan.get("reference")
    if planned is None or not parity:
        if bool(planned) != bool(parity):
            yield "a comparison with a reference is planned and missing, or there and not planned"
        return
    if parity["reference"]["name"] != planned["system"]:
        yield "the reference is not the one that was planned"
    stated = parity.get("found")
    if spoken is None:
        if stated is not None or not parity.get("why"):
            yield "a comparison is stated without what the two said, or none without the reason"
        return
    yield from _unlike_plan(planned, parity["planned"], spoken)
    if stated != found:
        said, recomputed = (one.get("verdict") if isinstance(one, Mapping) else None for one in (stated, found))
        yield f"the comparison states {said}, and other figures or words than what both said gives: {recomputed}"


def _unlike_plan(planned: Mapping[str, Any], stated: Mapping[str, Any], spoken: Pair) -> Iterator[str]:
    """Margin, concurrency and prompts as the run's plan declares them, before anything was asked."""
    for name in ("perplexity_margin", "concurrency"):
        if stated[name] != planned[name]:
            yield f"{name} is {stated[name]}, and was planned as {planned[name]}"
    asked = stated["prompts"]
    if len(asked) != planned["prompts"] or len(set(asked)) != len(asked):
        yield f"{len(set(asked))} prompts, and {planned['prompts']} were planned"
    if any([reply.id for reply in one.greedy] != asked for one in spoken):
        yield "answers to other prompts than those that are listed, or not to all of them"
    if any(reply.error for reply in spoken[0].greedy):
        yield "the reference failed on a prompt: with that, nothing is compared"
    if any([score.id for score in one.scores] != asked for one in spoken):
        yield "scores of other texts than the answers to the prompts, or not of all of them"
    drawn = [[reply.id for reply in draw] for one in spoken for draw in one.sampled]
    if any(len(one.sampled) != len(SEEDS) for one in spoken) or any(ids != asked[:CACHE_PROMPTS] for ids in drawn):
        yield "sampled answers to other prompts than the first, or not for every seed"
