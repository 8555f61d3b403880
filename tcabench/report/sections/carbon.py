"""What the energy means in CO2 equivalent: where the grid is, what was bought, what the hardware took to make."""

from typing import Any

from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, cell

FIGURES = (
    ("location", "Location-based, of the window"),
    ("market", "Market-based, of the window"),
    ("embodied", "Embodied, share of the window"),
    ("intensity_location", "Grid intensity"),
    ("intensity_market", "Intensity of what was bought"),
)


def build(facts: Facts) -> dict[str, Any]:
    found = at(facts.result, "energy/carbon")
    names = [name for name in facts.result["values"] if name.startswith(("co2e_", "sci_", "cue"))]
    return {
        "known": found is not None,
        "boundary": str(found["boundary"]) if found else "",
        "figures": [(name, cell(facts, f"energy/carbon/{key}")) for key, name in FIGURES] if found else [],
        "rates": [(name, cell(facts, f"values/{name}")) for name in names] if found else [],
        "sources": [(key, str(found[f"source_{key}"])) for key in ("location", "market", "embodied")] if found else [],
    }


SECTION = Section("carbon", "Carbon", build)
