"""The packaged figures about carbon: intensity of electricity by country, and named references. None is a bare number.

The table's licence and attribution stand in `energy/data/NOTICE`.
"""

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, RootModel

from tcabench.door import Door, checked, read_yaml
from tcabench.errors import UsageError

TABLE, REFERENCES = "carbon_intensity.csv", "carbon_references.yaml"
HALF_WIDTH_PCT = 20.0  # k = 2; the source states none: see energy/data/NOTICE


@dataclass(frozen=True, slots=True)
class CountryIntensity:
    """Yearly lifecycle intensity of a country's own electricity generation; `iso` is ISO 3166-1 alpha-2."""

    country: str
    iso: str
    iso3: str
    g_per_kwh: float
    year: int
    source: str
    licence: str


class Reference(Door):
    """One published figure that others compare with; [low, high] holds it as `uncertainty` says."""

    name: str
    date: str
    what: str
    boundary: str
    figure: Annotated[float, Field(gt=0)]
    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]
    unit: Literal["g/kWh", "g/prompt", "g/ktoken", "Wh/prompt"]
    accounting: Literal["location", "market", "none"]
    uncertainty: str
    source: str


class _References(RootModel[list[Reference]]):
    pass


def country(code: str) -> CountryIntensity:
    """The row of a country by its ISO 3166-1 code of two or three letters. raises: UsageError saying what to do."""
    wanted = code.upper()
    for row in _rows():
        if wanted in (row.iso, row.iso3):
            return row
    raise UsageError(
        f"country {code!r}: the packaged table ({TABLE}) has no such ISO 3166-1 code; give the intensity yourself as "
        "carbon.location {g_per_kwh, year, source, half_width_pct}",
        "carbon",
    )


def table_digest() -> str:
    """sha256 (hex) of the packaged country table."""
    return sha256(_data(TABLE)).hexdigest()


def reference(name: str) -> Reference:
    """A named reference. raises: UsageError with the names that there are."""
    known = {one.name: one for one in references()}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"no carbon reference {name!r}.{hint} Known: {', '.join(sorted(known))}", "carbon")


@cache
def references() -> tuple[Reference, ...]:
    """Every packaged reference: what people call the industry average, each dated, with its boundary and source."""
    return tuple(checked(_References, read_yaml(_data(REFERENCES), REFERENCES), REFERENCES).root)


@cache
def _rows() -> tuple[CountryIntensity, ...]:
    found = csv.DictReader(_data(TABLE).decode().splitlines())
    return tuple(
        CountryIntensity(
            row["country"], row["iso"], row["iso3"], float(row["g_per_kwh"]), int(row["year"]), row["source"],
            row["licence"],
        )
        for row in found
    )  # fmt: skip


def _data(name: str) -> bytes:
    return (files("tcabench") / "energy" / "data" / name).read_bytes()
