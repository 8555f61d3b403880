"""The nouns. Stages do not import each other; what passes between them is declared here, frozen."""

from tcabench.records.answers import Status, Trace, Work
from tcabench.records.energy import (
    Alignment,
    Axis,
    Carbon,
    Component,
    Context,
    DomainEnergy,
    Energy,
    Facility,
    Health,
    Heat,
    Rung,
    Split,
    Window,
)
from tcabench.records.power import Channel, ClockReading, Instrument, Kind, PowerSample, Reading, Role
from tcabench.records.quantity import NotMetered, Quantity, Value
from tcabench.records.verdict import Judgement, Outcome, RunRecord, Verdict
from tcabench.records.workload import Arrivals, Message, Prompt, Request, WindowPlan, Workload

__all__ = [
    "Alignment", "Arrivals", "Axis", "Carbon", "Channel", "ClockReading", "Component", "Context", "DomainEnergy",
    "Energy", "Facility", "Health", "Heat", "Instrument", "Judgement", "Kind", "Message", "NotMetered", "Outcome",
    "PowerSample", "Prompt", "Quantity", "Reading", "Request", "Role", "RunRecord", "Rung", "Split", "Status", "Trace",
    "Value", "Verdict", "Window", "WindowPlan", "Work", "Workload",
]  # fmt: skip
