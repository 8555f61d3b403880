"""The detectors' tests make answers with `made_up_answers`, which stands beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
