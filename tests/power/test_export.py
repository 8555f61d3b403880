"""Exports as meters: every way to write a time, a unit or a number, a file that grows, and each way to get it wrong."""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.energy.mend import mended
from tcabench.energy.series import Series
from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Meter
from tcabench.power.meters.export import open_csv, open_parquet
from tcabench.power.meters.export_time import instant_ns, zone_named
from tcabench.records import Kind

NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
SECOND_NS = 1_000_000_000
PLAIN = "time=when&value=load&unit=kW&tz=UTC"


def export(tmp_path: Path, text: str, name: str = "dcim.csv", encoding: str = "utf-8") -> str:
    path = tmp_path / name
    path.write_text(text, encoding, newline="")
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def late_that_day() -> Iterator[None]:
    """It is the evening of the day of which the files tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: NOON_NS + 20 * 3600 * SECOND_NS)
        yield


def followed(path: str, options: str) -> Meter:
    """A meter that was opened when the file at `path` had its header only."""
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole.partition(b"\n")[0] + b"\n" * (b"\n" in whole))
    (meter,) = open_csv(f"{path}?{options}")
    Path(path).write_bytes(whole)
    return meter


def values(path: str, options: str) -> list[tuple[int | None, float]]:
    return [(ns, value) for _, value, ns in followed(path, options).read()]


def minutes(n: int) -> list[str]:
    return [f"2026-11-23 12:{k:02d}:00,{3 + k / 10}" for k in range(n)]


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2026-11-23T12:00:00Z", ""), ("2026-11-23T13:00:00+01:00", ""), ("2026-11-23 12:00:00", "UTC"),
        ("2026-11-23 13:00", "Europe/Berlin"), ("2026-11-23T07:00:00.000", "America/New_York"),
        ("2026-11-23 14:30", "+02:30"), ("2026-11-23 07:00", "-05:00"),
        ("2026-11-23 14:00", " 02:00"), ("2026-11-23T12:00:00Z", "Europe/Berlin"), ("1795435200", ""),
        ("1795435200.0", ""), ("1795435200000", ""), ("1795435200000000", ""), ("1795435200000000000", "Asia/Tokyo"),
    ],
)  # fmt: skip
def test_one_instant_in_every_way_to_write_it(text: str, zone: str) -> None:
    assert instant_ns(text, zone_named(zone) if zone else None, "") == NOON_NS


def test_fractions_of_a_second_are_kept_and_other_forms_are_told() -> None:
    assert instant_ns("2026-11-23T12:00:00.250Z", None, "") == NOON_NS + 250_000_000
    assert instant_ns("1795435200.250000001", None, "") == NOON_NS + 250_000_001
    assert instant_ns("23.11.2026 13:00:00", zone_named("Europe/Berlin"), "%d.%m.%Y %H:%M:%S") == NOON_NS


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001 - local times are the point
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_a_local_time_is_one_instant_or_refused_as_there_twice_or_not_at_all(when: datetime, zone: str) -> None:
    place = zone_named(zone)
    claims = {(guess - guess.replace(tzinfo=place).utcoffset()).replace(tzinfo=UTC)  # type: ignore[operator]
              for guess in (when.replace(fold=0), when.replace(fold=1))}  # fmt: skip
    fits = [claim for claim in claims if claim.astimezone(place).replace(tzinfo=None, fold=0) == when.replace(fold=0)]
    text = when.isoformat()
    if len(fits) == 1:
        assert (
            instant_ns(text, place, "")
            == (fits[0] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
        )
    else:
        with pytest.raises(ValueError, match="comes twice" if fits else "does not exist"):
            instant_ns(text, place, "")


def test_the_hour_that_comes_twice_needs_an_offset_and_the_one_left_out_is_refused(tmp_path: Path) -> None:
    local = "time=when&value=load&unit=kW&tz=Europe/Berlin"
    twice = export(tmp_path, "when,load\n2026-10-25 01:59:00,1\n2026-10-25 02:30:00,2\n")
    with pytest.raises(MeterError, match=r"row 3: time '2026-10-25 02:30:00' in Europe/Berlin comes twice there"):
        values(twice, local)
    with pytest.raises(MeterError, match=r"row 2: time '2026-03-29 02:30:00' in Europe/Berlin does not exist there"):
        values(export(tmp_path, "when,load\n2026-03-29 02:30:00,1\n"), local)
    both = export(tmp_path, "when,load\n2026-10-25T02:30:00+02:00,1\n2026-10-25T02:30:00+01:00,2\n")
    (first, _), (second, _) = values(both, local)
    assert second == first + 3600 * SECOND_NS  # type: ignore[operator]
    column = export(tmp_path, "when,zone,load\n2026-10-25 02:30,+02:00,1\n2026-10-25 02:30,+01:00,2\n")
    assert [ns for ns, _ in values(column, "time=when&value=load&unit=kW&tz_column=zone")] == [first, second]


@pytest.mark.parametrize(
    ("unit", "kind", "number", "value"),
    [
        ("W", Kind.POWER, "1500", 1500), ("kW", Kind.POWER, "1.5", 1500), ("MW", Kind.POWER, "0.0015", 1500),
        ("Wh", Kind.ENERGY, "2", 7200), ("kWh", Kind.ENERGY, "2", 7.2e6), ("MWh", Kind.ENERGY, "2", 7.2e9),
        ("J", Kind.ENERGY, "2", 2), ("MJ", Kind.ENERGY, "2", 2e6), ("L/min", Kind.FLOW, "42", 42),
        ("m3/h", Kind.FLOW, "3", 50), ("L/s", Kind.FLOW, "2", 120), ("degC", Kind.TEMPERATURE, "30.5", 30.5),
        ("degF", Kind.TEMPERATURE, "212", 100), ("K", Kind.TEMPERATURE, "303.15", 30),
        ("kVA", Kind.APPARENT_POWER, "2", 2000),
        ("m3", Kind.WATER, "1.5", 1500), ("V", Kind.VOLTAGE, "230", 230), ("Hz", Kind.FREQUENCY, "50", 50),
    ],
)  # fmt: skip
def test_a_unit_is_known_by_its_name(tmp_path: Path, unit: str, kind: Kind, number: str, value: float) -> None:
    path = export(tmp_path, f"when,load\n1795435200,{number}\n")
    (meter,) = open_csv(f"{path}?time=when&value=load&unit={unit}")
    (channel,) = meter.channels()
    assert channel.kind is kind
    assert channel.has_own_clock
    ((name, read, ns),) = meter.read()
    assert (name, ns) == (channel.id, NOON_NS)
    assert read == pytest.approx(value)


def test_units_can_stand_in_a_column_and_heat_is_told_by_its_kind(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load,unit\n1795435200,2,kW\n1795435201,2100,W\n")
    options = "time=when&value=load&unit_column=unit&kind=heat"
    assert [value for _, value in values(path, options)] == [2000, 2100]
    (meter,) = open_csv(f"{path}?{options}&role=info")
    assert (meter.channels()[0].kind, meter.channels()[0].unit) == (Kind.HEAT, "W")
    for unit, told in (
        ("BTU", "row 2: unit 'BTU' is not known"),
        ("kWh", "row 2: unit 'kWh' is one of energy, not of heat"),
    ):
        with pytest.raises(MeterError, match=told):
            values(export(tmp_path, f"when,load,unit\n1795435200,2,{unit}\n"), options)


def test_several_columns_share_one_time_and_one_place(tmp_path: Path) -> None:
    path = export(tmp_path, "day,hour,P,E\n2026-11-23,12:00,3.5,1000.25\n2026-11-23,12:01,,1000.30\n")
    options = "time=day,hour&value=P,E&unit=kW,kWh&tz=UTC&boundary=rack&domain=rack7"
    readings = followed(path, options).read()
    assert [(r.channel.rsplit(".", 1)[1], r.value) for r in readings] == [
        ("power", 3500), ("energy", pytest.approx(3.6009e9)), ("energy", pytest.approx(3.60108e9)),
    ]  # fmt: skip
    (meter,) = open_csv(f"{path}?{options}")
    assert {channel.domain for channel in meter.channels()} == {"rack7"}
    assert {reading[0] for reading in readings} == {channel.id for channel in meter.channels()}


def test_european_files_are_read_with_their_commas_semicolons_and_letters(tmp_path: Path) -> None:
    path = export(tmp_path, "Zeit;Wärme\r\n23.11.2026 13:00;1234,5\r\n", encoding="cp1252")
    options = (
        "time=Zeit&value=Wärme&unit=kW&kind=heat&tz=Europe/Berlin&time_format=%25d.%25m.%25Y %25H:%25M"
        "&decimal=comma&encoding=cp1252"
    )
    assert values(path, options) == [(NOON_NS, 1_234_500)]
    (meter,) = open_csv(f"{path}?{options}")
    assert [reading[1] for reading in meter.read()] == [1_234_500]
    with pytest.raises(MeterError, match="it is not utf-8 text: try encoding=cp1252"):
        values(path, options.replace("&encoding=cp1252", ""))
    marked = export(tmp_path, "\ufeffwhen\tload\n1795435200\t1\n")
    assert values(marked, PLAIN) == [(NOON_NS, 1000)]


def test_only_the_rows_of_one_meter_count_where_a_file_holds_many(tmp_path: Path) -> None:
    rows = [f"1795435{200 + k},rack{r},{r}" for k in range(3) for r in (1, 2)]
    path = export(tmp_path, "when,where,load\n" + "\n".join(rows) + "\n")
    assert [value for _, value in values(path, f"{PLAIN}&only=where:rack2")] == [2000] * 3
    with pytest.raises(MeterError, match=r"row 3 has the time of row 2.*only=COLUMN:TEXT"):
        values(path, PLAIN)


def test_energies_of_intervals_become_a_counter_and_starts_are_moved_to_ends(tmp_path: Path) -> None:
    path = export(tmp_path, "when,used\n1795435200,0.5\n1795435260,0.25\n")
    options = "time=when&value=used&unit=kWh&counts=interval&stamp=start&every=60"
    assert values(path, options) == [(NOON_NS + 60 * SECOND_NS, 1.8e6), (NOON_NS + 120 * SECOND_NS, 2.7e6)]
    (meter,) = open_csv(f"{path}?{options}")
    assert (meter.channels()[0].update_ns, meter.channels()[0].average_ns) == (60 * SECOND_NS, 60 * SECOND_NS)


def stretches_after_faults(path: str, options: str) -> list[list[float]]:
    """The counter that is left of a file of energies, in kWh from the start of each stretch without a reset."""
    meter = followed(path, options)
    try:
        read = meter.read()
    except MeterError:
        read = meter.read()  # what was sound
    counter = Series(tuple(r[2] or 0 for r in read), (0,) * len(read), tuple(r[1] for r in read))
    found: list[list[float]] = []
    for value in mended(counter, 0.0, 0.0).series.value:
        if not found or value < found[-1][-1]:
            found.append([])
        found[-1].append(value)
    return [[round((value - one[0]) / 3.6e6, 6) for value in one] for one in found]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ("0,1 60,1 120,1", [[0, 1, 2]]),
        ("0,1 60,1 120, 180,1 240,1", [[0, 1], [0, 1]]),  # a value that is absent
        ("0,1 60,1 180,1 240,1", [[0, 1], [0, 1]]),  # a row that is absent
        ("0,1 120,1 180,1", [[0], [0, 1]]),  # after one row, as much as before at once
        ("0,0 60,0 180,0 240,0 360,9 420,9", [[0, 0], [0, 0], [0, 9]]),
        ("0,1 60,1 61,x 120,1 180,1", [[0, 1], [0, 1]]),  # a row that is refused
        ("0,1 60,1 60,1 120,1 180,1", [[0, 1], [0, 1]]),
    ],
)
def test_the_energy_of_an_interval_that_is_missing_is_never_taken_for_none(
    tmp_path: Path, rows: str, kept: list[list[float]]
) -> None:
    told = [row.split(",") for row in rows.split()]
    path = export(tmp_path, "when,used\n" + "".join(f"{1795435200 + int(t)},{kwh}\n" for t, kwh in told))
    meter_says = stretches_after_faults(path, "time=when&value=used&unit=kWh&counts=interval&every=60")
    assert meter_says == kept


def test_energies_of_intervals_need_to_be_told_how_long_they_are(tmp_path: Path) -> None:
    path = export(tmp_path, "when,used\n1795435200,0.5\n")
    with pytest.raises(UsageError, match="counts=interval needs every=SECONDS"):
        open_csv(f"{path}?time=when&value=used&unit=kWh&counts=interval")


def test_columns_in_another_order_are_read_by_the_header_of_their_own_file(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load,temp\n1795435200,3,20\n")
    (meter,) = open_csv(f"{path}?{PLAIN}")
    assert [reading[1] for reading in meter.read()] == [3000]
    Path(path).rename(f"{path}.1")
    export(tmp_path, "")
    with pytest.raises(MeterError, match="it has no header yet"):
        meter.read()
    with Path(path).open("a") as file:
        file.write("when,temp,load\n1795435201,20,4\n")
    assert [reading[1] for reading in meter.read()] == [4000]


def test_a_row_from_the_future_is_refused_and_those_behind_it_count(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n1795435200,1\n1826971200,2\n1795435201,3\n")
    meter = followed(path, PLAIN)
    with pytest.raises(MeterError, match=r"row 3: its time is \d+ s ahead of this machine's clock"):
        meter.read()
    assert [reading[1] for reading in meter.read()] == [1000, 3000]


def test_a_file_is_followed_as_it_grows(tmp_path: Path) -> None:
    lines = minutes(6)
    path = export(tmp_path, "when,load\n" + "\n".join(lines[:3]) + "\n")
    (meter,) = open_csv(f"{path}?{PLAIN}")
    (channel,) = meter.channels()
    assert (channel.period_ns, channel.update_ns) == (60 * SECOND_NS, 60 * SECOND_NS)
    assert channel.resolution == pytest.approx(100)
    assert [reading[1] for reading in meter.read()] == [3200.0]
    assert meter.read() == []
    with Path(path).open("a") as file:
        file.write(lines[3] + "\n" + lines[4][:-2])
        file.flush()
        assert [(r[1], r[2]) for r in meter.read()] == [(3300.0, NOON_NS + 180 * SECOND_NS)]
        assert meter.read() == []
        file.write(lines[4][-2:] + "\n" + lines[5] + "\n")
        file.flush()
        assert [reading[1] for reading in meter.read()] == [3400.0, 3500.0]


def test_a_bad_row_is_told_once_and_the_sound_ones_beside_it_come_next(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n" + minutes(1)[0] + "\n")
    (meter,) = open_csv(f"{path}?{PLAIN}")
    meter.read()
    with Path(path).open("a") as file:
        file.write("2026-11-23 12:01:00,3.1\n2026-11-23 12:02:00,3.2.1\n2026-11-23 12:03:00,3.3\n")
    with pytest.raises(MeterError, match=r"row 4: '3\.2\.1' is no number") as caught:
        meter.read()
    assert caught.value.kind == "meter-read"
    assert [reading[1] for reading in meter.read()] == [3100.0, 3300.0]
    with Path(path).open("a") as file:
        file.write("2026-11-23 12:03:00,3.3\n2026-11-23 11:00:00,3.3\n2026-11-23 12:04:00,3.4\n")
    with pytest.raises(MeterError, match="row 6 has the time of row 5"):
        meter.read()
    assert [reading[1] for reading in meter.read()] == [3400.0]


def test_a_file_that_is_begun_anew_or_gone_for_a_while_is_followed_on(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n" + "\n".join(minutes(3)) + "\n")
    (meter,) = open_csv(f"{path}?{PLAIN}")
    meter.read()
    Path(path).unlink()
    with pytest.raises(MeterError, match="cannot be read: No such file") as caught:
        meter.read()
    assert caught.value.kind == "meter-unreachable"
    export(tmp_path, "when,load\n" + minutes(4)[3] + "\n")
    assert [reading[1] for reading in meter.read()] == [3300.0]


def test_a_long_file_is_opened_at_its_end_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n" + "".join(f"{1795435200 + k},{k % 7}.25\n" for k in range(50_000)))
    (meter,) = open_csv(f"{path}?{PLAIN}")
    assert [reading[2] for reading in meter.read()] == [NOON_NS + 49_999 * SECOND_NS]
    assert meter.channels()[0].resolution == pytest.approx(10)
    with Path(path).open("a") as file:
        file.write("1795500000,x\n")
    with pytest.raises(MeterError, match="row 50002: 'x' is no number"):
        meter.read()


@pytest.mark.parametrize("opens", [open_csv, open_parquet])
def test_an_export_that_is_made_after_the_run_is_refused(tmp_path: Path, opens: Callable[[str], list[Meter]]) -> None:
    with pytest.raises(UsageError, match=r"read while the run lasts, as its rows appear: leave follow= out"):
        opens(f"{tmp_path}/later?{PLAIN}&follow=off")
    with pytest.raises(MeterError, match="cannot be read: No such file"):
        opens(f"{tmp_path}/later?{PLAIN}")


def parquet(tmp_path: Path, when: pa.Array, load: Sequence[float | None] = (3.0, None, 3.2)) -> str:
    path = str(tmp_path / "dcim.parquet")
    pq.write_table(pa.table({"when": when, "load": pa.array(load, pa.float64())}), path)
    return path


@pytest.mark.parametrize("kind", ["zoned", "local", "epoch_ms", "text"])
def test_parquet_is_read_with_every_kind_of_time(tmp_path: Path, kind: str) -> None:
    at = [datetime(2026, 11, 23, 12, 0, k, tzinfo=UTC) for k in range(3)]
    when = {
        "zoned": pa.array(at, pa.timestamp("us", "Europe/Berlin")),
        "local": pa.array([t.replace(tzinfo=None, hour=13) for t in at], pa.timestamp("ms")),
        "epoch_ms": pa.array([int(t.timestamp() * 1000) for t in at]),
        "text": pa.array([t.isoformat() for t in at]),
    }[kind]
    path = parquet(tmp_path, pa.array(when[:1], when.type), [2.0])
    (meter,) = open_parquet(f"{path}?time=when&value=load&unit=kW&tz=Europe/Berlin")
    assert [(r[1], r[2]) for r in meter.read()] == [(2000, NOON_NS)]
    parquet(tmp_path, when)
    assert [(r[1], r[2]) for r in meter.read()] == [(pytest.approx(3200), NOON_NS + 2 * SECOND_NS)]


def test_a_parquet_file_that_is_replaced_gives_its_new_rows_once(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.array([1795435200, 1795435201, 1795435202]), [1.0, 2.0, 3.0])
    (meter,) = open_parquet(f"{path}?{PLAIN}")
    assert [reading[1] for reading in meter.read()] == [3000]
    assert meter.read() == []
    parquet(tmp_path, pa.array([1795435201, 1795435202, 1795435203, 1795435204]), [2.0, 3.0, 4.0, 5.0])
    assert [reading[1] for reading in meter.read()] == [4000, 5000]
    os.utime(path, ns=(1, 1))
    assert meter.read() == []
    Path(path).write_bytes(b"PAR1 and no more")
    with pytest.raises(MeterError, match=r"dcim\.parquet: not readable"):
        meter.read()
    parquet(tmp_path, pa.array([1795435204, 1795435205, 1795435205, 1795435206]), [5.0, 6.0, 7.0, 8.0])
    with pytest.raises(MeterError, match="row 3 has the time of row 2"):
        meter.read()
    assert [reading[1] for reading in meter.read()] == [6000, 8000]
    os.utime(path, ns=(2, 2))
    assert meter.read() == []


def test_parquet_troubles_are_told_at_opening(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.array([1795435200, 1795435202, 1795435201]))
    with pytest.raises(MeterError, match="row 3 is 1 s earlier than row 2: sort the export by time"):
        open_parquet(f"{path}?{PLAIN}")
    with pytest.raises(MeterError, match=r"there is no column 'power'\. It has: when, load"):
        open_parquet(f"{path}?{PLAIN.replace('load', 'power')}")
    Path(path).write_bytes(b"PAR1 and no more")
    with pytest.raises(MeterError, match=r"dcim\.parquet: not readable"):
        open_parquet(f"{path}?{PLAIN}")


BAD_FILES = [
    ("when,load\n2026-11-23 12:00,1\n", PLAIN.removesuffix("&tz=UTC"), r"row 2: time '2026-11-23 12:00:00' has no"),
    ("when,load\nyesterday,1\n", PLAIN, "row 2: time 'yesterday': it is neither ISO 8601 nor a number"),
    ("when,load\n20261123,1\n", PLAIN, "row 2: time 20261123: no number of s, ms, us or ns"),
    ("when,load\n1795435200,1\n1795435200,2\n", PLAIN, "row 3 has the time of row 2"),
    ("when,load\n1795435260,1\n1795435200,2\n", PLAIN, "row 3 is 60 s earlier than row 2"),
    ('when,load\n1795435200,"1,5"\n', PLAIN, r"row 2: '1,5' is no number with decimal=point; decimal=comma\?"),
    ("when;load\n1795435200;1.234,5\n", PLAIN + "&decimal=comma", r"row 2: '1\.234,5' is no number"),
    ("when;load\n1795435200;1.234\n", PLAIN + "&decimal=comma", r"row 2: '1\.234' is no number with decimal=comma"),
    ("when,load\n1795435200,inf\n", PLAIN, "row 2: 'inf' is no number"),
    ("when,load\n1795435200,1e999\n", PLAIN, "row 2: '1e999' is no number"),
    ("when,load\n1795435200,1_000\n", PLAIN, "row 2: '1_000' is no number"),
    ("when,load\n1795435200\n", PLAIN, "row 2: it has 1 cells, and 2 are needed"),
    ("when,power\n1795435200,1\n", PLAIN, "there is no column 'load'. It has: when, power"),
    ("when,load,load\n1795435200,1,1\n", PLAIN, "there is more than one column 'load'"),
    ("", PLAIN, "it has no header yet: line 1 is missing"),
    ("when,load,zone\n1795435200,1,UTC\n1795435201,1,CET\n", PLAIN + "&tz_column=zone", "row 3: 'CET' is no time zone"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "told"), BAD_FILES)
def test_a_bad_file_ends_in_a_sentence_with_the_row(tmp_path: Path, text: str, options: str, told: str) -> None:
    path = export(tmp_path, text)
    with pytest.raises(MeterError, match=told) as caught:
        values(path, options)
    assert str(caught.value).startswith(path)
    with pytest.raises(MeterError, match=told):
        open_csv(f"{path}?{options}")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("value=load&unit=kW", "give csv:PATH"), ("time=when&value=load", "in which unit"),
        ("time=when&value=load&unit=kw", "unit 'kw' is not known; did you mean 'kW'"),
        ("time=when&value=load&unit=kW&kind=energy", "unit 'kW' is one of power, not of energy"),
        ("time=when&value=load&unit=kW&kind=watts", "kind='watts' is none of"),
        ("time=when&value=a,b&unit=kW", "equally many columns"),
        ("time=when&value=a,b&unit=kW,W", "two columns of one kind"),
        ("time=when&value=load&unit=kW&tz=CET", "'CET' is no time zone"),
        ("time=when&value=load&unit=kW&tz=Europe/Berlim", "no time zone 'Europe/Berlim' is known"),
        ("time=when&value=load&unit=kW&tz=%2B25:00", "is no offset from UTC"),
        ("time=when&value=load&unit=kW&stamp=start", "stamp=start needs every="),
        ("time=when&value=load&unit=kW&only=rack", "give only=COLUMN:TEXT"),
        ("time=when&value=load&unit=kW&counts=interval", "no column is an energy"),
        ("time=when&value=load&unit=kW&decimal=dot", "decimal='dot' is none of"),
        ("time=when&value=load&unit=kW&timezone=UTC", "there is no option 'timezone'"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_csv(f"./dcim.csv?{options}")


def test_facts_and_accuracy_say_what_nobody_stated(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n" + "\n".join(minutes(3)) + "\n")
    (meter,) = open_csv(f"{path}?{PLAIN.replace('UTC', '+02:00')}")
    (channel,) = meter.channels()
    assert channel.class_pct == 5
    assert channel.accuracy_source.startswith("no accuracy stated; taken as 5 % of reading")
    facts = meter.facts()
    assert facts["time_zone"]["value"] == "UTC+02:00"
    assert facts["maker"] == {"value": None, "source": path, "why": "an export does not tell"}
    (stated,) = open_csv(f"{path}?{PLAIN}&class=1&certificate=K-9")
    assert (stated.channels()[0].class_pct, stated.channels()[0].certificate) == (1, "K-9")


def test_a_load_that_was_exported_comes_back_to_the_last_digit(tmp_path: Path) -> None:
    dice = random.Random(5)
    truth = [(NOON_NS + 250_000_000 * k, round(dice.uniform(0, 9000), 2)) for k in range(5000)]
    rows = [f"{datetime.fromtimestamp(ns / 1e9, UTC).isoformat()},{watts}" for ns, watts in truth]
    path = export(tmp_path, "when,load\n" + "\n".join(rows) + "\n")
    assert values(path, "time=when&value=load&unit=W") == truth


def test_a_path_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    export(tmp_path, "when,load\n1795435200,1\n")
    assert len(open_csv(f"~/dcim.csv?{PLAIN}")[0].read()) == 1


def test_closing_twice_does_nothing_and_the_meter_is_named_after_its_file(tmp_path: Path) -> None:
    path = export(tmp_path, "when,load\n", "x.csv")
    (meter,) = open_csv(f"{path}?{PLAIN}")
    assert meter.name == meter.channels()[0].meter
    assert meter.name.endswith("-x-csv")
    meter.close()
    meter.close()
