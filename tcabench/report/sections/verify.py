"""How a reader checks all this without trusting the page, and what even a valid signature does not say."""

from collections.abc import Iterator
from typing import Any

from tcabench.report.sections import Section
from tcabench.report.view import Facts, cell, flat

STEPS = (
    (
        "container",
        "the page and the evidence are whole, of known format and within size limits, with one signature slot",
    ),
    ("hashes", "every file of the evidence has the digest and size its manifest states, up to one root"),
    ("signatures", "the signatures hold over the signed bytes, and every key is one you trust"),
    (
        "time",
        "when it was signed: the signer's own word, held against the run's clock; there are no time-stamp tokens yet",
    ),
    (
        "recompute",
        "every number of the result is derived again from the raw samples and must agree in all ten digits, and "
        "so must the number behind each figure of the page; the words around it are the signer's",
    ),
    (
        "audits",
        "the evidence agrees with itself: counts, order of requests, readings and phases, the ledger of runs",
    ),
    ("policy", "the clauses are judged again, by your policy if you give one, not by the page's"),
)
NOT_PROVEN = (
    "That the meter was wired to the machine named here, or that the machine is the one that will be delivered.",
    "That the answers were good: only what the quality record lists was checked.",
    "That other load, other prompts or another day would give the same figures; the interval covers this run.",
    "That the signer is honest. A signature says who stands behind the bytes and that they were not changed since.",
    "That the limit asks for much: see where this result stands.",
)


def build(facts: Facts) -> dict[str, Any]:
    return {
        "steps": STEPS,
        "not_proven": NOT_PROVEN,
        "signer": [{"name": n.replace("_", " "), "value": v} for n, v in flat(facts.signer) if n],
        "embedded": facts.embedded,
        "evidence_name": facts.evidence_name,
        "schema": str(facts.result.get("schema", "")),
        "exact": [{"name": name, **cell(facts, path)} for name, path in quantities(facts)],
    }


def quantities(facts: Facts) -> Iterator[tuple[str, str]]:
    """Name and path of every quantity of the result."""
    for name in facts.result.get("values") or {}:
        yield str(name), f"values/{name}"
    energy = facts.result.get("energy") or {}
    for name in ("total", "mean_power", "peak_power", "idle_power"):
        if name in energy:
            yield f"energy {name.replace('_', ' ')}", f"energy/{name}"
    for i, domain in enumerate(energy.get("domains") or []):
        yield f"energy of {domain.get('domain', i)}", f"energy/domains/{i}/energy"


SECTION = Section("verify", "How to verify", build)
