"""The page of a sample run."""

from sample_record import SIGNER, STANDING_ROWS, record, result_of

from tcabench.records import RunRecord
from tcabench.report import render

__all__ = ["EVIDENCE", "page_of", "record"]

EVIDENCE = bytes(range(256)) * 40


def page_of(run: RunRecord, evidence: bytes | None = EVIDENCE) -> bytes:
    """The page of `run` with its own result, the sample signer and the sample public results."""
    return render(run, result_of(run), evidence, f"{run.run_id}.tcab", SIGNER, STANDING_ROWS)
