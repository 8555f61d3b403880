"""The accuracy class that an operator states of a meter."""

from math import sqrt

import pytest

from tcabench.errors import UsageError
from tcabench.power.address import Point, parse_address, place
from tcabench.records import Channel, Kind


def placed(text: str) -> Channel:
    return place(parse_address("modbus", f"//pdu1?{text}", 502, ()), Point("power", Kind.POWER, "W", 2.0, "the sheet"))


def test_a_class_gives_the_interval_of_a_rectangular_limit() -> None:
    channel = placed("class=0.5")
    assert channel.class_pct == 0.5
    assert channel.gain_high - 1 == pytest.approx(2 * 0.005 / sqrt(3))


@pytest.mark.parametrize("given", ["0", "-0", "0.0", "-1", "nan", "none"])
def test_a_class_that_is_no_class_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="class"):
        placed(f"class={given}")
