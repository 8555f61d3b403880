"""Where the result stands: beside 15,000 tokens/kWh and among dated public results."""

from collections.abc import Mapping
from typing import Any

from tcabench.report.charts import standing_chart
from tcabench.report.numbers import THIN, human
from tcabench.report.sections import Section
from tcabench.report.view import BOUNDARIES, J_PER_TOKEN_AT_15K, Facts, cell, float_at
from tcabench.units import J_PER_KWH

HERE = "values/j_per_output_token"


def build(facts: Facts) -> dict[str, Any]:
    own = float_at(facts, f"{HERE}/value")
    rows = sorted((public(r) for r in facts.standing), key=lambda r: (r["j"], r["name"]))
    boundary = str(facts.result.get("boundary") or "")
    content: dict[str, Any] = {
        "rows": rows,
        "here": cell(facts, HERE),
        "per_kwh": cell(facts, "values/output_tokens_per_kwh"),
        "boundary": boundary,
        "boundary_words": BOUNDARIES.get(boundary, "not described"),
        "estimate": facts.is_estimate,
        "place": place(own, rows),
        "times": times(own),
        "svg": "",
    }
    if own is not None and own > 0:
        rows.append(here(facts, own))
        rows.sort(key=lambda r: (r["j"], r["name"]))
    if rows:
        content["svg"] = standing_chart(rows, described(rows))
    return content


def public(row: Mapping[str, Any]) -> dict[str, Any]:
    """A public result with its J/token as a float and both figures in words."""
    j = float(row["j_per_token"])
    per_kwh = row.get("tokens_per_kwh") or J_PER_KWH / j
    return {
        "name": str(row["what"]),
        "j": j,
        "here": False,
        "boundary": str(row.get("boundary", "")),
        "j_text": human(repr(j), "J/token", 3),
        "kwh_text": human(str(per_kwh), "token/kWh", 3),
        "date": str(row.get("date", "")),
        "source": str(row.get("source", "")),
    }


def here(facts: Facts, own: float) -> dict[str, Any]:
    low, high = float_at(facts, f"{HERE}/low"), float_at(facts, f"{HERE}/high")
    return {
        "name": "this result",
        "j": own,
        "low": low,
        "high": high,
        "here": True,
        "boundary": str(facts.result.get("boundary") or ""),
        "estimate": facts.is_estimate,
        "j_text": human(repr(own), "J/token", 3),
    }


def place(own: float | None, rows: list[dict[str, Any]]) -> str:
    """One sentence on how many of the listed results need less energy for a token."""
    if own is None or not rows:
        return ""
    better = sum(r["j"] < own for r in rows)
    return (
        f"Of the {len(rows)} public results listed, {better} use less energy per token and {len(rows) - better} do not."
    )


def times(own: float | None) -> str:
    """How far the result lies from 240 J/token, in words."""
    if own is None or own <= 0:
        return ""
    ratio = J_PER_TOKEN_AT_15K / own
    if ratio >= 1:
        return f"This result needs {human(repr(ratio), '', 3)} times less than that."
    return f"This result needs {human(repr(1 / ratio), '', 3)} times more than that."


def described(rows: list[dict[str, Any]]) -> str:
    listed = "; ".join(f"{r['name']}: {r['j_text']}" for r in rows)
    return f"Joules per output token on a log scale, with a line at 240 (15{THIN}000 tokens/kWh). {listed}."


SECTION = Section("standing", "Where this stands", build)
