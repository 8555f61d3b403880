"""Keeps what happened, and seals it: a journal while the run runs, then one bundle of digests, tables and documents,
a signed statement about it, and the page that carries both. Nothing here judges; `verify` reads it all back."""

from tcabench.evidence.document import judge_facts, result_document, without_window
from tcabench.evidence.ledger import append_ledger, read_ledger
from tcabench.evidence.seal import SealedRun, seal
from tcabench.evidence.signers import SIGNERS, Signer
from tcabench.evidence.store import Journal, JournalRead, read_journal, refuse_if_running

__all__ = [
    "SIGNERS",
    "Journal",
    "JournalRead",
    "SealedRun",
    "Signer",
    "append_ledger",
    "judge_facts",
    "read_journal",
    "read_ledger",
    "refuse_if_running",
    "result_document",
    "seal",
    "without_window",
]
