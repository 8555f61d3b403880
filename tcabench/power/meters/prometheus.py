"""What a Prometheus server scrapes:
`prometheus://host:9090?query=METRIC{label="value"}&kind=power&unit=W[&token_env=VAR|&user=NAME&password_env=VAR]`.

The samples are taken as they were scraped, with the server's own time-stamps. One address is one series.
"""

import base64
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from statistics import median

from tcabench.errors import MeterError, TcaError, UsageError
from tcabench.power.address import Address, Point, parse_address, period_ns, place
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.http_session import HTTP_OPTIONS, OPENING_S, HttpSession
from tcabench.power.meters.prometheus_api import PrometheusApi, Scraped, Series, is_selector
from tcabench.power.meters.stated_unit import FACTORS, Scale, scale_of
from tcabench.records import Channel, ClockReading, Instrument, Kind, Reading
from tcabench.units import seconds

OWN = (
    "query", "kind", "unit", "update", "resolution", "instrument", "user", "password_env", "password_file",
    "token_env", "token_file", *HTTP_OPTIONS,
)  # fmt: skip
LOOK_BACK_S = 300  # how far an opening looks back for samples: Prometheus' own limit for stale series
MARGIN_S = 5.0
MAX_RANGE_S = 3600.0
CLASS_PCT = 5.0
TEMPERATURE_ERROR_K = 1.0
CLOCK_NS = 1_000_000
EXPRESSION = (
    "The query is an expression: its stamps are those of the query, and the value may be one scrape older. How often "
    "it changes is not known (update=s states it), and its resolution is the last digit written (or resolution=)."
)
UNSAID = "Whose reading it is was not said (instrument=): taken as that of a board management controller."


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, and how its numbers are to be taken."""

    query: str
    raw: bool  # samples with their own stamps
    kind: Kind
    scale: Scale
    period_s: float


class PrometheusMeter:
    """One series of one server."""

    def __init__(
        self, api: PrometheusApi, asked: Asked, channel: Channel, labels: Mapping[str, str], facts: Mapping[str, Fact],
        seen_ns: int, close: Callable[[], None],
    ) -> None:  # fmt: skip
        """`labels`: those of the series; `seen_ns`: samples up to that stamp are not given any more."""
        self.name, self._labels, self.close = channel.meter, labels, close
        self._api, self._asked, self._channel, self._facts = api, asked, channel, facts
        self._seen_ns, self._heard_s = seen_ns, time.monotonic()
        self._quiet_s = max(3 * seconds(channel.update_ns), 2 * asked.period_s, 2.0)

    def channels(self) -> tuple[Channel, ...]:
        return (self._channel,)

    def read(self) -> Sequence[Reading]:
        """Every sample since the reading before, those of an outage too, as far as the server kept them.

        raises: MeterError, also when nothing new came for three scrapes: what exports the metric is down then.
        """
        query, silent_s = self._asked.query, time.monotonic() - self._heard_s
        if self._asked.raw:
            range_s = min(MAX_RANGE_S, silent_s + 2 * seconds(self._channel.update_ns) + MARGIN_S)
            query = f"{query}[{math.ceil(range_s)}s]"
        fresh = [sample for sample in self._samples(query) if sample.device_ns > self._seen_ns]
        if not fresh:
            if silent_s > self._quiet_s:
                raise MeterError(
                    f"{self._api.where}: no new sample of {self._asked.query} for {silent_s:.1f} s. Is what exports it "
                    "up? See Status > Targets",
                    "meter-read",
                )
            return []
        self._seen_ns, self._heard_s = fresh[-1].device_ns, time.monotonic()
        return [Reading(self._channel.id, self._asked.scale.of(one.value), one.device_ns) for one in fresh]

    def device_time(self) -> ClockReading:
        return ClockReading(self._api.now_ns(), CLOCK_NS)

    def facts(self) -> dict[str, Fact]:
        warned: Fact = {"value": "; ".join(self._api.warnings) or "none", "source": "the API's warnings"}
        return {**self._facts, "warnings": warned}

    def _samples(self, query: str) -> tuple[Scraped, ...]:
        """Of the series that was opened; none where it has none now."""
        if not (found := self._api.ask(query)):
            return ()
        series = self._api.one(found, self._asked.query)
        if series.labels != self._labels:
            raise MeterError(
                f"{self._api.where}: {self._asked.query} is another series now than at the start: "
                f"{dict(series.labels)} in place of {dict(self._labels)}",
                "meter-map",
            )
        return series.samples


def open_prometheus(argument: str) -> list[Meter]:
    """The meter behind `--meter prometheus://...`. raises: UsageError, MeterError."""
    if "#" in argument:
        raise UsageError("prometheus: a # ends an address; write it as %23", "meter-argument")
    address = _named(parse_address("prometheus", argument, 9090, OWN))
    asked = _asked(address)
    http = HttpSession(address, "off", asked.period_s)
    try:
        headers = _login(address, http)
        api = PrometheusApi(http, address.path, headers)
        return [_opened(address, asked, http, api, "with a login" if headers else "no login")]
    except TcaError:
        http.close()
        raise


def _opened(address: Address, asked: Asked, http: HttpSession, api: PrometheusApi, login: str) -> PrometheusMeter:
    """One full reading proves that it works; the newest sample is left for the first `read`."""
    query = f"{asked.query}[{LOOK_BACK_S}s]" if asked.raw else asked.query
    series = api.one(api.ask(query, OPENING_S), asked.query)
    if not series.samples:
        raise MeterError(f"{api.where}: {asked.query} has no value that is a number", "meter-read")
    newest_ns = series.samples[-1].device_ns
    update_s = address.number("update", _spacing_s(series.samples), 0.0, 86_400.0)
    age_s = seconds(api.now_ns() - newest_ns)
    if age_s > max(3 * update_s, 2 * asked.period_s, 5.0):
        raise MeterError(
            f"{api.where}: the last sample of {asked.query} is {age_s:.0f} s old. Is what exports it up? See Status > "
            "Targets",
            "meter-read",
        )
    facts = _facts(api, asked, series, update_s)
    facts["security"] = {"value": f"{http.security()}; {login}", "source": "the connection"}
    channel = _channel(address, asked, series, update_s)
    return PrometheusMeter(api, asked, channel, series.labels, facts, newest_ns - 1, http.close)


def _channel(address: Address, asked: Asked, series: Series, update_s: float) -> Channel:
    instrument = Instrument(address.choice("instrument", Instrument.BMC.value, [one.value for one in Instrument]))
    notes = [] if asked.raw else [EXPRESSION]
    if "instrument" not in address.options and asked.kind in (Kind.POWER, Kind.ENERGY):
        notes.append(UNSAID)
    class_pct, source = CLASS_PCT, f"no accuracy stated; taken as {CLASS_PCT:g} % of reading"
    if asked.kind is Kind.TEMPERATURE:
        shown = abs(asked.scale.of(series.samples[-1].value))
        class_pct = 100 * TEMPERATURE_ERROR_K / max(shown, TEMPERATURE_ERROR_K)
        source = f"no accuracy stated; taken as +-{TEMPERATURE_ERROR_K:g} degC of the {shown:.4g} degC at opening"
    step = _counter_step if asked.kind in (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER) else _last_digit
    resolution = address.number("resolution", step(series.samples)) * asked.scale.factor
    point = Point(
        quantity=asked.kind.value, kind=asked.kind, unit=asked.scale.unit, class_pct=class_pct, accuracy_source=source,
        resolution=resolution, update_s=update_s, instrument=instrument, has_own_clock=True, note=" ".join(notes),
    )  # fmt: skip
    return replace(place(address, point), is_estimate=instrument is Instrument.MODEL)


def _facts(api: PrometheusApi, asked: Asked, series: Series, update_s: float) -> dict[str, Fact]:
    unknown = "a Prometheus server does not know the meter behind a metric"
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items()))
    interval: Fact = {"value": update_s or None, "source": "the spacing of the samples, or update="}
    return {
        "address": {"value": api.where, "source": "the address"},
        "query": {"value": asked.query, "source": "the address"},
        "series": {"value": f"{{{labels}}}", "source": "the server"},
        "interval_s": interval if update_s else {**interval, "why": "there were no two samples to tell it from"},
        "server": _version(api),
        **{name: {"value": None, "source": "Prometheus", "why": unknown} for name in ("maker", "model", "serial")},
    }


def _version(api: PrometheusApi) -> Fact:
    source = "/api/v1/status/buildinfo"
    try:
        return {"value": f"Prometheus API, version {api.get(source, {}, OPENING_S).get('version')}", "source": source}
    except MeterError as err:
        if err.kind == "meter-unreachable":
            raise
        return {"value": None, "source": source, "why": str(err)}


def _asked(address: Address) -> Asked:
    query = re.sub(r"\s*\[[\w.]+\]$", "", address.option("query").strip())
    if not query or "kind" not in address.options or "unit" not in address.options:
        raise UsageError(
            "prometheus: query=, kind= and unit= are needed, as in prometheus://10.0.0.8:9090?"
            'query=pdu_watts{pdu="1"}&kind=power&unit=W',
            "meter-argument",
        )
    if query.endswith("]"):
        raise UsageError(f"prometheus: {query} resamples: leave the range in [] out, samples are taken as they are")
    kind = Kind(address.choice("kind", "", [one.value for one in FACTORS]))
    scale = scale_of("prometheus", kind, address.option("unit"))
    return Asked(query, is_selector(query), kind, scale, seconds(period_ns(address, 1.0)))


def _login(address: Address, http: HttpSession) -> dict[str, str]:
    """The Authorization header. raises: UsageError for half a login, or one that would travel in the clear unsaid."""
    user, password, token = address.option("user"), address.secret("password"), address.secret("token")
    if bool(user) != (password is not None) or (user and token is not None):
        raise UsageError(
            "prometheus: a login is token_env=VARIABLE, or user=NAME with password_env=VARIABLE", "meter-secret"
        )
    if not user and token is None:
        return {}
    if not http.tls and "tls" not in address.options:
        raise UsageError(
            "prometheus: the login would travel in the clear. Add tls=on, or tls=off if that is meant", "meter-secret"
        )
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _named(address: Address) -> Address:
    """Two queries to one server are two meters: the query is part of the name."""
    if "name" in address.options:
        return address
    words = re.sub(r"[^A-Za-z0-9]+", "-", address.option("query")).strip("-").lower()
    if len(words) > 60:
        words = f"{words[:50]}-{sha256(words.encode()).hexdigest()[:8]}"
    return replace(address, options={**address.options, "name": f"{address.label}-{words}"})


def _spacing_s(samples: Sequence[Scraped]) -> float:
    """The scrape interval in s as the samples show it; 0 for fewer than two."""
    apart = [later.device_ns - earlier.device_ns for earlier, later in pairwise(samples)]
    return round(seconds(round(median(apart))), 3) if apart else 0.0


def _last_digit(samples: Sequence[Scraped]) -> float:
    """The last digit that any of the samples shows: 0.1 for "300" and "299.5"."""
    return 10.0 ** min(0, *(_exponent(sample) for sample in samples), 0)


def _counter_step(samples: Sequence[Scraped]) -> float:
    """The step in which a counter advances: the greatest that all its advances are multiples of; the last digit shown
    while it stands still. A register of 0.1 kWh that is exported in J steps in 360000 J."""
    exponent = min(0, *(_exponent(sample) for sample in samples), 0)
    whole = [int(Decimal(sample.text).scaleb(-exponent)) for sample in samples]
    steps = [abs(later - earlier) for earlier, later in pairwise(whole)]
    return float((math.gcd(*steps) or 1) * 10.0**exponent)


def _exponent(sample: Scraped) -> int:
    exponent = Decimal(sample.text).as_tuple().exponent
    return max(-18, exponent) if isinstance(exponent, int) else 0
