"""The site door: what stands around the system under test, and cannot be read from a meter.

A rig is described once, in YAML. What the account of energy needs of it is saved in the plan as plain numbers: the
country's intensity and the hours of an intensity file are put in when the file is loaded, with their digests.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tcabench.carbon_table import HALF_WIDTH_PCT, TABLE, country, table_digest
from tcabench.door import Door, checked, read_yaml
from tcabench.errors import UsageError
from tcabench.hourly import reach, read_hourly

SECRET = re.compile(r"passw|secret|token|community|passphrase|(auth|priv|api)_?key|credential", re.IGNORECASE)
POINTERS = ("_env", "_file")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NotNegative = Annotated[float, Field(ge=0, le=1e12)]
Percent = Annotated[float, Field(ge=0, le=100)]
Year = Annotated[int, Field(ge=1990, le=2100)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Category = Literal["ups-output", "pdu-output", "it-input"]


def _day(given: Any) -> Any:
    """YAML reads 2026-03-01 as a date; it is kept as its ISO text."""
    return given.isoformat() if isinstance(given, date) and not isinstance(given, datetime) else given


def _iso_day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as err:
        raise ValueError(f"{text!r} is not a date like 2026-03-01") from err


def _code(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("YAML reads NO without quotes as false: write 'NO'")
    return given


def _no_secret(text: str) -> str:
    """A meter as for `--meter`, without a password: this file, and the plan made from it, are passed on."""
    parts = urlsplit(text)
    if "@" in parts.netloc or re.search(r"//[^/?]*@", text):
        raise ValueError(f"{_shown(text)}: no user or password in an address: use password_env or password_file")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if SECRET.search(name) and not name.endswith(POINTERS):
            raise ValueError(
                f"{_shown(text)}: {name} is a secret: name a variable ({name}_env) or a file ({name}_file)"
            )
    return text


def _shown(text: str) -> str:
    """The address without its options and without what stands before an @."""
    return re.sub(r"//[^/?]*@", "//", text.partition("?")[0])


Day = Annotated[str, BeforeValidator(_day), AfterValidator(_iso_day)]
Country = Annotated[str, BeforeValidator(_code), Field(pattern=r"^[A-Za-z]{2,3}$")]
MeterName = Annotated[str, Field(min_length=1), AfterValidator(_no_secret)]


class Rest(Door):
    """A measured model of what in the node no meter of the run sees: base_w + slope * (power that is metered), in W,
    good to +-half_width_pct (k = 2)."""

    base_w: Positive
    slope: Annotated[float, Field(ge=0, le=10)]
    half_width_pct: Annotated[float, Field(ge=1, le=100)]
    measured_on: Day
    source: Text


class Cooling(Door):
    """How the electricity of a shared cooling plant is allocated. `own` are domains of cooling meters that serve the
    system under test alone; `idle_w` is what the plant draws without any heat to move. The reserved share and `idle_w`
    are declared by `source`, good to +-capacity_half_width_pct (k = 2)."""

    rule: Literal["energy", "heat", "capacity", "two-part", "declared"]
    dynamic: Literal["energy", "heat"] = "energy"
    reserved_kw: Positive | None = None
    capacity_kw: Positive | None = None
    capacity_half_width_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    idle_w: NotNegative | None = None
    own: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    declared_ppue: Annotated[float, Field(ge=1, le=10)] | None = None
    declared_half_width: Annotated[float, Field(gt=0, le=5)] | None = None
    source: str = ""

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> Self:
        reserved = ("reserved_kw", "capacity_kw", "capacity_half_width_pct", "source")
        needed = {
            "capacity": reserved,
            "two-part": (*reserved, "idle_w"),
            "declared": ("declared_ppue", "declared_half_width", "source"),
        }
        missing = [name for name in needed.get(self.rule, ()) if getattr(self, name) in (None, "")]
        if missing:
            raise ValueError(f"rule {self.rule} needs {' and '.join(missing)}")
        if self.reserved_kw and self.capacity_kw and self.reserved_kw > self.capacity_kw:
            raise ValueError(f"reserved_kw {self.reserved_kw:g} is more than capacity_kw {self.capacity_kw:g}")
        return self


class Loss(Door):
    """The loss between upstream and the IT: measured there, or declared as fixed_pct of `reserved_kw` at all times and
    proportional_pct of the energy."""

    rule: Literal["measured", "declared"]
    fixed_pct: Percent = 0.0
    proportional_pct: Percent = 0.0
    reserved_kw: Positive | None = None
    half_width_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    source: str = ""

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> Self:
        if self.rule == "measured":
            return self
        if self.half_width_pct is None or not self.source or not self.fixed_pct + self.proportional_pct:
            raise ValueError("rule declared needs fixed_pct or proportional_pct, half_width_pct and source")
        if self.fixed_pct and self.reserved_kw is None:
            raise ValueError("fixed_pct is a share of the power reserved: give reserved_kw")
        return self


class Coolant(Door):
    """What flows in one loop: a known fluid, or its density and heat capacity with their half width (k = 2).

    `serves`: the system under test alone, or the plant as a whole. The half widths of the sensors (k = 2) go before
    what their meters say of themselves.
    """

    fluid: Literal["water", "pg25"] | None = None
    density_kg_m3: Annotated[float, Field(ge=100, le=3000)] | None = None
    cp_j_per_kg_k: Annotated[float, Field(ge=500, le=10_000)] | None = None
    half_width_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    source: str = ""
    serves: Literal["sut", "plant"] = "sut"
    sensor_half_width_k: Positive | None = None
    flow_half_width_pct: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one_fluid(self) -> Self:
        own = (self.density_kg_m3, self.cp_j_per_kg_k, self.half_width_pct)
        if self.fluid is None and None in own:
            raise ValueError("give fluid, or density_kg_m3, cp_j_per_kg_k and half_width_pct")
        if self.fluid is not None and own != (None, None, None):
            raise ValueError("fluid brings its own properties: give it, or density_kg_m3 and cp_j_per_kg_k")
        return self


class Intensity(Door):
    """Mass of CO2 equivalent per energy of electricity; +-half_width_pct is k = 2."""

    g_per_kwh: NotNegative
    year: Year
    source: Text
    half_width_pct: Percent
    country: str = ""
    licence: str = ""
    sha256: Digest | None = None


class Hours(Door):
    """Intensity by the hour: `rows` are (start, end, g/kWh), Unix s."""

    file: Text
    time_zone: str | None = None
    source: Text
    half_width_pct: Percent
    sha256: Digest
    rows: Annotated[tuple[Annotated[tuple[int, int, NotNegative], Field(strict=False)], ...], Field(strict=False)]

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        if any(start >= end for start, end, _ in self.rows) or any(b[0] < a[1] for a, b in pairwise(self.rows)):
            raise ValueError("rows are (start, end, g/kWh), one after the other")
        return self


class HoursFile(Door):
    """Intensity by the hour as the site's file names it."""

    file: Text
    time_zone: str | None = None
    source: Text
    half_width_pct: Percent


class Market(Door):
    """What was contracted for: never part of SCI, always beside the location-based figure."""

    g_per_kwh: NotNegative
    instrument: Literal["contract", "certificates", "supplier", "residual-mix"]
    year: Year
    source: Text
    half_width_pct: Percent = 0.0


class Embodied(Door):
    """Emissions of making (and disposing of) the hardware; `share` is the part of it that is reserved for this."""

    kg: Positive
    lifetime_years: Annotated[float, Field(gt=0, le=50)]
    share: Annotated[float, Field(gt=0, le=1)]
    half_width_pct: Percent
    source: Text


class CarbonAccount(Door):
    """What carbon is counted with. `country` is put in as `location` when the file is loaded, unless that is given."""

    country: Country | None = None
    location: Intensity | None = None
    hourly: Hours | None = None
    market: Market | None = None
    embodied: Embodied | None = None


class Site(Door):
    """A site as it was loaded: everything resolved. `sut_is_all_it`: the plant and the distribution serve the system
    under test and nothing else. `it_metered_at` is the category of ISO/IEC 30134-2 by which IT energy is known."""

    id: Name
    meters: Annotated[tuple[MeterName, ...], Field(strict=False)] = ()
    sut_is_all_it: bool = False
    it_metered_at: Category | None = None
    rest: Rest | None = None
    cooling: Cooling | None = None
    loss: Loss | None = None
    coolant: Annotated[dict[Text, Coolant], Field(default_factory=dict)]
    water: str = ""
    reuse: str = ""
    carbon: CarbonAccount | None = None

    @model_validator(mode="after")
    def _once(self) -> Self:
        twice = sorted({name for name in self.meters if self.meters.count(name) > 1})
        if twice:
            raise ValueError(f"meters: {', '.join(map(_shown, twice))} is given twice")
        return self

    def meter_names(self) -> tuple[str, ...]:
        """The site's meters, each as for `--meter`."""
        return self.meters


def load_site(path: Path, now: datetime | None = None) -> Site:
    """The site in a YAML file, with the country's figure and the hours that a run starting `now` may need put in.

    raises: UsageError naming file, field and cure.
    """
    try:
        raw = read_yaml(path.expanduser().read_bytes(), str(path))
    except OSError as err:
        raise UsageError(f"site {path}: cannot be read: {err.strerror}", "site") from err
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: a site is a mapping that begins with id:", "site")
    return parse_site(_with_hours(raw, path, now or datetime.now(UTC)), str(path))


def parse_site(mapping: Mapping[str, Any], where: str = "site") -> Site:
    """The site in plain values, as in a file without `carbon.hourly`, or as saved in a plan. raises: UsageError."""
    raw = dict(mapping)
    site = checked(Site, raw, where)
    carbon = site.carbon
    if carbon is None or carbon.country is None or carbon.location is not None:
        return site
    row = country(carbon.country)
    found = Intensity(
        g_per_kwh=row.g_per_kwh, year=row.year, source=f"{row.source}, packaged table {TABLE}",
        half_width_pct=HALF_WIDTH_PCT, country=row.country, licence=row.licence, sha256=table_digest(),
    )  # fmt: skip
    return site.model_copy(update={"carbon": carbon.model_copy(update={"location": found})})


def _with_hours(raw: dict[str, Any], path: Path, now: datetime) -> dict[str, Any]:
    """The file's values with the rows of the hourly file that it names, beside which it stands."""
    carbon = raw.get("carbon")
    if not isinstance(carbon, dict) or carbon.get("hourly") is None:
        return raw
    asked = checked(HoursFile, carbon["hourly"], f"{path}: carbon.hourly")
    found = read_hourly(path.expanduser().parent / Path(asked.file).expanduser(), asked.time_zone, *reach(now))
    hours = {**asked.model_dump(), "sha256": found.sha256, "rows": [list(row) for row in found.rows]}
    return {**raw, "carbon": {**carbon, "hourly": hours}}
