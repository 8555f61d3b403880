"""Site files: what they hold, what goes into the plan, and bad ones that each end in one UsageError with the cure."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tcabench.carbon_table import country, reference, references, table_digest
from tcabench.errors import UsageError
from tcabench.hourly import read_hourly
from tcabench.site import Site, load_site, parse_site

GOOD = """
id: hall-3
meters:
  - nvml:0,1
  - modbus://10.0.0.5/1?map=schneider-iem3000&boundary=rack&role=load&domain=rack7
  - mqtt://broker/cdu?user=reader&password_env=MQTT_PASSWORD
sut_is_all_it: false
it_metered_at: pdu-output
rest: {base_w: 412, slope: 0.08, half_width_pct: 15, measured_on: 2026-11-02, source: wall meter against NVML}
cooling: {rule: two-part, dynamic: heat, reserved_kw: 40, capacity_kw: 400, idle_w: 1800, own: [cdu7],
  capacity_half_width_pct: 10, source: contract}
loss: {rule: declared, fixed_pct: 0.5, proportional_pct: 1, reserved_kw: 40, half_width_pct: 50, source: data sheet}
coolant:
  rack7: {fluid: pg25, sensor_half_width_k: 0.2, flow_half_width_pct: 2}
  hall: {density_kg_m3: 1010, cp_j_per_kg_k: 3950, half_width_pct: 1, source: data sheet, serves: plant}
water: reclaimed
carbon:
  country: DE
  market: {g_per_kwh: 20, instrument: contract, year: 2026, source: power purchase agreement}
  embodied: {kg: 5700, lifetime_years: 4, share: 0.5, half_width_pct: 30, source: data sheet}
"""
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def load(folder: Path, text: str = GOOD, old: str = "", new: str = "") -> Site:
    assert old in text
    (folder / "site.yaml").write_text(text.replace(old, new) if old else text)
    return load_site(folder / "site.yaml", NOW)


def test_a_good_site_names_its_meters_and_is_resolved(tmp_path: Path) -> None:
    site = load(tmp_path)
    assert site.meter_names()[0] == "nvml:0,1"
    assert len(site.meter_names()) == 3
    assert site.rest is not None
    assert (site.rest.base_w, site.rest.measured_on) == (412, "2026-11-02")
    assert site.carbon is not None
    assert site.carbon.location is not None
    assert site.carbon.location.g_per_kwh == country("DEU").g_per_kwh
    assert site.carbon.location.sha256 == table_digest()
    assert "Ember" in site.carbon.location.source


def test_what_is_saved_in_the_plan_is_the_same_site(tmp_path: Path) -> None:
    """The saved form is plain JSON, and needs neither the file nor the table any more."""
    site = load(tmp_path)
    saved = json.loads(json.dumps(site.model_dump(mode="json")))
    assert parse_site(saved) == site
    saved["carbon"]["location"]["g_per_kwh"] = 1.5
    again = parse_site(saved)
    assert again.carbon is not None
    assert again.carbon.location is not None
    assert again.carbon.location.g_per_kwh == 1.5


def test_a_location_of_ones_own_goes_before_the_table(tmp_path: Path) -> None:
    own = "country: DE\n  location: {g_per_kwh: 300, year: 2026, source: operator, half_width_pct: 5}"
    site = load(tmp_path, old="country: DE", new=own)
    assert site.carbon is not None
    assert site.carbon.location is not None
    assert site.carbon.location.g_per_kwh == 300


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("id: hall-3\n", "", "id: Field required"),
        ("it_metered_at", "it_metred_at", "it_metred_at: unknown key; did you mean 'it_metered_at'?"),
        ("pdu-output", "wall", "it_metered_at: .*'pdu-output'"),
        ("nvml:0,1", "snmp://reader:hush@pdu", "meters.0: snmp://pdu: no user or password .* password_env"),
        ("nvml:0,1", "snmp://pdu?community=hush", "meters.0: snmp://pdu: community is a secret: .*community_env"),
        ("nvml:0,1", "mqtt://b?password=hush", "meters.0: mqtt://b: password is a secret"),
        ("  - nvml:0,1", "  - nvml:0,1\n  - nvml:0,1", "meters: nvml:0,1 is given twice"),
        ("2026-11-02", "2 November", "rest.measured_on: '2 November' is not a date like 2026-03-01"),
        ("slope: 0.08, ", "", "rest.slope: Field required"),
        ("rule: two-part", "rule: by-eye", "cooling.rule: .*'two-part'"),
        ("idle_w: 1800, ", "", "cooling: rule two-part needs idle_w"),
        ("capacity_kw: 400", "capacity_kw: 30", "reserved_kw 40 is more than capacity_kw 30"),
        ("rule: two-part", "rule: declared", "rule declared needs declared_ppue and declared_half_width"),
        ("capacity_half_width_pct: 10, ", "", "cooling: rule two-part needs capacity_half_width_pct"),
        (", source: contract", "", "cooling: rule two-part needs source"),
        ("capacity_half_width_pct: 10", "capacity_half_width_pct: 0", "cooling.capacity_half_width_pct"),
        (
            "rule: two-part",
            "rule: declared, declared_ppue: 1.0, declared_half_width: 0",
            "cooling.declared_half_width: .*greater than 0",
        ),
        ("source: data sheet}\ncoolant", "}\ncoolant", "loss: rule declared needs .*source"),
        ("reserved_kw: 40, half_width_pct: 50", "half_width_pct: 50", "loss: fixed_pct .*reserved_kw"),
        ("fluid: pg25", "fluid: oil", "coolant.rack7.fluid: .*'water' or 'pg25'"),
        ("fluid: pg25, ", "", "coolant.rack7: give fluid, or density_kg_m3"),
        ("country: DE", "country: NO", "YAML reads NO without quotes as false: write 'NO'"),
        ("country: DE", "country: ZZ", "no such ISO 3166-1 code; give the intensity yourself"),
        ("share: 0.5", "share: 1.5", "carbon.embodied.share"),
        ("instrument: contract", "instrument: promise", "carbon.market.instrument"),
        ("base_w: 412", "base_w: .nan", "rest.base_w"),
    ],
)
def test_a_bad_site_is_refused_with_field_and_cure(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        load(tmp_path, old=old, new=new)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(("text", "told"), [("[1, 2]", "a site is a mapping"), ("a: [", "not readable as YAML")])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        load_site(tmp_path / "none.yaml")


HOURLY = "  hourly: {file: grid.csv, time_zone: Europe/Berlin, source: grid operator, half_width_pct: 10}\n"


def hourly(folder: Path, lines: str) -> Site:
    (folder / "grid.csv").write_text("time,g_per_kwh\n" + lines)
    return load(folder, GOOD + HOURLY)


def test_the_hours_that_a_run_may_need_go_into_the_plan(tmp_path: Path) -> None:
    lines = "".join(f"2026-11-{day:02}T{hour:02}:00,{day * 10 + hour}\n" for day in range(1, 31) for hour in range(24))
    site = hourly(tmp_path, lines)
    assert site.carbon is not None
    found = site.carbon.hourly
    assert found is not None
    noon = round(NOW.timestamp())
    assert found.rows[0] == (noon - 3600, noon, 230 + 12)  # 11:00 UTC is 12:00 in Berlin
    assert found.rows[-1][1] <= noon + 8 * 86_400
    assert len(found.rows) < 200
    assert parse_site(json.loads(json.dumps(site.model_dump(mode="json")))) == site


def read(folder: Path, lines: str, zone: str | None = "Europe/Berlin") -> tuple[tuple[int, int, float], ...]:
    path = folder / "grid.csv"
    path.write_text("time,g_per_kwh\n" + lines)
    return read_hourly(path, zone, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)).rows


def test_the_hour_that_comes_twice_in_autumn_is_two_hours(tmp_path: Path) -> None:
    rows = read(tmp_path, "2026-10-25T01:00,1\n2026-10-25T02:00,2\n2026-10-25T02:00,3\n2026-10-25T03:00,4\n")
    starts = [start for start, _, _ in rows]
    assert [b - a for a, b in pairwise(starts)] == [3600, 3600, 3600]


def test_a_row_holds_no_longer_than_a_step(tmp_path: Path) -> None:
    rows = read(tmp_path, "2026-11-01T00:00Z,1\n2026-11-01T01:00Z,2\n2026-11-01T05:00Z,3\n", None)
    assert [end - start for start, end, _ in rows] == [3600, 3600, 3600]


@pytest.mark.parametrize(
    ("lines", "zone", "told"),
    [
        ("2026-11-01T00:00,1\n", "UTC", "1 row"),
        ("2026-11-01T00:00,1\n2026-11-01T01:00,x\n", "UTC", r"line 3: g_per_kwh 'x'"),
        ("2026-11-01T00:00,1\n2026-11-01T01:00,-5\n", "UTC", r"line 3: g_per_kwh '-5'"),
        ("2026-11-01T00:00,1\n2026-11-01T00:00,2\n", "UTC", "line 3: .* does not come after"),
        ("2026-11-01T00:00,1\n2026-11-01T01:00,2\n", None, "no offset; say which carbon.hourly.time_zone"),
        ("yesterday,1\n2026-11-01T01:00,2\n", "UTC", "line 2: time 'yesterday'"),
        ("2026-03-29T02:30,1\n2026-03-29T04:00,2\n", "Europe/Berlin", "put forward over it"),
        ("2026-11-01T00:00,1\n2026-11-01T01:00,2\n", "Mars/Olympus", "no time zone known here"),
    ],
)
def test_a_bad_hourly_file_is_refused(tmp_path: Path, lines: str, zone: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read(tmp_path, lines, zone)


def test_a_file_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("when,how_much\n1,2\n")
    with pytest.raises(UsageError, match="no column time and g_per_kwh"):
        read_hourly(tmp_path / "grid.csv", "UTC", NOW, NOW)


def test_overlapping_hours_in_a_plan_are_refused(tmp_path: Path) -> None:
    saved = hourly(tmp_path, "2026-11-23T12:00,5\n2026-11-23T13:00,6\n2026-11-23T14:00,7\n").model_dump(mode="json")
    saved["carbon"]["hourly"]["rows"][1][0] -= 60
    with pytest.raises(UsageError, match="one after the other"):
        parse_site(saved)


def test_every_country_has_a_year_a_source_and_a_licence() -> None:
    codes = ["US", "de", "NOR", "IN", "CN"]
    rows = [country(code) for code in codes]
    assert [row.iso for row in rows] == ["US", "DE", "NO", "IN", "CN"]
    assert all(row.year >= 2020 and row.licence == "CC-BY-4.0" and "Ember" in row.source for row in rows)
    assert all(0 < row.g_per_kwh <= 1200 for row in rows)


def test_every_reference_is_named_dated_and_bounded() -> None:
    for one in references():
        assert reference(one.name) is one
        assert one.low < one.figure < one.high
        assert one.date[:2] == "20"
        assert min(len(one.boundary), len(one.source), len(one.uncertainty)) > 5


def test_an_unknown_reference_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'world-grid-iea-2024'"):
        reference("world-grid-iea-2025")
