"""What each lever of the bundled engine contributes: one real run for each rung of a ladder, several rounds of it.

Stands above the pipeline: `ladder` says what is switched off at each rung, `measure` makes the runs, `summary` turns
them into medians and factors, `picture` draws them. The engine is a stranger here too: it is told `--without LEVER`.
"""

from tcabench.ablation.ladder import Rung, ladder, leave_one_out
from tcabench.ablation.measure import climb
from tcabench.ablation.picture import draw
from tcabench.ablation.summary import Summary, summarise

__all__ = ["Rung", "Summary", "climb", "draw", "ladder", "leave_one_out", "summarise"]
