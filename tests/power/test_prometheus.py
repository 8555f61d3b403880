"""Prometheus, the real one, scraping a played load: raw samples with their stamps, and what goes wrong in mid-run."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import parse_address
from tcabench.power.meter import ClockedMeter, Meter
from tcabench.power.meters.http_session import HttpSession
from tcabench.power.meters.prometheus import _counter_step, _last_digit, open_prometheus
from tcabench.power.meters.prometheus_api import PrometheusApi, Scraped, is_selector
from tcabench.power.meters.stated_unit import scale_of
from tcabench.records import Instrument, Kind, Reading
from tests.power.servers.prometheus_server import PASSWORD, USER, Exporter, PrometheusServer, prometheus_server

PLENTY_S = 60.0
Open = Callable[..., Meter]


def load(t_s: float) -> float:
    """A ramp of 100 W/s from 3 kW, with a spike of 20 ms in every second."""
    return 9000.0 if t_s % 1 < 0.02 else 3000.0 + 100 * (t_s % 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with prometheus_server(load, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.fixture
def opened(server: PrometheusServer) -> Iterator[Open]:
    """opened(query, "option=value", ...) -> the meter, read every 0.2 s; all are closed at the end."""
    meters: list[Meter] = []

    def call(query: str, *options: str, period: float = 0.2) -> Meter:
        known = options if any(one.startswith("kind=") for one in options) else ("kind=power", "unit=W", *options)
        text = "&".join((f"query={quote(query)}", f"period={period:g}", "timeout=10", *known))
        (meter,) = open_prometheus(f"//127.0.0.1:{server.port}?{text}")
        meters.append(meter)
        return meter

    yield call
    for meter in meters:
        meter.close()


def collected(meter: Meter, n: int) -> list[Reading]:
    """Readings until there are `n`."""
    until, readings = time.monotonic() + PLENTY_S, list[Reading]()
    while len(readings) < n and time.monotonic() < until:
        readings += [Reading(*one) for one in meter.read()]
        time.sleep(0.05)
    assert len(readings) >= n
    return readings


def held(server: PrometheusServer, query: str) -> dict[int | None, float]:
    """The raw samples that the server holds, by their stamps."""
    http = HttpSession(parse_address("prometheus", f"//127.0.0.1:{server.port}", 9090, ()), "off")
    (series,) = PrometheusApi(http, "", {}).ask(f"{query}[5m]", 10.0)
    http.close()
    return {one.device_ns: one.value for one in series.samples}


def test_every_sample_comes_once_with_the_stamp_of_its_scrape(server: PrometheusServer, opened: Open) -> None:
    meter = opened("rack_joules_total", "kind=energy", "unit=J")
    readings = collected(meter, 8)
    stamps = [one.device_ns for one in readings]
    assert stamps == sorted(set(stamps), key=lambda ns: ns or 0)
    there = held(server, "rack_joules_total")
    expected = {ns: value for ns, value in there.items() if stamps[0] <= ns <= stamps[-1]}  # type: ignore[operator]
    assert {one.device_ns: one.value for one in readings} == expected
    given = [joules for _, joules in server.exporter.given]
    assert all(one.value in given for one in readings)


def test_a_pause_between_two_readings_loses_nothing(server: PrometheusServer, opened: Open) -> None:
    meter = opened("rack_watts")
    collected(meter, 1)
    before = len(server.exporter.given)
    while len(server.exporter.given) < before + 5:
        time.sleep(0.05)
    assert len(meter.read()) >= 4


def test_the_channel_says_what_is_known_and_what_is_not(server: PrometheusServer, opened: Open) -> None:
    meter = opened('rack_watts{pdu="7"}', "boundary=rack", "domain=rack7")
    (channel,) = meter.channels()
    assert channel.id == f"prometheus.127-0-0-1-{server.port}-rack-watts-pdu-7.power"
    assert (channel.domain, channel.unit, channel.has_own_clock) == ("rack7", "W", True)
    assert channel.instrument is Instrument.BMC
    assert "was not said" in channel.note
    assert channel.accuracy_source.startswith("no accuracy stated; taken as 5 % of reading")
    assert 150_000_000 <= channel.update_ns <= 400_000_000  # 0.2 s, learned from the samples
    facts = meter.facts()
    assert 'pdu="7"' in facts["series"]["value"]
    assert "version 2." in facts["server"]["value"] or "version 3." in facts["server"]["value"]
    assert facts["maker"]["value"] is None
    assert facts["security"]["value"] == "none: HTTP without TLS; no login"
    (said,) = opened("rack_watts", "instrument=meter", "class=0.5", "update=1").channels()
    assert (said.instrument, said.class_pct, said.update_ns, said.note) == (Instrument.METER, 0.5, 1_000_000_000, "")
    assert opened("rack_watts", "instrument=model", "name=kepler").channels()[0].is_estimate


def test_a_counter_in_kwh_is_given_in_joules_with_its_true_step(server: PrometheusServer, opened: Open) -> None:
    until = time.monotonic() + PLENTY_S
    while server.exporter.given[-1][1] < 8000 and time.monotonic() < until:
        time.sleep(0.05)
    collected(opened("rack_joules_total", "kind=energy", "unit=J"), 3)
    meter = opened("rack_kwh_total", "kind=energy", "unit=kWh")
    (channel,) = meter.channels()
    assert channel.unit == "J"
    assert channel.resolution >= 3599.0
    assert channel.resolution / 3600 == pytest.approx(round(channel.resolution / 3600))
    assert collected(meter, 1)[0].value % 3600 == pytest.approx(0.0, abs=1e-6)


def test_a_range_behind_a_selector_makes_no_difference(opened: Open) -> None:
    meter = opened('rack_watts{pdu="7"}[5m]')
    assert meter.facts()["query"]["value"] == 'rack_watts{pdu="7"}'
    assert "expression" not in meter.channels()[0].note


def test_an_expression_gives_its_value_and_says_so(opened: Open) -> None:
    meter = opened("sum(rack_watts) / 1000", "kind=power", "unit=kW")
    (channel,) = meter.channels()
    assert "an expression" in channel.note
    assert channel.update_ns == 0
    (reading,) = collected(meter, 1)
    assert 2900 <= reading.value <= 9000
    assert reading.device_ns is not None
    assert collected(opened("vector(25)", "kind=temperature", "unit=C"), 1)[0].value == 25.0


def test_the_servers_clock_can_be_asked(opened: Open) -> None:
    meter = opened("rack_watts")
    assert isinstance(meter, ClockedMeter)
    before = time.time_ns()
    told = meter.device_time()
    after = time.time_ns()
    assert before - told.resolution_ns <= told.device_ns <= after + told.resolution_ns


@pytest.mark.parametrize(
    ("query", "kind", "why"),
    [
        ("rack_wats", "meter-map", "gives no series. Check the name"),
        ('{__name__=~"rack_watts|rack_kwh_total"}', "meter-map", r'gives 2 series .*__name__="rack_watts"'),
        ("sum(rack_watts", "meter-map", "cannot make sense of the query 'sum\\(rack_watts': "),
        ("rack_watts + ", "meter-map", "%2B"),
        ("vector(0) / 0", "meter-read", "no value that is a number"),
    ],
)
def test_a_query_that_does_not_give_one_number_says_why(opened: Open, query: str, kind: str, why: str) -> None:
    with pytest.raises(MeterError, match=why) as caught:
        opened(query)
    assert caught.value.kind == kind


def test_what_is_no_prometheus_is_not_taken_for_one(server: PrometheusServer) -> None:
    query = "query=rack_watts&kind=power&unit=W"
    with pytest.raises(MeterError, match="does not answer in JSON"):
        open_prometheus(f"//127.0.0.1:{server.exporter.port}?{query}")
    with pytest.raises(MeterError, match="into the path of the address") as caught:
        open_prometheus(f"//127.0.0.1:{server.port}/prefix?{query}")
    assert caught.value.kind == "meter-protocol"


def test_frozen_values_come_with_new_stamps_and_a_reset_shows_as_it_is(server: PrometheusServer, opened: Open) -> None:
    meter = opened("rack_joules_total", "kind=energy", "unit=J")
    collected(meter, 2)
    server.exporter.knobs.frozen = True
    try:
        frozen = collected(meter, 5)[-3:]
    finally:
        server.exporter.knobs.frozen = False
    assert len({one.value for one in frozen}) == 1
    assert len({one.device_ns for one in frozen}) == 3
    server.exporter.reset_counter()
    seen = [one.value for one in collected(meter, 4)]
    assert min(seen) < frozen[0].value


def test_nan_is_no_reading(server: PrometheusServer, opened: Open) -> None:
    meter = opened("rack_watts", period=20)
    server.exporter.knobs.nan = True
    try:
        before = len(server.exporter.given)
        while len(server.exporter.given) < before + 4:
            time.sleep(0.05)
        meter.read()
        assert meter.read() == []
    finally:
        server.exporter.knobs.nan = False
    assert collected(meter, 1)


def test_an_exporter_that_is_down_fails_the_reading_until_it_is_back(server: PrometheusServer, opened: Open) -> None:
    meter = opened("rack_watts")
    server.exporter.knobs.silent = True
    try:
        with pytest.raises(MeterError, match="no new sample of rack_watts for") as caught:
            collected(meter, 10_000)
    finally:
        server.exporter.knobs.silent = False
    assert caught.value.kind == "meter-read"
    until = time.monotonic() + PLENTY_S
    back: list[Reading] = []
    while not back and time.monotonic() < until:
        try:
            back = [Reading(*one) for one in meter.read()]
        except MeterError:
            time.sleep(0.05)
    assert back


def test_a_server_that_was_killed_is_read_again_and_nothing_comes_twice(server: PrometheusServer, opened: Open) -> None:
    raw, summed = opened("rack_joules_total", "kind=energy", "unit=J", period=20), opened("sum(rack_watts)")
    readings = collected(raw, 3)
    server.kill()
    for meter in (raw, summed):
        with pytest.raises(MeterError) as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
    server.start(scrapes=0)
    assert collected(summed, 1)
    readings += [Reading(*one) for one in raw.read()]  # it takes 5 s to scrape again; what it holds was given before
    stamps = [one.device_ns for one in readings]
    assert len(set(stamps)) == len(stamps)


def test_tls_and_a_password_guard_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_PASSWORD", PASSWORD)
    with prometheus_server(load, tmp_path, guarded=True, scrapes=0) as guarded:
        text = f"//127.0.0.1:{guarded.port}?query=vector(300)&kind=power&unit=W&timeout=10&tls=on&ca={guarded.ca}"
        with pytest.raises(MeterError, match="wants a login") as caught:
            open_prometheus(text)
        assert caught.value.kind == "meter-auth"
        (meter,) = open_prometheus(f"{text}&user={USER}&password_env=PROM_PASSWORD")
        assert collected(meter, 1)[0].value == 300
        assert meter.facts()["security"]["value"].endswith("; with a login")
        shown = repr((meter.facts(), meter.channels()))
        meter.close()
        monkeypatch.setenv("PROM_PASSWORD", "wrong secret")
        with pytest.raises(MeterError, match="refuses the login") as caught:
            open_prometheus(f"{text}&user={USER}&password_env=PROM_PASSWORD")
    assert PASSWORD not in shown
    assert "wrong secret" not in str(caught.value)


@contextmanager
def scripted(*answers: object) -> Iterator[tuple[int, list[str]]]:
    """A server that gives the answers in turn, the last one for ever; its port, and the Authorization headers seen."""
    left, seen = list(answers), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers["Authorization"]))
            body = json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing goes to stderr."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield http.server_address[1], seen
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)


def vector(value: str, labels: dict[str, str] | None = None, **more: object) -> dict[str, object]:
    result = [{"metric": labels or {}, "value": [time.time(), value]}]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def test_a_token_goes_with_every_request_and_never_in_the_clear_unsaid(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with scripted(vector("5")) as (port, seen):
        text = f"//127.0.0.1:{port}?query=sum(x)&kind=power&unit=W&token_file={tmp_path / 'token'}"
        with pytest.raises(UsageError, match="in the clear"):
            open_prometheus(text)
        assert seen == []
        (meter,) = open_prometheus(f"{text}&tls=off")
        meter.read()
        assert set(seen) == {"Bearer s3cret"}
        assert "s3cret" not in repr((meter.facts(), meter.channels()))
        meter.close()


def test_warnings_of_the_api_are_kept_as_a_fact() -> None:
    with scripted(vector("5", warnings=["only part of the stores answered"])) as (port, _):
        (meter,) = open_prometheus(f"//127.0.0.1:{port}?query=sum(x)&kind=power&unit=W")
        assert meter.facts()["warnings"]["value"] == "only part of the stores answered"
        meter.close()


def test_another_series_in_the_place_of_the_first_is_refused() -> None:
    first = [vector("5", {"pod": "a"})] * 3  # two queries and the version
    with scripted(*first, vector("7", {"pod": "b"})) as (port, _):
        (meter,) = open_prometheus(f"//127.0.0.1:{port}?query=sum(x)&kind=power&unit=W")
        with pytest.raises(MeterError, match="another series now"):
            meter.read()
        meter.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}},
        {"status": "success", "data": {}},
        {"status": "odd"},
        [],
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    with scripted(answer) as (port, _), pytest.raises(MeterError) as caught:
        open_prometheus(f"//127.0.0.1:{port}?query=x&kind=power&unit=W")
    assert caught.value.kind == "meter-protocol"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("//h?kind=power&unit=W", "query=, kind= and unit= are needed"),
        ("//h?query=x[5m:1s]&kind=power&unit=W", "resamples"),
        ("//h?query=rate(x[5m])[1m:1s]&kind=power&unit=W", "resamples"),
        ("//h?query=x&unit=W", "query=, kind= and unit= are needed"),
        ("//h?query=x&kind=power", "query=, kind= and unit= are needed"),
        ("//h?query=x&kind=power&unit=kWh", "none of mW, W, kW, MW for kind=power"),
        ("//h?query=x&kind=clock&unit=MHz", "kind='clock' is none of"),
        ('//h?query=x{a="#1"}&kind=power&unit=W', "%23"),
        ("//h?query=x&kind=power&unit=W&user=me", "a login is"),
        ("//h?query=x&kind=power&unit=W&instrument=guess", "instrument"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(text: str, why: str) -> None:
    if "guess" in text:
        with scripted(vector("5")) as (port, _), pytest.raises(UsageError, match=why):
            open_prometheus(text.replace("//h", f"//127.0.0.1:{port}").replace("query=x", "query=sum(x)"))
        return
    with pytest.raises(UsageError, match=why):
        open_prometheus(text)


@pytest.mark.parametrize(
    ("query", "bare"),
    [
        ("a", True), ("a:b_c", True), ('a{b="c"}', True), ('{__name__=~"x.*",a="}"}', True), ("a{b='}'}", True),
        (r'a{b="\""}', True), ("a{b=`x`}", True), ('a {b="c", d!~"e"}', True), ("sum(a)", False), ("a[5m]", False),
        ("a offset 5m", False), ("a+b", False), ("1", False), ("time()", False), ('a{b="}', False), ("a{b}{c}", False),
    ],
)  # fmt: skip
def test_only_a_bare_selector_takes_a_range(query: str, bare: bool) -> None:
    assert is_selector(query) is bare


def scraped(*texts: str) -> list[Scraped]:
    return [Scraped(i, float(text), text) for i, text in enumerate(texts)]


def test_the_step_of_a_counter_is_what_all_its_advances_have_in_common() -> None:
    assert _counter_step(scraped("12.1", "12.1", "12.3", "12.6")) == pytest.approx(0.1)
    assert _counter_step(scraped("720000", "1080000", "1080000", "1800000")) == 360_000
    assert _counter_step(scraped("1000", "1990", "3003")) == 1
    assert _counter_step(scraped("12.5")) == pytest.approx(0.1)
    assert _counter_step(scraped("1e+06", "1.5e+06")) == 500_000
    assert _counter_step([]) == 1
    assert _last_digit(scraped("300", "299.5", "301")) == pytest.approx(0.1)
    assert _last_digit(scraped("300", "600")) == 1


@pytest.mark.parametrize(
    ("kind", "unit", "value", "ours"),
    [
        (Kind.POWER, "kW", 3.0, 3000), (Kind.ENERGY, "kWh", 1.0, 3_600_000), (Kind.ENERGY, "mJ", 5000.0, 5),
        (Kind.TEMPERATURE, "K", 300.0, 26.85), (Kind.TEMPERATURE, "F", 212.0, 100), (Kind.FLOW, "m3/h", 6.0, 100),
        (Kind.FLOW, "gal/min", 1.0, 3.785411784), (Kind.WATER, "m3", 2.0, 2000), (Kind.POWER_FACTOR, "%", 95.0, 0.95),
    ],
)  # fmt: skip
def test_stated_units_become_ours(kind: Kind, unit: str, value: float, ours: float) -> None:
    assert scale_of("prometheus", kind, unit).of(value) == pytest.approx(ours)


def test_the_exporter_plays_the_load_it_was_given() -> None:
    exporter = Exporter(lambda t: 1000.0)
    try:
        exporter.page()
        exporter.page()
        (first_w, first_j), (_, second_j) = exporter.given
        assert first_w == 1000.0
        assert 0 <= first_j <= second_j
    finally:
        exporter.end()
