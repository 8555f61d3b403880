"""The two places of a page that hold evidence: the signature slot and the embedded bundle.

Counting is done on the raw bytes, before any HTML is interpreted, and in every spelling that a browser would take
for the same element; text from outside is escaped on the page and can never look like one.
"""

import base64
import re
from dataclasses import dataclass
from hashlib import sha256

from tcabench.errors import NotVerified
from tcabench.evidence.dsse import strict_b64

SLOT_OPEN = b'<script type="application/vnd.in-toto.bundle" id="tca-sig">'
EVIDENCE_OPEN = b'<script type="application/vnd.tcabench.evidence" id="tca-evidence">'
CLOSE = b"</script>"
MAX_PAGE_BYTES = 64_000_000
MOST_EMBEDDED_CHARS = 8_000_000
# {0,512}: bounded, so that a page of nothing but "<script" is still read in linear time
ANY_SLOT = re.compile(rb"<script\b[^>]{0,512}(tca-sig|vnd\.in-toto\.bundle)", re.IGNORECASE)
ANY_EVIDENCE = re.compile(rb"<script\b[^>]{0,512}(tca-evidence|vnd\.tcabench\.evidence)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A page cut at its slot. `evidence` is the embedded bundle, None where there is none."""

    before: bytes
    slot: bytes
    after: bytes
    evidence: bytes | None

    def sha256(self) -> str:
        """Hex digest of the page with its slot emptied: what the statement signs."""
        return sha256(self.before + self.after).hexdigest()

    def filled(self, bundle: bytes) -> bytes:
        """The page with the signatures in its slot."""
        return self.before + bundle + self.after

    def without_blobs(self) -> bytes:
        """The page as a reader sees it, without what the slot and the evidence block hold."""
        page = self.before + self.after
        span = _span(page, EVIDENCE_OPEN, ANY_EVIDENCE, "evidence block")
        return page if span is None else page[: span[0]] + page[span[1] :]


def split_page(data: bytes) -> Page:
    """`data` cut at its signature slot. raises: NotVerified without exactly one slot, or with two evidence blocks."""
    if len(data) > MAX_PAGE_BYTES:
        raise NotVerified(f"the page has {len(data)} bytes; at most {MAX_PAGE_BYTES} are read", kind="container")
    slot = _span(data, SLOT_OPEN, ANY_SLOT, "signature slot")
    if slot is None:
        raise NotVerified("the page has no signature slot: it is not a sealed tcabench report", kind="container")
    start, end = slot
    evidence = _span(data, EVIDENCE_OPEN, ANY_EVIDENCE, "evidence block")
    embedded = data[evidence[0] : evidence[1]] if evidence else b""
    return Page(data[:start], data[start:end], data[end:], _decoded(embedded) if embedded else None)


def _span(data: bytes, opening: bytes, any_spelling: re.Pattern[bytes], what: str) -> tuple[int, int] | None:
    """Where the content of the one element with `opening` starts and ends; None if there is no such element."""
    found = len(any_spelling.findall(data))
    if found == 0:
        return None
    start = data.find(opening) + len(opening)
    end = data.find(CLOSE, start)
    if found != 1 or start < len(opening) or end < 0:
        raise NotVerified(f"the page has {found} elements like a {what}; exactly one is allowed", kind="container")
    return start, end


def _decoded(content: bytes) -> bytes:
    if len(content) > MOST_EMBEDDED_CHARS:
        raise NotVerified(f"the embedded evidence has more than {MOST_EMBEDDED_CHARS} characters", kind="container")
    return strict_b64(content.decode("ascii", "replace"), "the embedded evidence")


def embeddable(evidence: bytes) -> bool:
    """Whether `evidence` goes into the page (base64 of at most 8,000,000 characters) rather than beside it."""
    return (len(evidence) + 2) // 3 * 4 <= MOST_EMBEDDED_CHARS


def encoded(evidence: bytes) -> str:
    """`evidence` as it stands in its block: base64, one line."""
    return base64.b64encode(evidence).decode("ascii")
