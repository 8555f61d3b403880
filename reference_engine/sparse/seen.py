"""What the kernels left out in one step. A dense step leaves out nothing, and counting it costs nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Seen:
    """`left_neurons` (rows,): neurons of the MLP not multiplied for each row, summed over the layers. `left_pages`
    (rows,): pages not attended to for each row, summed over layers and KV heads. Once for the step, whoever shares
    them: `unread_neurons`, whose up and down weights were not read; `unread_pages`, whose keys and values were not
    fetched though a dense step would have (a few rows of one request share a fetch); `head_rows`, rows of the
    vocabulary that the certified head computed in full, None where it did not screen."""

    left_neurons: Counts
    left_pages: Counts
    unread_neurons: int
    unread_pages: int
    head_rows: int | None = None
