"""A device's clock as SNMP tells it: an instant, or a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.power.meters.snmp_clock import clock_reading


@pytest.mark.parametrize(
    ("held", "device_ns", "resolution_ns"),
    [
        (b"\x07\xea\x0b\x17\x10\x05\x06\x00+\x02\x00", 1_795_442_706_000_000_000, 1_000_000_000),
        (b"\x07\xea\x0b\x17\x10\x05\x06\x07+\x02\x00", 1_795_442_706_700_000_000, 100_000_000),
        (b"\x07\xea\x0b\x17\x09\x35\x06\x00-\x04\x1e", 1_795_443_786_000_000_000, 1_000_000_000),
    ],
)
def test_a_date_and_time_with_its_zone_is_an_instant(held: bytes, device_ns: int, resolution_ns: int) -> None:
    """2026-11-23 16:05:06 at +02:00; the same with tenths; 09:53:06 at -04:30."""
    assert clock_reading(held) == (device_ns, resolution_ns)


@given(st.binary(max_size=12))
def test_any_bytes_are_an_instant_or_a_reason(held: bytes) -> None:
    told = clock_reading(held)
    assert told if isinstance(told, str) else told.resolution_ns > 0
