"""Beside the energy: what the server says it computed, and what it was spared, by reason."""

from typing import Any

from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, number

WHOLE = "work"  # where the numbers stand, beside those of the result
WORDS = {
    "done": "done",
    "prefix": "a beginning shared with an earlier request",
    "skipping": "logits of tokens that nothing is drawn after",
    "certified-head": "vocabulary rows ruled out by a proven bound",
    "zeros": "products with exact zeros",
    "gate-thresholds": "neurons below a threshold",
    "page-budget": "pages of the cache outside a budget",
}


def build(facts: Facts) -> dict[str, Any]:
    found = at(facts.result, WHOLE)
    rows = [row(facts, f"{WHOLE}/reasons/{i}") for i in range(len(found["reasons"]))] if found else []
    return {
        "rows": rows,
        "whole": row(facts, f"{WHOLE}/whole") if found else None,
        "requests": number(facts, f"{WHOLE}/requests", "", 9),
        "silent": number(facts, f"{WHOLE}/silent", "", 9) if found and found["silent"] != "0" else None,
        "tokens": number(facts, f"{WHOLE}/tokens", "", 6),
    }


def row(facts: Facts, path: str) -> dict[str, Any]:
    """One reason, or all of it: sums, shares and what comes to a token."""
    reason = str(at(facts.result, f"{path}/reason") or "done and spared")
    numbers = {
        f"{name}{kind}": number(facts, f"{path}/{name}{kind}", "1" if kind == "_share" else unit, 4)
        for name, unit in (("macs", "MAC"), ("bytes", "B"))
        for kind in ("", "_share", "_per_token")
    }
    return {"reason": reason, "words": WORDS.get(reason, ""), **numbers}


SECTION = Section("work", "Work done and spared", build)
