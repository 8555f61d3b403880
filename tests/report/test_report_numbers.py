"""Numbers as people read them: a table of forms, and laws that hold for all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.report.numbers import THIN, grouped, human, interval, parsed
from tcabench.units import decimal


@pytest.mark.parametrize(
    ("text", "unit", "shown"),
    [
        ("0.05123456", "s", "51.23 ms"),
        ("0.000012", "s", "12 µs"),
        ("125.5", "s", "125.5 s"),
        ("42310", "J", "42.31 kJ"),
        ("240", "J/token", "240 J/token"),
        ("0.0284", "J/token", "0.0284 J/token"),
        ("0.00284", "J/token", "2.84 mJ/token"),
        ("1306925.077", "token/kWh", f"1{THIN}307{THIN}000 tokens/kWh"),
        ("9500", "W", "9500 W"),
        ("95000", "W", "95 kW"),
        ("0.0417", "1", "4.17 %"),
        ("0", "1", "0 %"),
        ("-0.0043", "1", "\u22120.43 %"),
        ("3", "", "3"),
        ("1.5e+18", "token", "1.500 \u00d7 10¹⁸ tokens"),
        ("not a number", "W", "not a number W"),
    ],
)
def test_human(text: str, unit: str, shown: str) -> None:
    assert human(text, unit).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "shown"),
    [
        ("8.1", "2.7", "24.3", "J/token", ("8.10", "J/token", "", "2.70", "24.3")),
        ("0.1", "0.098", "0.102", "s", ("100.0", "ms", "2.0", "", "")),
        ("90", "90", "90", "s", ("90", "s", "", "", "")),
        ("15360", "15360", "15360", "token", (f"15{THIN}360", "tokens", "", "", "")),
        ("0", "0", "0.02", "1", ("0", "%", "", "0", "2.00")),
        ("123456.7", "123456.6", "123456.8", "W", ("123.457", "kW", "0.00010", "", "")),
    ],
)
def test_interval(value: str, low: str, high: str, unit: str, shown: tuple[str, ...]) -> None:
    assert tuple(interval(value, low, high, unit)) == shown


@given(st.floats(1e-5, 1e12), st.sampled_from(["J", "W", "s", "J/token", "token/kWh", "1"]))
def test_the_human_form_is_within_a_thousandth(value: float, unit: str) -> None:
    exact = decimal(value)
    text = human(exact, unit).replace(THIN, "")
    number, _, written = text.partition("\u00a0")
    factor = {"m": "1e-3", "µ": "1e-6", "k": "1e3", "M": "1e6", "G": "1e9", "%": "1e-2"}.get(written[:1], "1")
    back = Decimal(number) * Decimal(factor)
    assert abs(back / Decimal(exact) - 1) <= Decimal("0.001")


@given(st.decimals(-(10**12), 10**12, places=3))
def test_grouping_only_adds_thin_spaces(number: Decimal) -> None:
    assert parsed(grouped(number).replace(THIN, "").replace("\u2212", "-")) == number
