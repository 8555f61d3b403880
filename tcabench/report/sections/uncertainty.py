"""Where the doubt comes from: the components of the energy's uncertainty and what they add up to."""

from typing import Any

from tcabench.report.charts import budget_chart
from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, cell, number


def build(facts: Facts) -> dict[str, Any]:
    rows = [component(facts, i) for i in range(len(at(facts.result, "energy/components") or []))]
    rows.sort(key=lambda r: -max(r["down_pc"], r["up_pc"]))
    return {"rows": rows, "total": cell(facts, "energy/total"), "svg": chart(rows) if rows else ""}


def component(facts: Facts, i: int) -> dict[str, Any]:
    path = f"energy/components/{i}"
    found = at(facts.result, path)
    return {
        "name": str(found.get("name", "")),
        "source": str(found.get("source", "")),
        "down": number(facts, f"{path}/down_rel", "1", 2),
        "up": number(facts, f"{path}/up_rel", "1", 2),
        "down_pc": 100 * float(found["down_rel"]),
        "up_pc": 100 * float(found["up_rel"]),
    }


def chart(rows: list[dict[str, Any]]) -> str:
    listed = "; ".join(f"{r['name']}: down {r['down_pc']:.3g} %, up {r['up_pc']:.3g} %" for r in rows)
    return budget_chart(rows, f"Half-widths in percent of the energy, k = 2. {listed}.")


SECTION = Section("uncertainty", "Uncertainty budget", build)
