"""The plant around the system under test in the window: allocated cooling and loss, and the ratios of ISO/IEC 30134.

None of them is a key performance indicator of that standard: those cover 12 months and a whole data centre. What a run
gives is interim (over its window) and partial (over what is metered), and is called so. Formulas: PUE (30134-2)
E_DC/E_IT; ERF (-6) E_reuse/E_DC; CER (-7) heat removed/E_cooling; WUE (-9) litres/kWh of IT; ERE, after The Green Grid,
(E_DC - E_reuse)/E_IT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tcabench.door import checked
from tcabench.energy.allocation import TIERS, Burden, Case, cooling, described, energy_share, loss, ppue
from tcabench.energy.arithmetic import less, over, plus, scaled, times
from tcabench.energy.heat import Loop, loops
from tcabench.energy.plant import Plant, plant
from tcabench.energy.series import Series
from tcabench.records import Alignment, Channel, Context, Facility, NotMetered, Quantity, Role, Value, Window
from tcabench.site import Coolant
from tcabench.units import J_PER_KWH, seconds

SHARED = (Role.IT, Role.UPSTREAM, Role.COOLING, Role.SITE, Role.REUSE, Role.WATER, Role.SUPPLY, Role.RETURN, Role.FLOW)
CATEGORIES = {
    "ups-output": "IT is metered at the UPS output: category 1 of ISO/IEC 30134-2",
    "pdu-output": "IT is metered at the PDU output: category 2 of ISO/IEC 30134-2",
    "it-input": "IT is metered at the input of the IT equipment: category 3 of ISO/IEC 30134-2",
}
NO_COOLING = NotMetered("no meter has the role cooling, and the site declares none")
NO_LOSS = NotMetered("no meter has the role upstream, and the site declares no loss")


def account(
    channels: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    sut_energy: Value,
    sut_heat_reference: Value,
    context: Context,
) -> Facility | None:
    """The plant's share in the window; None where nothing is shared and nothing declared.

    `sut_energy` (J) is that of the system under test at its outermost metered boundary, `sut_heat_reference` (J) the
    electricity that its coolant's heat is set against. raises: UsageError for a site that makes no sense.
    """
    site = context.site
    asked_cooling, asked_loss = described(site)
    coolants = _coolants(site)
    if not (asked_cooling or asked_loss or coolants or any(channel.role in SHARED for channel in channels)):
        return None
    alone, own = bool(site.get("sut_is_all_it")), asked_cooling.own if asked_cooling else ()
    placed, frozen = _how_read(context)
    there = plant(channels, series, window, own, sut_energy if alone else None, placed, frozen)
    found = _balanced(loops(channels, series, window, coolants, placed, frozen), sut_heat_reference, there.it_all)
    case = _case(sut_energy, found, there, window, alone)
    cooled = cooling(case, asked_cooling)
    lost = None if _is_average(cooled) else loss(case, asked_loss)  # the site's meter has it already
    burdens, in_plant = [burden for burden in (cooled, lost) if burden], _in_plant(there, cooled, lost)
    return Facility(
        it=sut_energy, it_all=there.it_all, share=case.share,
        cooling=cooled.energy if cooled else NO_COOLING,
        loss=lost.energy if lost else _no_loss(cooled),
        ppue=_ppue(case, cooled, lost),
        erf=over("1", there.reuse, in_plant), ere=over("1", less("J", in_plant, there.reuse), there.it_all),
        wue=over("L/kWh", there.water, scaled(there.it_all, 1 / J_PER_KWH, "kWh")),
        cer=over("1", case.heat_all, _cooling_in_plant(there)),
        heat=tuple(loop.heat for loop in found),
        rule="; ".join(burden.rule for burden in burdens) or "nothing is allocated",
        tier=min((burden.tier for burden in burdens), key=TIERS.index, default=TIERS[0]),
        notes=(*_notes(case, burdens, found, sut_heat_reference), *_told(context)),
        channels=tuple(dict.fromkeys((*there.channels, *(name for loop in found for name in loop.channels)))),
    )  # fmt: skip


def _how_read(context: Context) -> tuple[dict[str, Alignment], frozenset[str]]:
    """(meter -> how it was put on the run's clock, the channels of which frozen readings were left out)."""
    frozen = frozenset(one.channel for one in context.health if one.frozen_s > 0)
    return {one.meter: one for one in context.alignments}, frozen


def _case(sut: Value, found: Sequence[Loop], there: Plant, window: Window, alone: bool) -> Case:
    share = energy_share(sut, there.it_all, alone)
    heat, heat_all = _heat_of(found, "sut"), _heat_of(found, "plant", alone)
    return Case(sut, heat, heat_all, there, window, alone, share, _doubt(found))


def _coolants(site: Mapping[str, Any]) -> dict[str, Coolant]:
    given = site.get("coolant") or {}
    return {name: checked(Coolant, one, f"site: coolant.{name}") for name, one in given.items()}


def total(facility: Facility) -> Value:
    """Energy in J at the boundary "facility": the system's own with its share of cooling and of loss.

    NotMetered unless both are known, or the site's meter knows them together: half a facility is none.
    """
    if facility.tier != "M1":
        for part in (facility.cooling, facility.loss):
            if isinstance(part, NotMetered):
                return part
    return times("J", facility.it, facility.ppue)


def _ppue(case: Case, cooled: Burden | None, lost: Burden | None) -> Value:
    """1 and both burdens, or the site's average that holds both: with half of them unknown nothing is told."""
    if cooled is not None and _is_average(cooled):
        return ppue(case, [cooled])
    if cooled is None or lost is None:
        return NO_COOLING if cooled is None else NO_LOSS
    return ppue(case, [cooled, lost])


def _doubt(found: Sequence[Loop]) -> str:
    """Why no cooling may be shared by the heat of these loops, "" if it may."""
    return "; ".join(f"loop {loop.heat.loop}: {loop.doubt}" for loop in found if loop.doubt)


def _no_loss(cooled: Burden | None) -> NotMetered:
    return NotMetered("it is part of the site's figure, which stands under cooling") if _is_average(cooled) else NO_LOSS


def _is_average(cooled: Burden | None) -> bool:
    return cooled is not None and cooled.tier == "M1"


def _balanced(found: Sequence[Loop], sut: Value, it_all: Value) -> tuple[Loop, ...]:
    """The loops, each with the balance of all that serve the same: heat over electricity, less 1."""
    rel = {serves: _balance_rel(_heat_of(found, serves), reference) for serves, reference in
           (("sut", sut), ("plant", it_all))}  # fmt: skip
    return tuple(replace(loop, heat=replace(loop.heat, balance_rel=rel[loop.serves])) for loop in found)


def _balance_rel(heat: Value, electricity: Value) -> float | None:
    if isinstance(heat, NotMetered) or isinstance(electricity, NotMetered):
        return None
    return heat.value / electricity.value - 1


def _heat_of(found: Sequence[Loop], serves: str, alone: bool = False) -> Value:
    """Heat in J of all loops that serve the system under test, or the plant; of all there are if it stands alone and
    no loop is named the plant's."""
    mine = [loop.heat.heat for loop in found if loop.serves == serves]
    if not mine and serves == "plant" and alone:
        return _heat_of(found, "sut")
    whom = "the system under test" if serves == "sut" else "the plant as a whole"
    return plus("J", *mine) if mine else NotMetered(f"no coolant loop with meters serves {whom}")


def _cooling_in_plant(there: Plant) -> Value:
    """All of the cooling's electricity in J, shared or not."""
    parts = [part for part, is_there in ((there.shared, there.has_shared), (there.own, there.has_own)) if is_there]
    return plus("J", *parts) if parts else there.shared


def _in_plant(there: Plant, cooled: Burden | None, lost: Burden | None) -> Value:
    """The data centre's energy in J: by the site's meter, else cooling and what goes into the distribution."""
    if isinstance(there.site, Quantity):
        return there.site
    if any(burden.declared for burden in (cooled, lost) if burden is not None):
        return NotMetered("the energy of the whole is declared, not measured")
    if cooled is None or lost is None:
        return NO_COOLING if cooled is None else NO_LOSS
    return plus("J", there.upstream, _cooling_in_plant(there))


def _told(context: Context) -> tuple[str, ...]:
    """What the site says of water, of energy used again, and of where IT is metered."""
    site = context.site
    category = CATEGORIES.get(str(site.get("it_metered_at") or ""))
    said = (f"{name}: {site[name]}" for name in ("water", "reuse") if site.get(name))
    return (*((category,) if category else ()), *said)


def _notes(case: Case, burdens: Sequence[Burden], found: Sequence[Loop], reference: Value) -> tuple[str, ...]:
    return (
        *_scope(case, burdens),
        *_balance(case, reference),
        *_checks(case),
        *(n for loop in found for n in loop.notes),
    )


def _scope(case: Case, burdens: Sequence[Burden]) -> tuple[str, ...]:
    """What kind of figure this is."""
    window_s = seconds(case.window.end_ns - case.window.start_ns)
    known = [burden.rule for burden in burdens if isinstance(burden.per_j, Quantity)]
    parts = [word for word in ("cooling", "loss") if any(rule.startswith(word) for rule in known)]
    if any(burden.tier == "M1" for burden in burdens):
        parts = ["everything the site's meter sees"]
    what = " and ".join(parts)
    if not what:
        return ()
    kind = f"pPUE is interim and partial: IT with {what}, over {window_s:.0f} s; a PUE is of 12 months and the whole"
    whole = over("1", case.plant.site, case.plant.it_all)
    if isinstance(whole, NotMetered):
        return (kind,)
    return kind, f"the site's meter over all IT is {whole.value:.3f} [{whole.low:.3f}, {whole.high:.3f}], interim"


def _balance(case: Case, reference: Value) -> tuple[str, ...]:
    """Heat against electricity: what goes in comes out as heat, by liquid or by air."""
    heat = case.heat
    if isinstance(heat, NotMetered) or isinstance(reference, NotMetered):
        return ()
    rel = 100 * heat.value / reference.value
    if heat.low > reference.high:
        return (f"more heat than electricity ({rel:.1f} %): check flow, fluid, temperatures and which loop serves it",)
    if heat.high < reference.low:
        return (f"{rel:.1f} % of its electricity left through the metered coolant; the rest left by air",)
    return (f"heat and electricity agree within their uncertainty ({rel:.1f} %)",)


def _checks(case: Case) -> tuple[str, ...]:
    """Sums that cannot be: parts that read more than the whole."""
    there, notes = case.plant, []
    parts = [part for part in (there.it_all, there.shared, there.own) if isinstance(part, Quantity)]
    pairs = (
        ("the system under test", case.sut, "all IT (role it)", there.it_all),
        ("all IT", there.it_all, "what goes into its distribution (role upstream)", there.upstream),
        ("IT and cooling", plus("J", *parts) if parts else NO_COOLING, "the whole site (role site)", there.site),
    )
    for part, one, whole, other in pairs:
        if isinstance(one, Quantity) and isinstance(other, Quantity) and one.low > other.high:
            rel = 100 * (one.value / other.value - 1)
            notes.append(f"{part} reads {rel:.1f} % more than {whole}, beyond both meters' uncertainty")
    return tuple(notes)
