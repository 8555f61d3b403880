"""From the chip to the plant: one boundary after the other, then what cooling and distribution add to this system."""

from typing import Any

from tcabench.report.charts import ladder_chart
from tcabench.report.sections import Section
from tcabench.report.view import BOUNDARIES, Facts, at, cell, float_at, number

FIGURES = (
    ("it", "Energy of the system under test"),
    ("it_all", "Energy of all IT on the plant"),
    ("share", "Share of this system"),
    ("cooling", "Cooling electricity, allocated"),
    ("loss", "Distribution loss, allocated"),
    ("ppue", "pPUE, interim"),
    ("erf", "Energy reuse factor (ERF)"),
    ("ere", "Energy reuse effectiveness (ERE)"),
    ("wue", "Water usage effectiveness (WUE)"),
    ("cer", "Cooling efficiency ratio (CER)"),
)
METRICS = {"ppue": "ppue_interim"}
TIERS = {
    "M3": "measured directly",
    "M2": "measured, and shared by a rule",
    "M1": "an average of the facility",
    "M0": "declared, not measured",
}


def build(facts: Facts) -> dict[str, Any]:
    rungs = [rung(facts, i) for i in range(len(at(facts.result, "energy/ladder") or []))]
    plant = at(facts.result, "energy/facility")
    drawn = [row for row in rungs if row["j"] is not None]
    return {
        "rungs": rungs,
        "svg": ladder_chart(drawn, described(drawn)) if drawn else "",
        "plant": plant is not None,
        "figures": [(name, cell(facts, figure_at(facts, key))) for key, name in FIGURES] if plant else [],
        "removed": [
            (name.partition(".")[2], cell(facts, f"values/{name}"))
            for name in facts.result["values"]
            if name.startswith("heat_removed.")
        ],
        "rule": str(plant["rule"]) if plant else "",
        "tier": f"{plant['tier']}: {TIERS.get(str(plant['tier']), 'not described')}" if plant else "",
        "notes": list(plant["notes"]) if plant else [],
        "heat": [heat(facts, i) for i in range(len(plant["heat"]))] if plant else [],
    }


def figure_at(facts: Facts, key: str) -> str:
    """Where a figure of the plant stands: among the values if it is one of the plan's metrics, else in the account."""
    metric = METRICS.get(key, key)
    return f"values/{metric}" if metric in facts.result["values"] else f"energy/facility/{key}"


def rung(facts: Facts, i: int) -> dict[str, Any]:
    path = f"energy/ladder/{i}"
    found = at(facts.result, path)
    return {
        "name": str(found["boundary"]),
        "words": BOUNDARIES.get(str(found["boundary"]), ""),
        "total": cell(facts, f"{path}/total"),
        "power": cell(facts, f"{path}/mean_power"),
        "grade": str(found["grade"] or "none"),
        "why": str(found["grade_why"]),
        "here": found["boundary"] == facts.result.get("boundary"),
        "j": float_at(facts, f"{path}/total/value"),
        "low": float_at(facts, f"{path}/total/low"),
        "high": float_at(facts, f"{path}/total/high"),
    }


def heat(facts: Facts, i: int) -> dict[str, Any]:
    path = f"energy/facility/heat/{i}"
    found = at(facts.result, path)
    return {
        "loop": str(found["loop"]),
        "heat": cell(facts, f"{path}/heat"),
        "flow": cell(facts, f"{path}/flow"),
        "rise": cell(facts, f"{path}/rise"),
        "fluid": str(found["fluid"]),
        "balance": number(facts, f"{path}/balance_rel", "1", 3),
        "why": str(found["why"]),
    }


def described(rows: list[dict[str, Any]]) -> str:
    listed = "; ".join(f"{row['name']}: {row['j']:.4g} J" for row in rows)
    return f"Energy in the window at each boundary. {listed}."


SECTION = Section("facility", "From chip to plant", build)
