"""What is asked of a device once, at opening: the digits and unit of its numbers, its accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcabench.power.meters.snmp_answer import Client, Value
from tcabench.power.oid_map import Level, OidChannel, filled
from tcabench.records import Kind

OPEN_S = 3.0  # for each GET at opening
AT_ONCE = 12  # objects in one GET at opening: weak agents refuse more
EO_ACCURACY = "1.3.6.1.2.1.229.1.2.1.4.{entity}"  # eoPowerAccuracy, RFC 7460
TRUSTED_DIGITS = range(10)
METERED = (Kind.POWER, Kind.ENERGY, Kind.APPARENT_POWER)

Asked = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Settled:
    """A channel of the map with what the device says of it. `oid` is where its value stands, `stamp` its time and
    `state` whether it can be used ("": the map has none); `resolution` and `modulus` in the channel's unit."""

    spec: OidChannel
    oid: str
    stamp: str
    state: str
    digits: int
    factor: float
    resolution: float
    modulus: float
    class_pct: float
    accuracy_source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The objects that a reading of this channel takes."""
        return tuple(name for name in (self.oid, self.stamp, self.state) if name)

    def value_of(self, raw: Value) -> float:
        """The value in the channel's unit. raises: TypeError where `raw` is no number."""
        if not isinstance(raw, int):
            raise TypeError(f"{raw!r} is no number")
        return self.spec.value_of(raw, self.digits, self.factor)

    def why_not(self, raw: Value, state: Value) -> str:
        """Why `raw` cannot be used; "" when it can."""
        if not isinstance(raw, int):
            return "the device has no such object" if raw is None else "it holds text, not a number"
        if self.spec.state and state not in self.spec.state.good:
            return f"the device marks it as not usable (state {state!r})"
        if not self.spec.is_there(raw):
            return f"the device marks it as not available ({raw})"
        return ""


def ask(client: Client, names: Sequence[str]) -> dict[str, Value]:
    """What the device holds under each name, a few at a time. raises: MeterError."""
    wanted = list(dict.fromkeys(names))
    asked: dict[str, Value] = {}
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        asked.update(zip(some, client.get(some, OPEN_S), strict=True))
    return asked


def setup_names(level: Level, index: Mapping[str, int]) -> list[str]:
    """Every object that describes a channel of the level."""
    entity = [filled(EO_ACCURACY, index)] if "entity" in index else []
    each = [
        template
        for spec in level.channels
        for template in (
            spec.digits, spec.step, spec.accuracy, spec.unit_code and spec.unit_code.oid,
            spec.signed and spec.signed.minimum,
        )
        if template
    ]  # fmt: skip
    return entity + [filled(template, index) for template in each]


def settled(spec: OidChannel, index: Mapping[str, int], asked: Asked) -> Settled | str:
    """The channel as the device describes it, or what the device does not tell of it although the map says so."""
    digits = _number(spec.digits, index, asked) if spec.digits else 0
    if digits is None or digits not in TRUSTED_DIGITS:
        return f"the device tells {digits or 'no'} decimal digits for it ({filled(spec.digits or '', index)})"
    factor = 1.0
    if spec.unit_code:
        code = _number(spec.unit_code.oid, index, asked)
        if code is None or code not in spec.unit_code.factors:
            tells, known = "no unit" if code is None else f"unit {code}", ", ".join(map(str, spec.unit_code.factors))
            return f"the device tells {tells} for it ({filled(spec.unit_code.oid, index)}); the map knows {known}"
        factor = spec.unit_code.factors[code]
    raw_step = asked.get(filled(spec.step, index)) if spec.step else None
    steps = raw_step if isinstance(raw_step, int) and raw_step > 0 else 1
    resolution = spec.resolution or steps / 10**digits * abs(spec.scale) * factor
    stamp, state = spec.stamp or "", spec.state.oid if spec.state else ""
    modulus = spec.modulus_raw / 10**digits * spec.scale * factor
    return Settled(
        spec, _oid(spec, index, asked), filled(stamp, index), filled(state, index), digits, factor, resolution, modulus,
        *_accuracy(spec, index, asked),
    )  # fmt: skip


def _oid(spec: OidChannel, index: Mapping[str, int], asked: Asked) -> str:
    if spec.signed:
        lowest = asked.get(filled(spec.signed.minimum, index))
        if isinstance(lowest, int) and lowest < 0:
            return filled(spec.signed.oid, index)
    return filled(spec.oid, index)


def _accuracy(spec: OidChannel, index: Mapping[str, int], asked: Asked) -> tuple[float, str]:
    """Class in % of reading, and where it comes from: the device itself where it knows, else the map."""
    templates = [template for template in (spec.accuracy, EO_ACCURACY if "entity" in index else None) if template]
    for template in templates if spec.kind in METERED else ():
        name = filled(template, index)
        hundredths = asked.get(name)
        if isinstance(hundredths, int) and 0 < hundredths <= 10_000:
            standard = "eoPowerAccuracy of RFC 7460" if template == EO_ACCURACY else "an object of its own"
            return hundredths / 100, f"{hundredths / 100:g} % of reading, told by the device ({standard}, {name})"
    return spec.class_pct, spec.accuracy_source


def _number(template: str, index: Mapping[str, int], asked: Asked) -> int | None:
    value = asked.get(filled(template, index))
    return value if isinstance(value, int) else None
