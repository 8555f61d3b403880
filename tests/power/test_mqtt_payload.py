"""What comes over MQTT, as numbers: the right ones, or none, whatever the message."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.power.address import parse_address
from tcabench.power.meters.mqtt import OPTIONS
from tcabench.power.meters.mqtt_payload import BadMessage, asked_format, number_at, parsed, stamp_ns, step_of


def test_paths_lead_through_objects_and_lists_to_finite_numbers_only() -> None:
    message = {"a": [{"b": Decimal("1.50")}], "s": "2.5", "t": True, "n": None, "x": Decimal("NaN"), "w": "watts"}
    got = {path: number_at(message, path) for path in ("a.0.b", "a.1.b", "a.b", "s", "t", "n", "x", "w", "a")}
    assert {path for path, number in got.items() if number is not None} == {"a.0.b", "s"}
    assert (got["a.0.b"], step_of(Decimal("1.50")), step_of(Decimal("12"))) == (Decimal("1.5"), Decimal("0.01"), 1)


@pytest.mark.parametrize(
    ("at", "ns"),
    [
        (Decimal("1795442706.25"), 1_795_442_706_250_000_000),
        (Decimal("1795442706250"), 1_795_442_706_250_000_000),
        (Decimal("1795442706250000"), 1_795_442_706_250_000_000),
        (Decimal("1795442706250000001"), 1_795_442_706_250_000_001),
        (Decimal(2**64 - 1), None),
        (Decimal(12), None),
        (Decimal("1e4000"), None),
        ("9999-12-31T23:59:59Z", None),
        ("1970-01-01T00:00:12Z", None),
        ("2026-11-23T16:05:06.250+02:00", 1_795_442_706_250_000_000),
        ("2026-11-23T14:05:06Z", 1_795_442_706_000_000_000),
        ("2026-11-23T14:05:06", None),
        ("soon", None),
        (Decimal(0), None),
        ({}, None),
    ],
)
def test_a_stamp_is_an_instant_or_none(at: Any, ns: int | None) -> None:
    assert stamp_ns({"d": {"at": at}}, "d.at") == ns


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ENERGY", "Power"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_message_is_numbers_or_a_bad_message(payload: bytes) -> None:
    form = asked_format(parse_address("mqtt", "//pdu/plug?format=tasmota", 1883, OPTIONS))
    try:
        message = parsed(payload, form)
    except BadMessage:
        return
    number = number_at(message, "ENERGY.Power")
    assert number is None or number.is_finite()
    assert stamp_ns(message, "ENERGY.Power") is None or number
