"""Efficiency is worth what the answers are: the same questions to the metered system and to a reference."""

from collections.abc import Iterator, Mapping
from typing import Any

from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, number

FOUND = "parity"  # where the numbers stand, beside those of the result
MARKS = {"IDENTICAL": "pass", "EQUIVALENT": "pass", "WORSE": "fail", "INCONCLUSIVE": "open"}
NAMES = {"dense": "float32 dense", "bundled": "the bundled engine as it comes"}
FATES = (
    ("tie", "ties: the reference held both tokens for equally good, within its own error"),
    ("fault", "faults: the reference held its own token for better"),
    ("ended early", "ended before the reference's answer does"),
    ("unknown", "parted where the reference tells no log-probabilities"),
)


def build(facts: Facts) -> dict[str, Any]:
    parity = facts.record.parity
    found = parity.get("found")
    return {
        "planned": bool(parity),
        "beside": beside(parity) if found else "",
        "why": str(parity.get("why", "") if not found else found["why"]),
        "word": found["verdict"] if found else "",
        "mark": MARKS.get(found["verdict"], "none") if found else "none",
        "declared": declared(facts) if found else [],
        "rows": [*greedy(facts), *scored(facts), *seeds(facts), *right(facts)] if found else [],
        "fates": [(words, number(facts, f"{FOUND}/fates/{fate}", "")) for fate, words in FATES] if found else [],
        "partings": [parting(facts, i) for i in range(len(found["partings"]))] if found else [],
        "parted": int(found["answers"]) - int(found["same"]) if found else 0,
        "untested": list(untested(facts)) if found else [],
    }


def headline(parity: Mapping[str, Any]) -> str:
    """What one may say beside the tokens per kWh, in one line."""
    if not parity:
        return "not compared with a reference"
    found = parity.get("found")
    if not found:
        return f"not compared with {named(parity)}: {parity.get('why') or 'no reason is given'}"
    return f"{found['verdict']} {beside(parity)}"


def beside(parity: Mapping[str, Any]) -> str:
    """What follows the verdict: the reference, and on how much it rests."""
    found = parity["found"]
    unit = "tokens" if found["is_tokens"] else "characters"
    link = {"IDENTICAL": "to", "EQUIVALENT": "to", "WORSE": "than"}.get(found["verdict"], "against")
    return f"{link} {named(parity)} on {int(found['units']):,} {unit} of {found['answers']} prompts"


def named(parity: Mapping[str, Any]) -> str:
    """The reference in words."""
    name = str(parity["reference"]["name"])
    return NAMES.get(name, name)


def declared(facts: Facts) -> list[tuple[str, str]]:
    """What was decided before the first request."""
    parity, workload = facts.record.parity, facts.record.plan.get("workload") or {}
    planned, reference = parity["planned"], parity["reference"]
    told = (f"{key}: {value}" for key, value in reference.items() if key != "name" and isinstance(value, str))
    margin = human(str(planned["perplexity_margin"]), "1", 3)
    return [
        ("reference", "; ".join([named(parity), *told])),
        ("compared with it", "the very server that was metered, asked again after all metering had ended"),
        ("prompts", f"the first {len(planned['prompts'])} of the workload {workload.get('name', 'not named')}"),
        ("margin of EQUIVALENT", f"perplexity within {margin}, by two one-sided tests at 5 %"),
        ("in flight", f"up to {planned['concurrency']} requests"),
    ]


def row(name: str, value: Any, note: str = "", low: Any = None, high: Any = None) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note, "low": low, "high": high}


def greedy(facts: Facts) -> Iterator[dict[str, Any]]:
    """Of the answers at temperature 0."""
    found = facts.record.parity["found"]
    unit = "tokens" if found["is_tokens"] else "characters"
    total = f"of {found['answers']} answers" + (f"; {len(found['failed'])} more failed" if found["failed"] else "")
    yield row("Greedy answers that are equal to the end", number(facts, f"{FOUND}/same", "", 9), total)
    yield row(f"{unit.capitalize()} chosen from the same text", number(facts, f"{FOUND}/units", "", 9))
    if found["flip_bound"] is not None:
        bound = "rule of three: with 95 % confidence fewer differ, tokens counting as independent"
        yield row("Share of tokens that differ, at most", number(facts, f"{FOUND}/flip_bound", "1", 2), bound)
    error = "log-probability, between two passes, or what float32 leaves open"
    yield row("The reference's own error", number(facts, f"{FOUND}/self_error", "", 2), error)
    if found["metered"]:
        met = f"of {found['metered']['prompts']} prompts that the metered load asked too"
        name = "Metered answers that begin with the one compared"
        yield row(name, number(facts, f"{FOUND}/metered/same", "", 9), met)


def scored(facts: Facts) -> Iterator[dict[str, Any]]:
    """Of the texts that both scored."""
    like = facts.record.parity["found"]["likeness"]
    if "why" in like:
        yield row("Texts scored by both", None, f"none: {like['why']}")
        return
    path = f"{FOUND}/likeness"
    left = (
        f"; {like['unlike']} cut otherwise, {like['failed']} failed"
        if (like["unlike"], like["failed"]) != ("0", "0")
        else ""
    )
    yield row("Texts scored by both", number(facts, f"{path}/texts", "", 9), f"{int(like['tokens']):,} tokens{left}")
    yield row("Perplexity of the reference", number(facts, f"{path}/perplexity", ""))
    ends = [number(facts, f"{path}/perplexity_rel/{end}", "1", 3) for end in ("mean", "low95", "high95")]
    yield row("Perplexity, metered system less reference", ends[0], "95 %, whole texts drawn again", ends[1], ends[2])
    ends = [number(facts, f"{path}/kl/{end}", "", 3) for end in ("mean", "low95", "high95")]
    yield row("KL divergence, at least", ends[0], "nat per token; 95 %", ends[1], ends[2])
    for name, key in (("mean", "logprob_mean"), ("most", "logprob_max")):
        yield row(f"|d log-probability|, {name}", number(facts, f"{path}/{key}", "", 3))
    yield row("Same best token", number(facts, f"{path}/same_best", "1", 4))


def seeds(facts: Facts) -> Iterator[dict[str, Any]]:
    """Whether answers come from a store."""
    note = "by the metered system alone; 2 or more look like a cache"
    yield row("Prompts answered alike for two seeds", number(facts, f"{FOUND}/cached", ""), note)


def right(facts: Facts) -> Iterator[dict[str, Any]]:
    """Of the prompts with a stated answer."""
    pairs = facts.record.parity["found"]["graded"]
    if not pairs:
        return
    note = f"against {pairs['reference_right']} of {pairs['graded']}; {pairs['lost']} lost, {pairs['gained']} gained"
    yield row("Right answers", number(facts, f"{FOUND}/graded/candidate_right", "", 9), note)
    yield row("McNemar's exact test, p", number(facts, f"{FOUND}/graded/p_value", "", 2), "two-sided")


def parting(facts: Facts, i: int) -> dict[str, Any]:
    found = at(facts.result, f"{FOUND}/partings/{i}")
    numbers = {"after": number(facts, f"{FOUND}/partings/{i}/after", "", 9)}
    numbers["margin"] = number(facts, f"{FOUND}/partings/{i}/margin", "", 3)
    return {**{name: str(found[name]) for name in ("prompt", "fate", "reference", "candidate")}, **numbers}


def untested(facts: Facts) -> Iterator[str]:
    """What the verdict says nothing about, in plain words."""
    parity = facts.record.parity
    found, prompts = parity["found"], len(parity["planned"]["prompts"])
    yield f"other prompts than these {prompts}: other languages, subjects, lengths and tools"
    yield "sampled answers: all was greedy, but for the few that look for a cache"
    yield "whether the reference is right: agreeing with it is all that is shown"
    if not found["metered"]:
        yield "the metered answers themselves: they were sampled, so only the server that gave them was asked again"
    elif found["metered"]["same"] != found["metered"]["prompts"]:
        yield "the metered answers that do not begin with the ones compared: the load may have changed them"
    if int(found["metered"]["prompts"] if found["metered"] else 0) < prompts:
        yield "prompts that were not part of the metered load, in that load"
    if "why" in found["likeness"]:
        yield "how alike the two hold a text: no text was scored by both"
    else:
        yield "the tokens beyond the best five: an API tells no more, so the divergence is a lower bound"
    if not found["graded"]:
        yield "right and wrong: these prompts state no right answers"


SECTION = Section("parity", "Quality against a reference", build)
