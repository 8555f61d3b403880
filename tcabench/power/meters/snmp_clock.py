"""A device's clock as SNMP tells it (DateAndTime, RFC 2579)."""

from datetime import UTC, datetime, timedelta, timezone

from tcabench.power.meters.snmp_answer import Value
from tcabench.records import ClockReading
from tcabench.units import NS_PER_S

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TENTH_NS = NS_PER_S // 10
NO_CLOCK = "the device has no such object"
NO_ZONE = "it tells local time without its zone: no instant follows from that"
NO_TIME = "what it tells is no time"


def clock_reading(value: Value) -> ClockReading | str:
    """The instant, or why there is none.

    Many agents leave the tenths at 0, so a time without tenths is taken as cut down to the whole second.
    """
    if not isinstance(value, bytes):
        return NO_CLOCK if value is None else NO_TIME
    if len(value) != 11:
        return NO_ZONE if len(value) == 8 else NO_TIME
    year, tenths = int.from_bytes(value[:2], "big"), value[7]
    away = timedelta(hours=value[9], minutes=value[10]) * (-1 if value[8:9] == b"-" else 1)
    try:
        month, day, hour, minute, second = value[2:7]
        at = datetime(year, month, day, hour, minute, second, tzinfo=timezone(away))
    except ValueError:
        return NO_TIME
    if tenths > 9 or value[8:9] not in (b"+", b"-"):
        return NO_TIME
    whole_s = (at - EPOCH) // timedelta(seconds=1)
    return ClockReading(whole_s * NS_PER_S + tenths * TENTH_NS, TENTH_NS if tenths else NS_PER_S)
