"""The page: one self-contained HTML file from a finished run, the same bytes for the same record.

`view` turns record and result into plain dicts, `charts` draws them as inline SVG, `sections` holds one small
file per part of the page, `render` joins them. Nothing here reads a clock, a file of the run or a network.
"""

from tcabench.report.render import render

__all__ = ["render"]
