"""Chip, node, rack and facility side by side, and whether they can all be true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tcabench.energy.boundary import BOUNDARIES
from tcabench.energy.grade import Earned, grade, grade_of_facility
from tcabench.energy.level import Level, level, mean_power
from tcabench.energy.series import Series
from tcabench.records import (
    Channel,
    Component,
    Context,
    Facility,
    NotMetered,
    Quantity,
    Rung,
    Value,
    Window,
)
from tcabench.units import seconds

PLANT = "cooling and loss"
FACILITY = BOUNDARIES[-1]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung with what it rests on. `level` is None for a facility made of the outermost level and its share of the
    plant. `earned` is None where there is no total."""

    boundary: str
    total: Value  # J
    components: tuple[Component, ...]
    earned: Earned | None
    level: Level | None

    @property
    def grade(self) -> str | None:
        return self.earned.grade if self.earned else None

    @property
    def why(self) -> str:
        """Why that grade; without a total, why there is none."""
        return self.earned.why if self.earned else _why(self.total)

    def rung(self, window_s: float) -> Rung:
        """As it is told to the other stages."""
        return Rung(self.boundary, self.total, mean_power(self.total, window_s), self.grade, self.why)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Every boundary with meters, from chip to facility; `facility` tells of the plant, None where nothing is known."""

    steps: tuple[Step, ...]
    facility: Facility | None

    def outermost(self) -> Step | None:
        """The widest metered boundary of the system under test itself."""
        mine = [step for step in self.steps if step.level is not None]
        return mine[-1] if mine else None

    def at(self, boundary: str) -> Step | None:
        return next((step for step in self.steps if step.boundary == boundary), None)


def ladder(channels: Sequence[Channel], series: Mapping[str, Series], window: Window, context: Context) -> Ladder:
    """The energy at every boundary that has meters, held against each other."""
    levels = [level(channels, series, window, boundary, context) for boundary in BOUNDARIES]
    steps = [_measured(one, window, context) for one in levels if one.tracks]
    facility = _account(channels, series, window, steps, context)
    if facility is not None and steps and steps[-1].boundary != FACILITY:
        steps.append(_with_plant(steps[-1], facility, channels, window, context))
    return Ladder(tuple(_consistent(steps)), facility)


def _measured(one: Level, window: Window, context: Context) -> Step:
    earned = None if isinstance(one.total, NotMetered) else grade(one, window, context)
    return Step(one.boundary, one.total, one.components, earned, one)


def _account(
    channels: Sequence[Channel], series: Mapping[str, Series], window: Window, steps: Sequence[Step], context: Context
) -> Facility | None:
    from tcabench.energy.facility import account

    if window.start_ns >= window.end_ns:
        return None
    sut: Value = steps[-1].total if steps else NotMetered("no meter has the role load")
    return account(channels, series, window, sut, sut, context)


def _with_plant(
    outermost: Step, facility: Facility, channels: Sequence[Channel], window: Window, context: Context
) -> Step:
    """The outermost level with its share of cooling and of loss."""
    from tcabench.energy.facility import total

    whole, ppue = total(facility), facility.ppue
    if isinstance(whole, NotMetered) or isinstance(ppue, NotMetered) or outermost.earned is None:
        why = whole if isinstance(whole, NotMetered) else NotMetered(_why(outermost.total))
        return Step(FACILITY, why, (), None, None)
    sides = 1 - ppue.low / ppue.value, ppue.high / ppue.value - 1
    components = (*outermost.components, Component(PLANT, *sides, facility.rule))
    mine = outermost.level.metered if outermost.level else ()
    own = [one.source.channel for one in mine]
    earned = grade_of_facility(outermost.earned, own, channels, facility.tier, window, context)
    if outermost.boundary == BOUNDARIES[0]:
        earned = replace(earned, why=f"{earned.why}; the system under test is metered at its chips alone")
    return Step(FACILITY, whole, components, earned, None)


def _consistent(steps: Sequence[Step]) -> list[Step]:
    """The steps, each capped at E1 that reads less than a part of it, and that part, too."""
    found = list(steps)
    for inner in range(len(found)):
        for outer in range(inner + 1, len(found)):
            part, whole = found[inner].total, found[outer].total
            if isinstance(part, Quantity) and isinstance(whole, Quantity) and part.low > whole.high:
                why = _contradiction(found[inner].boundary, part, found[outer].boundary, whole)
                found[inner], found[outer] = _doubted(found[inner], why), _doubted(found[outer], why)
    return found


def _contradiction(inner: str, part: Quantity, outer: str, whole: Quantity) -> str:
    return (
        f"{inner} reads {part.value:.6g} J and {outer}, which holds it, {whole.value:.6g} J: more than both intervals "
        "allow, so one of them is wrong or sees something else"
    )


def _doubted(step: Step, why: str) -> Step:
    if step.earned is None:
        return step
    lower = step.earned.at_most("E1", why)
    return replace(step, earned=lower if why in lower.why else replace(lower, why=f"{lower.why}; {why}"))


def _why(total: Value) -> str:
    return total.why if isinstance(total, NotMetered) else ""


def rungs(found: Ladder, window: Window) -> tuple[Rung, ...]:
    """The ladder as it is told to the other stages."""
    window_s = seconds(window.end_ns - window.start_ns)
    return tuple(step.rung(window_s) for step in found.steps) if window_s > 0 else ()
