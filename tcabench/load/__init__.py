"""Drives the system under test, open or closed loop, and writes down when each token came."""

from tcabench.load.drive import LoadPlan, drive
from tcabench.load.endpoint import Endpoint
from tcabench.load.fold import fold, fold_work
from tcabench.load.marker import play_marker
from tcabench.load.preflight import preflight

__all__ = ["Endpoint", "LoadPlan", "drive", "fold", "fold_work", "play_marker", "preflight"]
