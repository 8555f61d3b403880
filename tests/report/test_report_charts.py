"""Charts as inline SVG: well formed, the same every time, free of styles, whatever the values and names."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.report.charts import budget_chart, ecdf_chart, log_ticks, power_chart, standing_chart
from tcabench.report.series import Ecdf, Envelope, Gap

NAMES = ("", "plain", "<b>&\"'</b>", "$\\frac{1}{2}$", "名前 \u202e عنوان \U0001f600", "x" * 300, "\x00\x07")


def line(label: str, values: tuple[float, ...] = (1.0, 2.0)) -> Envelope:
    t_s = tuple(float(i) for i in range(len(values)))
    return Envelope(label, "c", True, t_s, values, values, values, (1,), (Gap(0.2, 0.8),), len(values))


def sound(svg: str) -> str:
    """`svg`, after checking that it parses and carries nothing that a strict page refuses."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "style" not in {name for e in root.iter() for name in e.attrib}
    assert not [e for e in root.iter() if e.tag.endswith(("}style", "}script", "}metadata"))]
    assert not re.search(r'="#[0-9a-f]{6}"', svg)
    assert "nan" not in svg.lower().replace("nanosec", "")
    return svg


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name: str) -> None:
    row = {"name": name, "j": 2.0, "boundary": "wall", "here": False}
    sound(power_chart([line(name), line(name)], [], None, None, name.replace("\x00", "").replace("\x07", "")))
    sound(standing_chart([row], "d"))
    sound(budget_chart([{"name": name, "down_pc": 1.0, "up_pc": 2.0}], "d"))


def test_the_same_values_give_the_same_bytes() -> None:
    data = Ecdf((0.1, 0.2), (0.5, 1.0), 2)
    assert ecdf_chart("a", "TTFT", data, {"p50": 0.1}, "d") == ecdf_chart("a", "TTFT", data, {"p50": 0.1}, "d")


def test_ids_carry_the_name_of_their_chart() -> None:
    data = Ecdf((0.1, 0.2), (0.5, 1.0), 2)
    one, two = (ElementTree.fromstring(ecdf_chart(i, "TTFT", data, {}, "d")) for i in ("one", "two"))
    assert not {e.get("id") for e in one.iter() if e.get("id")} & {e.get("id") for e in two.iter() if e.get("id")}


def test_text_stays_text() -> None:
    svg = sound(budget_chart([{"name": "meter gain", "down_pc": 5.0, "up_pc": 5.0}], "d"))
    assert ">meter gain</text>" in svg


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=5), st.floats(0, 1e3))
def test_any_latency_can_be_drawn(values: list[float], mark: float) -> None:
    x = tuple(sorted(values))
    shares = tuple((i + 1) / len(x) for i in range(len(x)))
    sound(ecdf_chart("e", "ITL", Ecdf(x, shares, len(x)), {"p50": mark, "p99": mark}, "d"))


@given(st.floats(1e-6, 1e9), st.floats(1.3, 1e9))
def test_a_log_axis_has_few_ticks_inside_it(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low <= t <= low * ratio for t in ticks)
    assert len(ticks) >= 2 or ratio < 10


@pytest.mark.parametrize(("low", "high"), [(0.74, 0.77), (0.6, 0.96), (0.0101, 0.0149)])
def test_a_short_log_axis_has_ticks_too(low: float, high: float) -> None:
    ticks = log_ticks(low, high, 4)
    assert 1 <= len(ticks) <= 4
    assert all(low <= tick <= high for tick in ticks)
