"""Opens the meters of a run and samples them while it lasts, each reading with its instant and how long it took."""

from tcabench.power.meter import METERS, Meter, open_meters
from tcabench.power.recording import recording
from tcabench.power.tape import Event, Fault, Sink, Tape

__all__ = ["METERS", "Event", "Fault", "Meter", "Sink", "Tape", "open_meters", "recording"]
