"""Puts load and power on one axis: which part of the run counts, when each reading holds, and which are none."""

from tcabench.timeline.align import align
from tcabench.timeline.marker import chips
from tcabench.timeline.tokens import output_tok, tokens_between
from tcabench.timeline.window import steady_window

__all__ = ["align", "chips", "output_tok", "steady_window", "tokens_between"]
