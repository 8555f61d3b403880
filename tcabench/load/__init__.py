"""Drives the system under test, open or closed loop, and writes down when each token came."""

from tcabench.load.drive import LoadPlan, drive
from tcabench.load.endpoint import Endpoint
from tcabench.load.fold import fold
from tcabench.load.marker import play_marker
from tcabench.load.preflight import preflight

__all__ = ["Endpoint", "LoadPlan", "drive", "fold", "play_marker", "preflight"]
