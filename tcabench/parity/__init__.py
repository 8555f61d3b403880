"""Does one system answer as well as another? Both are asked the same, and what they say is compared.

Stands above the stages: `systems` opens the two, `measure` asks them, `quality` compares, `document` writes it down.
"""

from tcabench.parity.document import document
from tcabench.parity.measure import Parity, PlannedParity, measure
from tcabench.parity.systems import System, open_system

__all__ = ["Parity", "PlannedParity", "System", "document", "measure", "open_system"]
