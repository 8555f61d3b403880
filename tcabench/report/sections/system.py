"""What was measured, and with what: every fact with the place it comes from."""

from collections.abc import Mapping
from typing import Any

from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import Facts, sourced


def build(facts: Facts) -> dict[str, Any]:
    return {
        "levers": levers(facts),
        "approximate": any(lever["kind"] == "approximate" for lever in levers(facts) or ()),
        "rows": [row for row in sourced(facts.record.sut) if row["name"]],
        "channels": [
            {
                "id": c.id,
                "meter": c.meter,
                "domain": c.domain,
                "kind": str(c.kind),
                "unit": c.unit,
                "gain": f"{c.gain_low:g} … {c.gain_high:g}",
                "period": human(repr(c.period_ns / 1e9), "s", 3) if c.period_ns else "not stated",
                "estimate": c.is_estimate,
                "source": c.accuracy_source,
                "note": c.note,
            }
            for c in facts.record.channels
        ],
    }


def levers(facts: Facts) -> list[dict[str, str]] | None:
    """The levers that are on, approximate ones first; None where the server does not say."""
    told = (facts.record.sut.get("server.levers") or {}).get("value")
    if not isinstance(told, Mapping):
        return None
    marks = {"equivalent": "pass", "approximate": "open"}
    rows = [{"name": str(n), "kind": str(kind), "mark": marks.get(str(kind), "none")} for n, kind in told.items()]
    return sorted(rows, key=lambda row: (row["mark"] == "pass", row["name"]))


SECTION = Section("system", "System under test", build)
