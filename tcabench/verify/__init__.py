"""Says what a report is worth, offline: takes it apart, checks every byte against what was signed and by whom, and
derives every number again from the raw samples. It may not import what made them: neither `load` nor `power`."""

from tcabench.verify.recompute import Derived, derive
from tcabench.verify.trust import Trust, TrustedKey, load_trust, trust_document
from tcabench.verify.verification import Checked, Signature, Standing, Step, Verification, verification_document
from tcabench.verify.verify import verify

__all__ = [
    "Checked",
    "Derived",
    "Signature",
    "Standing",
    "Step",
    "Trust",
    "TrustedKey",
    "Verification",
    "derive",
    "load_trust",
    "trust_document",
    "verification_document",
    "verify",
]
