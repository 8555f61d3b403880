"""Puts load and power on one axis: which part of the run counts, and how many tokens fall into it."""

from tcabench.timeline.align import output_tok, tokens_between
from tcabench.timeline.window import steady_window

__all__ = ["output_tok", "steady_window", "tokens_between"]
