"""How numbers look: three or four significant digits, a unit people say aloud, thousands set apart.

The exact decimal of `result.json` always travels beside the human form; nothing is rounded twice.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NamedTuple

THIN = "\u202f"  # narrow no-break space
MINUS = "\u2212"
TIMES = "\u00d7"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ENERGY_SCALES = ((10**9, "GJ"), (10**6, "MJ"), (10**3, "kJ"), (1, "J"), ("1e-3", "mJ"), ("1e-6", "µJ"))
SCALES: dict[str, tuple[tuple[int | str, str], ...]] = {
    "J": ENERGY_SCALES,
    "J/token": tuple((f, f"{u}/token") for f, u in ENERGY_SCALES[2:]),
    "J/request": tuple((f, f"{u}/request") for f, u in ENERGY_SCALES[1:]),
    "J/answer": tuple((f, f"{u}/correct answer") for f, u in ENERGY_SCALES[1:]),
    "W": ((10**6, "MW"), (10**3, "kW"), (1, "W"), ("1e-3", "mW")),
    "g": ((10**6, "t"), (1000, "kg"), (1, "g"), ("1e-3", "mg")),
    "kWh": ((1, "kWh"), ("1e-3", "Wh"), ("1e-6", "mWh")),
    "s": ((1, "s"), ("1e-3", "ms"), ("1e-6", "µs")),
    "1": (("0.01", "%"),),
    "MAC": ((10**15, "PMAC"), (10**12, "TMAC"), (10**9, "GMAC"), (10**6, "MMAC"), (1, "MAC")),
    "B": ((10**15, "PB"), (10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B")),
}
UNIT_WORDS = {
    "token/kWh": "tokens/kWh",
    "token/s": "tokens/s",
    "request/s": "requests/s",
    "token": "tokens",
    "request": "requests",
    "g/ktoken": "g per 1\u202f000 tokens",
}
# a value keeps its unit until it drops below this many of it: 240 J/token reads better than 0.24 kJ/token
KEEP_UP_TO = Decimal(10_000)
KEEP_DOWN_TO = {"s": Decimal(1), "1": Decimal(0)}
DEFAULT_KEEP_DOWN_TO = Decimal("0.01")


class Scale(NamedTuple):
    """One written unit is `factor` of the unit in the result."""

    factor: Decimal
    unit: str


def parsed(text: str) -> Decimal | None:
    """The finite decimal in `text`, or None if there is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def scale_for(value: Decimal, unit: str) -> Scale:
    """The written unit in which `value` (in `unit`) has few digits before and after the point."""
    scales = [Scale(Decimal(f), u) for f, u in SCALES.get(unit, ((1, UNIT_WORDS.get(unit, unit)),))]
    plain = next((s for s in scales if s.factor == 1), scales[0])
    size = abs(value)
    if size == 0 or KEEP_DOWN_TO.get(unit, DEFAULT_KEEP_DOWN_TO) <= size < KEEP_UP_TO:
        return plain
    fitting = [s for s in scales if s.factor <= size]
    return fitting[0] if fitting else scales[-1]


def grouped(number: Decimal) -> str:
    """`number` written out, with a narrow space between groups of three digits before the point."""
    text = f"{abs(number):f}"
    whole, point, rest = text.partition(".")
    if len(whole) > 4:
        head = len(whole) % 3 or 3
        whole = THIN.join([whole[:head], *(whole[i : i + 3] for i in range(head, len(whole), 3))])
    return (MINUS if number < 0 else "") + whole + point + rest


def scientific(number: Decimal, digits: int) -> str:
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    return f"{mantissa.replace('-', MINUS)} {TIMES} 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def rounded(number: Decimal, digits: int) -> str:
    """`number` to `digits` significant digits; very small and very large ones as mantissa and power of ten."""
    if number == 0:
        return "0"
    if not Decimal("1e-6") <= abs(number) < Decimal("1e15"):
        return scientific(number, digits)
    step = Decimal(1).scaleb(number.adjusted() - digits + 1)
    return grouped(to_step(number, step))


def counted(number: Decimal) -> str:
    """A number without uncertainty of its own: at most six digits, no zeros at the end."""
    return trimmed(rounded(number, 6))


def trimmed(text: str) -> str:
    """`text` without zeros at the end of its fraction."""
    return text.rstrip("0").rstrip(".") if "." in text and TIMES not in text else text


def to_step(number: Decimal, step: Decimal) -> Decimal:
    """`number` rounded to a multiple of the power of ten `step`, without an exponent in its text."""
    kept = number.quantize(step, rounding=ROUND_HALF_EVEN)
    return kept.quantize(Decimal(1)) if step > 1 else kept


def human(text: str, unit: str, digits: int = 4) -> str:
    """A decimal string in `unit` as people read it, e.g. ("0.05123", "s") -> "51.23 ms"; zeros at the end go."""
    value = parsed(text)
    if value is None:
        return f"{text} {unit}"
    scale = scale_for(value, unit)
    return join_unit(trimmed(rounded(value / scale.factor, digits)), scale.unit)


def join_unit(number: str, unit: str) -> str:
    return f"{number}\u00a0{unit}" if unit else number


class Shown(NamedTuple):
    """A value and its interval in words. `half` is set when the interval is symmetric, else `low` and `high`."""

    value: str
    unit: str
    half: str
    low: str
    high: str


def interval(value: str, low: str, high: str, unit: str, is_open: bool = False) -> Shown:
    """Human form of a quantity: "8.1 ± 0.3", "8.1 (2.7 … 24)" or a bare exact number, all in one unit.

    With `is_open` nothing bounds the value from above: it is never shown as exact or symmetric.
    """
    v, a, b = parsed(value), parsed(low), parsed(high)
    if v is None or a is None or b is None:
        return Shown(value, unit, "", low, high)
    scale = scale_for(v, unit)
    v, a, b = v / scale.factor, a / scale.factor, b / scale.factor
    if is_open:
        return Shown(rounded(v, 3), scale.unit, "", rounded(a, 3), rounded(b, 3))
    if a == b:
        return Shown(counted(v), scale.unit, "", "", "")
    down, up = v - a, b - v
    if down > 0 and up > 0 and abs(up - down) <= (up + down) / 40:
        centre, half = plus_minus(v, (up + down) / 2)
        return Shown(centre, scale.unit, half, "", "")
    return Shown(rounded(v, 3), scale.unit, "", rounded(a, 3), rounded(b, 3))


def plus_minus(value: Decimal, half: Decimal) -> tuple[str, str]:
    """Value and half-width with the same last digit: the second significant one of the half-width."""
    last = max(half.adjusted() - 1, value.adjusted() - 5)
    step = Decimal(1).scaleb(last)
    if half < step:
        return rounded(value, 6), rounded(half, 2)
    return grouped(to_step(value, step)), grouped(to_step(half, step))
