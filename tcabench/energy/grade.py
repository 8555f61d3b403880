"""The evidence grade of an energy: computed from how it was metered, with the sentence that says why.

| grade | evidence |
|---|---|
| E0 | an estimate is in it |
| E1 | polled power of a device, or readings that fall short of the rest |
| E2 | a device's energy counter, read at its steps, over 30 s or more, within 2 % of its integrated power |
| E3 | E2, with processor counters and a measured model of the rest of the node |
| E4 | a BMC, or a meter without a class of 1 or better and a certificate valid on the day |
| E5 | a meter of class 1 or better with such a certificate |
| E6 | the same, class 0.5 or better |
| E7 | E5 or E6 throughout a facility: load, cooling and what feeds the distribution, synchronous |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import sqrt

from tcabench.energy import budget
from tcabench.energy.domain import LARGEST_RESIDUAL, Metered
from tcabench.energy.level import Level
from tcabench.energy.rest import doubted
from tcabench.records import Channel, Context, Instrument, Kind, Role, Window
from tcabench.timeline.place import STATED, UNCHECKED
from tcabench.units import seconds

GRADES = ("E0", "E1", "E2", "E3", "E4", "E5", "E6", "E7")
SHORTEST_S = 30.0
LARGEST_LOST = 0.05  # of the window that no sound reading covers
ROUNDING = 1e-6
CLASS_E5, CLASS_E6 = 1.0, 0.5  # % of reading
SYNCHRONOUS = 0.01  # of the window: how well each meter's place on the run's clock must be known for E7
BY_CAPACITY = ("capacity", "two-part")  # rules of cooling that share what is metered by what the operator says
NEEDS = f"E5 needs class {CLASS_E5:g} or better and a certificate valid on the day of the run"


@dataclass(frozen=True, slots=True)
class Earned:
    """A grade and the sentence that says why."""

    grade: str
    why: str

    @property
    def place(self) -> int:
        return GRADES.index(self.grade)

    def at_most(self, grade: str, why: str) -> "Earned":
        """This one, or `grade` where that is lower."""
        return self if self.place <= GRADES.index(grade) else Earned(grade, why)


def worst(earned: Sequence[Earned]) -> Earned:
    """The lowest, the first of equals. raises: ValueError without any."""
    return min(earned, key=lambda one: one.place)


def grade_of_channel(channel: Channel, day: str) -> tuple[str | None, str]:
    """(the grade that a run on the ISO date `day` can earn through this channel at best, why). None for a channel that
    tells of no energy."""
    if channel.kind not in (Kind.POWER, Kind.ENERGY):
        return None, f"{channel.id} tells of {channel.kind.value}, not of energy"
    best = _at_best(channel, day)
    return best.grade, best.why


def _at_best(channel: Channel, day: str) -> Earned:
    if channel.is_estimate or channel.instrument is Instrument.MODEL:
        return Earned("E0", f"{channel.id} is an estimate, not a measurement")
    if channel.instrument is Instrument.METER:
        return _of_a_meter(channel, day)
    if channel.instrument is Instrument.BMC:
        return Earned("E4", f"{channel.id} is a management controller's or power supply's own figure")
    if channel.kind not in (Kind.POWER, Kind.ENERGY):
        return Earned("E1", f"{channel.id} is a device's own figure, not a meter's")
    if channel.kind is Kind.POWER:
        return Earned("E1", f"{channel.id} is polled power of a device")
    return Earned("E2", f"{channel.id} is a device's energy counter: over {SHORTEST_S:g} s or more, near its power")


def _of_a_meter(channel: Channel, day: str) -> Earned:
    if why := _no_certificate(channel, day):
        return Earned("E4", f"{channel.id} is a meter, but {why}: {NEEDS}")
    if not 0 < channel.class_pct <= CLASS_E5:
        stated = f"of class {channel.class_pct:g}" if channel.class_pct > 0 else "of no stated class"
        return Earned("E4", f"{channel.id} is a meter {stated}: {NEEDS}")
    if why := _unlike_its_class(channel):
        return Earned("E4", f"{channel.id} is a meter of class {channel.class_pct:g}, but {why}: {NEEDS}")
    grade = "E6" if channel.class_pct <= CLASS_E6 else "E5"
    certificate = f"certificate {channel.certificate} of {channel.calibrated_on}, due {channel.certificate_due}"
    return Earned(grade, f"{channel.id} is a meter of class {channel.class_pct:g} with {certificate}")


def _unlike_its_class(channel: Channel) -> str:
    """Why the interval that is claimed of a reading is not that of its class, "" if it is: a rectangular limit has the
    k = 2 half width 2/sqrt(3) of it, and no more than a half of that may be taken off."""
    half = max(1 - channel.gain_low, channel.gain_high - 1)
    limit = 2 * channel.class_pct / 100 / sqrt(3)
    if limit / 2 * (1 - ROUNDING) <= half <= limit * (1 + ROUNDING):
        return ""
    return f"+-{100 * half:.3g} % is claimed of it, and the class makes it +-{100 * limit:.3g} %"


def _no_certificate(channel: Channel, day: str) -> str:
    """Why the channel has no certificate valid on `day`, "" if it has one."""
    if not channel.certificate:
        return "no calibration certificate is named"
    calibrated, due = _day(channel.calibrated_on), _day(channel.certificate_due)
    if not calibrated or not due or due < calibrated:
        return f"certificate {channel.certificate} has no dates of calibration and expiry, the one before the other"
    if not (today := _day(day)):
        return "the day of the run is not known"
    if not calibrated <= today <= due:
        span = f"from {channel.calibrated_on} to {channel.certificate_due}"
        return f"certificate {channel.certificate} is valid {span}, and the run was on {day}"
    return ""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def grade(level: Level, window: Window, context: Context) -> Earned:
    """The grade of a level that has a total: that of its worst domain. With a model of the rest of the node, E3 where
    devices and processors have earned E2, and E1 at best without processor counters."""
    window_s = seconds(window.end_ns - window.start_ns)
    lost = {one.channel: one.lost_rel for one in context.health}
    earned = [of_domain(one, window_s, context.day, lost) for one in level.metered]
    found = worst(earned)
    if found.grade == "E2" and all(one.grade == "E2" for one in earned):
        found = Earned("E2", _why_e2(level.metered, window_s))
    return _with_rest(level, found, context.day) if level.is_modelled else found


def of_domain(one: Metered, window_s: float, day: str, lost: Mapping[str, float]) -> Earned:
    """The grade of one domain that gave an energy. `lost`: channel -> share of the window without sound readings."""
    channel = one.source.channel
    best = _at_best(channel, day)
    if best.grade in ("E0", "E4", "E5", "E6"):
        found = best
        if apart := next((c for c in one.components if c.name == budget.RESIDUAL), None):
            found = found.at_most("E4", f"{one.domain}: its counter and its power do not agree, {apart.source}")
    elif why := _below_e2(one):
        found = Earned("E1", why)
    elif window_s < SHORTEST_S:
        found = Earned("E1", f"energy counters over {window_s:.1f} s: E2 needs at least {SHORTEST_S:g} s")
    else:
        found = best
    return _less_lost(found, channel.id, lost.get(channel.id, 0.0))


def _less_lost(found: Earned, channel: str, share: float) -> Earned:
    """No more than E1 where no sound reading of a channel covers more than 5 % of the window."""
    if share <= LARGEST_LOST:
        return found
    limit = f"with more than {100 * LARGEST_LOST:g} % it is E1 at most"
    why = f"{channel}: no sound reading in {100 * share:.1f} % of the window; {limit}"
    return found.at_most("E1", why) if found.grade != "E1" else Earned("E1", f"{found.why}; {why}")


def _of_the_plant(domain: Sequence[Channel], context: Context) -> Earned:
    """What one metered part of the plant has earned, by the channel with the most sound readings."""
    lost = {one.channel: one.lost_rel for one in context.health}
    best = min(domain, key=lambda channel: lost.get(channel.id, 0.0))
    return _less_lost(worst([_at_best(one, context.day) for one in domain]), best.id, lost.get(best.id, 0.0))


def _below_e2(one: Metered) -> str:
    """Why this domain of a device or processor cannot be E2; "" if it can."""
    if one.source.method != "counter":
        return f"{one.domain}: polled power" + (f", for {one.why_not_counter}" if one.why_not_counter else "")
    if one.residual_rel is None:
        if one.source.channel.instrument is Instrument.CPU:
            return ""  # processors have counters only
        return f"{one.domain}: an energy counter with no power readings to check it against"
    if abs(one.residual_rel) > LARGEST_RESIDUAL:
        return (
            f"{one.domain}: energy counter and integral of power differ by {100 * one.residual_rel:+.1f} %, "
            f"E2 allows {100 * LARGEST_RESIDUAL:g} %"
        )
    return ""


def _why_e2(metered: Sequence[Metered], window_s: float) -> str:
    residuals = [abs(one.residual_rel) for one in metered if one.residual_rel is not None]
    why = f"energy counters read at their steps over {window_s:.1f} s"
    if residuals:
        largest, limit = f"{100 * max(residuals):.2f} %", f"{100 * LARGEST_RESIDUAL:g} %"
        why += f", within {largest} of the integral of power (limit {limit})"
    if len(residuals) < len(metered):
        why += "; a processor's counters have no power readings to check them against"
    return why


def _with_rest(level: Level, found: Earned, day: str) -> Earned:
    channels = [one.source.channel for one in (*level.metered, *(one for one, _ in level.held))]
    if why := doubted(level.rest, channels, day):
        return found.at_most("E1", why)
    if found.grade != "E2":
        return found
    return Earned("E3", f"{found.why}; the rest of the node by a measured model ({level.rest.source})")


def synchronous(channels: Sequence[Channel], window: Window, context: Context) -> str:
    """Why the meters of `channels` are not synchronous, "" if they are: each is known on the run's clock to 1 % of the
    window, and not by the bare word of a clock that nothing was held against."""
    errors = {one.meter: one.error_ns for one in context.alignments}
    unchecked = {one.meter for one in context.alignments if one.method == STATED and UNCHECKED in one.why}
    limit_ns = SYNCHRONOUS * (window.end_ns - window.start_ns)
    for meter in dict.fromkeys(channel.meter for channel in channels):
        if meter not in errors:
            return f"it is not known how meter {meter} lies on the run's clock"
        if meter in unchecked:
            return f"meter {meter} only states its time: {UNCHECKED}"
        if errors[meter] > limit_ns:
            known, limit = f"{errors[meter] / 1e9:.3g} s", f"{limit_ns / 1e9:.3g} s"
            return f"meter {meter} is known on the run's clock to {known}, E7 allows {limit}"
    return ""


def grade_of_facility(
    sut: Earned,
    own: Sequence[Channel],
    channels: Sequence[Channel],
    tier: str,
    window: Window,
    context: Context,
) -> Earned:
    """The grade of a facility's energy: E7 where the load has earned E5, every meter of cooling and of what feeds the
    distribution can, there is one of each, and all are synchronous; else that of the worst of them. Where
    others share the plant, the meters of all IT are graded, too, and by rule heat the sensors of the loops; a share by
    a declared capacity is E4 at most.

    `own`: the load's channels; `channels`: all. `tier` as in `Facility`: what is declared (M0) or a mean of the site
    (M1) is an estimate; metered cooling that is shared by a declared capacity (M0, too) is E4."""
    alone, asked = bool(context.site.get("sut_is_all_it")), context.site.get("cooling") or {}
    rule, by_word = asked.get("rule"), asked.get("rule") in BY_CAPACITY and not alone
    is_loss_declared = (context.site.get("loss") or {}).get("rule") == "declared"
    if tier == "M1" or (tier == "M0" and (is_loss_declared or not by_word)):
        return Earned("E0", f"cooling and loss are of tier {tier}: not measured for this system, an estimate is in it")
    needed = [Role.COOLING, Role.UPSTREAM] if alone else [Role.COOLING, Role.UPSTREAM, Role.IT]
    around = [c for c in channels if c.role in needed and c.kind in (Kind.POWER, Kind.ENERGY)]
    by_heat = not alone and (rule == "heat" or (rule == "two-part" and asked.get("dynamic") == "heat"))
    sensors = [c for c in channels if _is_of_a_loop(c)] if by_heat else []
    found = worst([sut, *(_of_the_plant(one, context) for one in (*_by_domain(around), *([c] for c in sensors)))])
    if by_word:
        found = found.at_most("E4", f"cooling is shared by the rule {rule}, which rests on figures that are declared")
    if found.place < GRADES.index("E5"):
        return found
    missing = [role.value for role in needed if all(c.role is not role for c in around)]
    missing += ["a coolant loop"] if by_heat and not sensors else []
    everything = [*own, *around, *sensors]
    why = f"no meter of {' or of '.join(missing)}" if missing else synchronous(everything, window, context)
    if why:
        return Earned(found.grade, f"{found.why}; E7 is not reached: {why}")
    limit = f"each known on the run's clock to {100 * SYNCHRONOUS:g} % of the window"
    it = "" if alone else "all IT, "
    return Earned(
        "E7", f"load, {it}cooling and what feeds the distribution by meters of {found.grade} or better, {limit}"
    )


def _by_domain(channels: Sequence[Channel]) -> list[list[Channel]]:
    """The channels of each metered part of the plant."""
    places = dict.fromkeys((c.role, c.domain) for c in channels)
    return [[c for c in channels if (c.role, c.domain) == place] for place in places]


def _is_of_a_loop(channel: Channel) -> bool:
    """Whether a coolant loop's heat may rest on it, or does."""
    if channel.kind in (Kind.HEAT, Kind.HEAT_ENERGY):
        return channel.role not in (Role.REUSE, Role.INFO)
    return channel.role in (Role.SUPPLY, Role.RETURN, Role.FLOW) and channel.kind in (Kind.TEMPERATURE, Kind.FLOW)
