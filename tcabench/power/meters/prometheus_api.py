"""The query API of Prometheus and of what speaks like it (Thanos, Mimir, VictoriaMetrics): raw samples, values, time.

Source: Prometheus documentation, "HTTP API", v1. An instant query with a range selector gives the samples as they were
scraped, with their time-stamps; /query_range would resample them and increase() extrapolate, so neither is used.
"""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tcabench.errors import MeterError
from tcabench.power.meters.http_session import Answer, HttpSession

LOG = logging.getLogger("tcabench.power")
SHOWN = 6  # series named in an error
# name{label="value", ...} or {...}: the only form that takes a range, and so gives samples with their own stamps
_QUOTED = r'"(\\.|[^"\\])*"' + r"|'(\\.|[^'\\])*'|`[^`]*`"
_LABELS = r"\{[^{}\"'`]*((" + _QUOTED + r")[^{}\"'`]*)*\}"
SELECTOR = re.compile(rf"[a-zA-Z_:][\w:]*\s*({_LABELS})?|{_LABELS}")


@dataclass(frozen=True, slots=True)
class Scraped:
    """One sample: its stamp in Unix ns by the server's clock, its value, and the value as it was written."""

    device_ns: int
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer, oldest sample first; NaN and infinities are left out."""

    labels: Mapping[str, str]
    samples: tuple[Scraped, ...]


class PrometheusApi:
    """Queries to one server. `warnings` keeps what it warned of."""

    def __init__(self, http: HttpSession, path: str, headers: Mapping[str, str]) -> None:
        self._http, self._path, self._headers = http, quote(path.rstrip("/")), dict(headers)
        self.where = http.where + self._path
        self.warnings: list[str] = []

    def ask(self, query: str, timeout_s: float = 0.0) -> tuple[Series, ...]:
        """The answer to an instant query, each series with one sample, or with several for a range selector.

        raises: MeterError of kind meter-map (the server cannot make sense of the query), meter-auth, meter-protocol,
        meter-read, meter-unreachable.
        """
        data = self.get("/api/v1/query", {"query": query}, timeout_s)
        kind = data.get("resultType")
        result: Any = data.get("result")
        try:
            if kind in ("scalar", "string"):
                return (Series({}, _sound([result])),)
            return tuple(
                Series(one["metric"], _sound(one.get("values", []) if kind == "matrix" else [one["value"]]))
                for one in result
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as err:
            raise MeterError(f"{self.where} answers a query in a way that is not understood", "meter-protocol") from err

    def now_ns(self) -> int:
        """The server's present time in Unix ns, to the ms."""
        return self.ask("time()")[0].samples[0].device_ns

    def get(self, path: str, parameters: Mapping[str, str], timeout_s: float = 0.0) -> dict[str, Any]:
        """The "data" of an answer. raises: as `ask`."""
        asked = f"{self._path}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        answer = self._http.get(asked, self._headers, timeout_s)
        if answer.status in (401, 403):
            why = "wants a login: token_env= or user= and password_env=" if not self._headers else "refuses the login"
            raise MeterError(f"{self.where} {why} (HTTP {answer.status})", "meter-auth")
        if answer.status == 404:
            raise MeterError(
                f"{self.where} has no {path}: is it Prometheus? Where it stands behind a prefix, put that into the "
                "path of the address",
                "meter-protocol",
            )
        told = answer.json()
        if not isinstance(told, dict) or told.get("status") not in ("success", "error"):
            raise MeterError(
                f"{self.where} does not answer as Prometheus does (HTTP {answer.status})", "meter-protocol"
            )
        if told["status"] == "error":
            raise self._refusal(told, answer, parameters)
        self._note(told.get("warnings"))
        data = told.get("data")
        return data if isinstance(data, dict) else {}

    def one(self, found: tuple[Series, ...], query: str) -> Series:
        """The only series. raises: MeterError of kind meter-map where there is none, or more than one."""
        if not found:
            raise MeterError(
                f"{self.where}: {query} gives no series. Check the name and the labels in its web page, and under "
                "Status > Targets that what exports it is up",
                "meter-map",
            )
        if len(found) > 1:
            raise MeterError(
                f"{self.where}: {query} gives {len(found)} series and one is wanted. Narrow it with a label in braces, "
                f"or add them up with sum(). They differ in: {_differences(found)}",
                "meter-map",
            )
        return found[0]

    def _refusal(self, told: Mapping[str, Any], answer: Answer, parameters: Mapping[str, str]) -> MeterError:
        kind, why = told.get("errorType"), str(told.get("error"))[:300]
        if kind == "bad_data":
            return MeterError(
                f"{self.where} cannot make sense of the query {parameters.get('query', '')!r}: {why}. In an address, + "
                "is written %2B, & is %26 and # is %23",
                "meter-map",
            )
        return MeterError(f"{self.where} could not answer (HTTP {answer.status}, {kind}): {why}", "meter-read")

    def _note(self, warnings: Any) -> None:
        for warning in warnings if isinstance(warnings, list) else []:
            if len(self.warnings) < 20 and str(warning)[:300] not in self.warnings:
                self.warnings.append(str(warning)[:300])
                LOG.warning("%s warns: %s", self.where, self.warnings[-1])


def is_selector(query: str) -> bool:
    """Whether a range can be put behind `query`: a bare selector, no expression."""
    return SELECTOR.fullmatch(query) is not None


def _sound(pairs: Any) -> tuple[Scraped, ...]:
    read = [Scraped(round(float(stamp) * 1000) * 1_000_000, float(text), str(text)) for stamp, text in pairs]
    return tuple(one for one in read if math.isfinite(one.value))


def _differences(found: tuple[Series, ...]) -> str:
    """The labels in which the first few series differ."""
    names = sorted({name for one in found for name in one.labels})
    differing = [name for name in names if len({one.labels.get(name) for one in found}) > 1]
    shown = [", ".join(f'{name}="{one.labels.get(name, "")}"' for name in differing) for one in found[:SHOWN]]
    return "; ".join(f"{{{text}}}" for text in shown) + (" ..." if len(found) > SHOWN else "")
