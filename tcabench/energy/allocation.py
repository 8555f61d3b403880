"""The share of cooling and of distribution loss that falls on the system under test, by a rule that is named.

Every rule gives the share in J and per J of the system's own energy. Where that energy stands above and below the line
it is cancelled before uncertainty is reckoned: with shares by energy, pPUE does not depend on the system's own meter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcabench.door import checked
from tcabench.energy.arithmetic import less, over, plus, stated, times
from tcabench.energy.plant import Plant
from tcabench.records import NotMetered, Quantity, Role, Value, Window
from tcabench.site import Cooling, Loss
from tcabench.units import seconds

ONE = Quantity.exact(1.0, "1")
TIERS = ("M0", "M1", "M2", "M3")


@dataclass(frozen=True, slots=True)
class Burden:
    """What is laid on the system under test: `energy` in J, `per_j` of its own energy, the `rule` in words and the
    `tier` of the knowledge behind it. `by_energy`: `per_j` is the plant's sum over the energy of all IT. `declared`:
    no meter of the plant is behind it."""

    energy: Value
    per_j: Value
    rule: str
    tier: str
    by_energy: bool = False
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One system under test in its plant. Energies in J; `heat` and `heat_all` are what its own loops and the plant's
    took away, and `heat_doubt` why nothing may be shared by that; `alone`: the plant serves nothing else."""

    sut: Value
    heat: Value
    heat_all: Value
    plant: Plant
    window: Window
    alone: bool
    share: Value
    heat_doubt: str = ""


def described(site: Mapping[str, Any]) -> tuple[Cooling | None, Loss | None]:
    """What the site says of cooling and loss. raises: UsageError naming the field."""
    cooling = checked(Cooling, site["cooling"], "site: cooling") if site.get("cooling") is not None else None
    loss = checked(Loss, site["loss"], "site: loss") if site.get("loss") is not None else None
    return cooling, loss


def energy_share(sut: Value, it_all: Value, alone: bool) -> Value:
    """The system's share (1) of the energy of all IT. The two meters are taken as independent, which a quotient of
    meters of one make only overstates."""
    if alone:
        return ONE
    return _bounded(over("1", sut, it_all), "it took more energy than all IT by the meters of role it")


def cooling(case: Case, asked: Cooling | None) -> Burden | None:
    """The cooling laid on the system under test; None where the site has no cooling to tell of."""
    metered = Role.COOLING in case.plant.roles
    if asked is None and not metered:
        return _site_average(case)
    if asked is not None and asked.rule == "declared":
        return _declared_cooling(case, asked)
    if not metered:
        why = NotMetered("no meter has the role cooling")
        return Burden(why, why, "cooling not metered", "M2")
    if asked is None and not case.alone:
        why = NotMetered("cooling is metered, but the site names no rule to share it by: cooling.rule")
        return Burden(why, why, "cooling by no rule", "M2")
    return _with_own(case, _shared(case, asked))


def _shared(case: Case, asked: Cooling | None) -> Burden | None:
    """The part of the cooling that others use too, by the site's rule; None where there is no such part."""
    shared = case.plant.shared
    if not case.plant.has_shared:
        return None
    if case.alone or asked is None:
        return Burden(
            shared, over("1", shared, case.sut), "cooling measured directly, it serves nothing else", "M3", True
        )
    if asked.rule == "energy":
        return _by_energy(case, shared)
    if asked.rule == "heat":
        return _by(case, times("J", shared, _heat_share(case)), "cooling by share of heat")
    if asked.rule == "capacity":
        rule = f"cooling by reserved capacity ({_words(asked)})"
        return _by(case, times("J", shared, _reserved(asked)), rule, "M0")
    return _two_part(case, asked, shared)


def _by_energy(case: Case, shared: Value) -> Burden:
    per_j = over("1", shared, case.plant.it_all)
    rule = "cooling by share of IT energy"
    if isinstance(case.share, NotMetered):
        return Burden(case.share, case.share, rule, "M2")
    return Burden(over("J", times("J2", shared, case.sut), case.plant.it_all), per_j, rule, "M2", True)


def _by(case: Case, energy: Value, rule: str, tier: str = "M2") -> Burden:
    return Burden(energy, over("1", energy, case.sut), rule, tier)


def _two_part(case: Case, asked: Cooling, shared: Value) -> Burden:
    """Idle part by reserved capacity, the rest by share of energy or heat. The declared idle part stands in both: taken
    as independent, which overstates, for it falls on one as it leaves the other."""
    window_s = seconds(case.window.end_ns - case.window.start_ns)
    idle = stated((asked.idle_w or 0.0) * window_s, _half_pct(asked), "J")
    rule = f"cooling in two parts: idle by reserved capacity ({_words(asked)}), the rest by share of {asked.dynamic}"
    rest = _not_negative(less("J", shared, idle))
    if isinstance(rest, Quantity) and rest.value < 0:
        why = f"the plant drew less than its stated idle_w of {asked.idle_w:g} W"
        return Burden(NotMetered(why), NotMetered(why), rule, "M0")
    moving = times("J", rest, case.share if asked.dynamic == "energy" else _heat_share(case))
    return _by(case, plus("J", times("J", idle, _reserved(asked)), moving), rule, "M0")


def _with_own(case: Case, shared: Burden | None) -> Burden:
    """The shared part and the whole of what serves the system under test alone."""
    own = case.plant.own
    if not case.plant.has_own:
        if shared is None:
            raise ValueError("cooling is metered, but neither alone nor shared")
        return shared
    if shared is None:
        return Burden(
            own, over("1", own, case.sut), "cooling measured directly, it serves nothing else", "M3", case.alone
        )
    per_j = plus("1", shared.per_j, over("1", own, case.sut))
    return Burden(plus("J", shared.energy, own), per_j, f"{shared.rule}; its own cooling directly", shared.tier)


def _declared_cooling(case: Case, asked: Cooling) -> Burden:
    if asked.declared_ppue is None or asked.declared_half_width is None:
        raise ValueError("the site door lets no declared cooling without its figures through")
    extra, half = asked.declared_ppue - 1, asked.declared_half_width
    per_j = Quantity(extra, max(0.0, extra - half), extra + half, "1")
    rule = f"cooling declared, not measured: pPUE {asked.declared_ppue:g} +- {half:g} ({asked.source})"
    if Role.COOLING in case.plant.roles:
        rule += "; the cooling that is metered is not used"
    return Burden(times("J", case.sut, per_j), per_j, rule, "M0", declared=True)


def _site_average(case: Case) -> Burden | None:
    """Everything the site takes beyond its IT, by share of energy, where no meter tells of the cooling. What
    goes into the distribution is part of that."""
    if Role.SITE not in case.plant.roles:
        return None
    rule = "everything beside IT, by the site's meter and share of IT energy"
    per_j = less("1", over("1", case.plant.site, case.plant.it_all), ONE)
    if isinstance(per_j, Quantity) and per_j.value < 0:
        per_j = NotMetered("the site's meter reads less than the IT in it")
    per_j = _not_negative(per_j)
    return Burden(times("J", case.sut, per_j), per_j, rule, "M1")


def loss(case: Case, asked: Loss | None) -> Burden | None:
    """The distribution loss laid on the system under test; None where the site has none to tell of."""
    if asked is not None and asked.rule == "declared":
        return _declared_loss(case, asked)
    if Role.UPSTREAM not in case.plant.roles:
        why = NotMetered("no meter has the role upstream")
        return Burden(why, why, "loss not metered", "M2") if asked is not None else None
    rule = "loss measured, upstream less IT" + ("" if case.alone else ", by share of IT energy")
    tier = "M3" if case.alone else "M2"
    if isinstance(case.share, NotMetered):
        return Burden(case.share, case.share, rule, tier)
    per_j = less("1", over("1", case.plant.upstream, case.plant.it_all), ONE)
    if isinstance(per_j, Quantity) and per_j.value < 0:
        below = NotMetered(f"upstream reads {-100 * per_j.value:.2f} % less than the IT behind it")
        return Burden(below, below, rule, tier)
    lost = _not_negative(less("J", case.plant.upstream, case.plant.it_all))
    return Burden(times("J", lost, case.share), _not_negative(per_j), rule, tier, True)


def _declared_loss(case: Case, asked: Loss) -> Burden:
    """fixed_pct of the reserved power at all times, and proportional_pct of the energy."""
    half_pct = asked.half_width_pct or 0.0
    window_s = seconds(case.window.end_ns - case.window.start_ns)
    always = stated(asked.fixed_pct / 100 * (asked.reserved_kw or 0.0) * 1000 * window_s, half_pct, "J")
    per_j = stated(asked.proportional_pct / 100, half_pct, "1")
    rule = (
        f"loss declared, not measured: {asked.fixed_pct:g} % of reserved power and {asked.proportional_pct:g} % of "
        f"energy, +-{half_pct:g} % ({asked.source})"
    )
    energy = plus("J", always, times("J", case.sut, per_j))
    return Burden(energy, plus("1", per_j, over("1", always, case.sut)), rule, "M0", declared=True)


def ppue(case: Case, burdens: list[Burden]) -> Value:
    """1 + what is laid on the system per J of its own energy. raises: ValueError without a burden."""
    if len(burdens) == 2 and all(burden.by_energy and isinstance(burden.per_j, Quantity) for burden in burdens):
        cooled = case.plant.shared if case.plant.has_shared else case.plant.own
        return over("1", plus("J", cooled, case.plant.upstream), case.plant.it_all)
    return plus("1", ONE, *(burden.per_j for burden in burdens))


def _heat_share(case: Case) -> Value:
    """The system's share (1) of the heat. NotMetered where it lost none, or where that heat is not fit to share by."""
    share = _bounded(over("1", case.heat, case.heat_all), "its loops took away more heat than the plant's")
    if isinstance(share, NotMetered):
        return share
    if share.value <= 0:
        return NotMetered("its loops took no heat away, but brought some: there is no share of heat to go by")
    return NotMetered(f"no share of heat to go by: {case.heat_doubt}") if case.heat_doubt else _not_negative(share)


def _bounded(share: Value, why: str) -> Value:
    """A share of at most 1: what lies above by no more than its own uncertainty is 1, the rest is an error."""
    if isinstance(share, NotMetered) or share.value <= 1:
        return share
    return NotMetered(why) if share.low > 1 else Quantity(1.0, share.low, 1.0, "1")


def _reserved(asked: Cooling) -> Value:
    """The share (1) of the plant that is reserved, as declared, and no more than all of it."""
    if asked.reserved_kw is None or asked.capacity_kw is None:
        raise ValueError("the site door lets no rule by capacity without reserved_kw and capacity_kw through")
    share = stated(asked.reserved_kw / asked.capacity_kw, _half_pct(asked), "1")
    return Quantity(share.value, share.low, min(1.0, share.high), "1")


def _half_pct(asked: Cooling) -> float:
    if asked.capacity_half_width_pct is None:
        raise ValueError("the site door lets no rule by capacity without capacity_half_width_pct through")
    return asked.capacity_half_width_pct


def _words(asked: Cooling) -> str:
    figures = f"{asked.reserved_kw:g} of {asked.capacity_kw:g} kW, +-{_half_pct(asked):g} %"
    return f"{figures}, declared, not measured: {asked.source}"


def _not_negative(value: Value) -> Value:
    """A loss is known to be no gain, whatever two meters say within their uncertainty."""
    if isinstance(value, NotMetered):
        return value
    return Quantity(value.value, max(0.0, value.low), value.high, value.unit)
