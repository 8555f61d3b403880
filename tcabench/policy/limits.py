"""Limits with their unit ("15000 token/kWh") and the unit that each metric has."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points

METRIC_UNITS = {
    "output_tokens_per_kwh": "token/kWh",
    "j_per_output_token": "J/token",
    "j_per_request": "J/request",
    "power_mean": "W",
    "power_peak": "W",
    "power_idle": "W",
    "output_tokens_per_s": "token/s",
    "requests_per_s": "request/s",
    "error_rate": "1",
    "accuracy": "1",
    "j_per_correct_answer": "J/answer",
    "output_tokens": "token",
    "window_s": "s",
    "token_count_difference": "1",
    **dict.fromkeys(("energy_total", "energy_dynamic", "heat_removed"), "kWh"),
    **dict.fromkeys(("power_idle_before", "power_idle_after"), "W"),
    **dict.fromkeys(
        ("j_per_output_token_dynamic", "j_per_prompt_token_prefill", "j_per_output_token_decode"), "J/token"
    ),
    **dict.fromkeys(("ppue_interim", "ere", "cer"), "1"),
    "cue": "kg/kWh",
    "wue": "L/kWh",
    **dict.fromkeys(
        ("co2e_location_g_per_1k_output_tokens", "co2e_market_g_per_1k_output_tokens", "sci_g_per_1k_output_tokens"),
        "g/ktoken",
    ),
    **{f"{latency}.p{p}": "s" for latency in ("ttft", "itl", "tpot", "e2e") for p in (50, 90, 99)},
}
ON_METERS = ("ppue_interim", "ere", "cer")  # ratios of energies: no unit tells what they rest on
PER_LOOP = "heat_removed."  # one value for each coolant loop
METRIC_GROUP = "tcabench.metrics"

_LIMIT = re.compile(r"(?P<number>[+-]?\d+(\.\d+)?([eE][+-]?\d+)?)( (?P<unit>\S+))?")


@dataclass(frozen=True, slots=True)
class Limit:
    """A number with its unit; "1" is the unit of a plain ratio."""

    value: float
    unit: str

    def __str__(self) -> str:
        return plain(self.value) if self.unit == "1" else f"{plain(self.value)} {self.unit}"


def parse_limit(given: object, metric: str) -> Limit:
    """`given` as a limit on `metric`. raises: ValueError saying what to write instead."""
    match = _LIMIT.fullmatch(str(given).strip())
    if not match:
        raise ValueError(f"{given!r} is not a limit; write a number, a blank and a unit, e.g. '15000 token/kWh'")
    unit = match["unit"] or "1"
    _check_unit(str(given), unit, metric)
    value = float(match["number"])
    if value == float("inf"):
        raise ValueError(f"{given!r} is larger than any result")
    return Limit(value, unit)


def _check_unit(given: str, unit: str, metric: str) -> None:
    """A plug-in's metric is known by name only; its unit is compared when there is a value."""
    expected = METRIC_UNITS.get(PER_LOOP[:-1] if metric.startswith(PER_LOOP) else metric)
    if expected is None:
        return _check_known(metric)
    if unit == expected:
        return None
    right = [name for name, its_unit in METRIC_UNITS.items() if its_unit == unit != "1"]
    if right:
        cure = f"{unit} is the unit of {' or '.join(right[:3])}: name that metric, or convert the limit to {expected}"
    elif expected == "1":
        cure = "write a plain ratio without a unit, e.g. 0.01 for one per cent"
    else:
        cure = f"write the limit in {expected}"
    told = f"the limit {given!r} is in {unit}" if unit != "1" else f"the limit {given!r} has no unit"
    raise ValueError(f"{metric} is in {expected}, but {told}; {cure}")


def _check_known(metric: str) -> None:
    known = {*METRIC_UNITS, *(point.name for point in entry_points(group=METRIC_GROUP))}
    if metric not in known and metric.split(".")[0] not in known:  # a plug-in's "grams" may give "grams.p50"
        close = get_close_matches(metric, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no metric {metric!r}.{hint} Known: {', '.join(sorted(known))}")


def is_energy(unit: str, metric: str = "") -> bool:
    """Whether a value in `unit` rests on a power or energy meter, so that the evidence grade bears on it."""
    return metric in ON_METERS or any(part in ("J", "kWh", "Wh", "W", "ktoken") for part in unit.split("/"))


def plain(x: float) -> str:
    """`x` for a sentence: 4 significant digits, thousands set apart, no exponent where a reader can do without."""
    if x == 0 or not 1e-4 <= abs(x) < 1e15:
        return format(x, ".4g")
    if abs(x) >= 1000:
        return f"{float(format(x, '.4g')):,.0f}"
    return format(x, ".4g")
