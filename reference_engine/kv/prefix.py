"""Pages found again by what is in them: a chain of digests over full pages of token ids.

The digest of a page is that of its parent's digest and its own token ids, so that equal digests mean equal texts from
the start. The cache never trusts one alone: the token ids of a page are compared before it is handed out.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from reference_engine.kv.pool import PagePool

ROOT = b""  # the parent of a text's first page
LOOKED_AT = 16  # how many of the pages that begin alike are compared, newest first


class Match(NamedTuple):
    """What is known of the beginning of a text. `pages`: full pages to share. `source`: a page whose first tokens are
    those that follow, to be copied and written on; None where there is none. `tokens`: how many all that comes to."""

    pages: list[int]
    source: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A full page of computed tokens, and the digest of the page before it."""

    page: int
    parent: bytes
    tokens: tuple[int, ...]


class PrefixCache:
    """Full pages by digest. It holds no reference itself: `pool` keeps a page until it needs the room."""

    def __init__(self, pool: PagePool, page_tok: int) -> None:
        self._pool, self._page_tok, self._packed = pool, page_tok, struct.Struct(f"{page_tok}q")
        self._entries: dict[bytes, Entry] = {}
        self._digests: dict[int, bytes] = {}  # by page
        self._starts: dict[tuple[bytes, int], dict[int, Entry]] = {}  # by parent and first token: entries by page
        pool.evicted = self._forget

    def extend(self, chain: list[bytes], tokens: Sequence[int]) -> None:
        """Append to `chain` the digest of each further full page of `tokens`."""
        for at in range(len(chain), len(tokens) // self._page_tok):
            parent = chain[-1] if chain else ROOT
            packed = self._packed.pack(*tokens[at * self._page_tok : (at + 1) * self._page_tok])
            chain.append(blake2b(parent + packed, digest_size=16).digest())

    def match(self, chain: Sequence[bytes], tokens: Sequence[int]) -> Match:
        """The longest beginning of `tokens` that is in the cache; never all of them: one must be left to compute."""
        pages, most, parent = list[int](), len(tokens) - 1, ROOT
        for at in range(min(len(chain), most // self._page_tok)):
            entry = self._entries.get(chain[at])
            if entry is None or entry.parent != parent or entry.tokens != self._cut(tokens, at):
                break
            pages.append(entry.page)
            parent = chain[at]
        done = len(pages) * self._page_tok
        source, common = self._begun(parent, tokens[done : min(done + self._page_tok, most)])
        return Match(pages, source, done + common)

    def add(self, chain: Sequence[bytes], at: int, tokens: Sequence[int], page: int) -> None:
        """`page` holds the keys and values of page `at` of `tokens`, and will not be written again while it does."""
        if chain[at] in self._entries:  # computed twice, side by side: the first stays
            return
        entry = Entry(page, chain[at - 1] if at else ROOT, self._cut(tokens, at))
        self._pool.keep(page)
        self._entries[chain[at]], self._digests[page] = entry, chain[at]
        self._starts.setdefault((entry.parent, entry.tokens[0]), {})[page] = entry

    def check_integrity(self) -> None:
        """raises: RuntimeError naming a page that the indexes disagree about or that counts as blank."""
        for digest, entry in self._entries.items():
            if self._digests.get(entry.page) != digest or not self._pool.has_content(entry.page):
                raise RuntimeError(f"page {entry.page} is offered as content and is not")
        listed = [page for alike in self._starts.values() for page in alike]
        if strangers := set(listed) ^ self._digests.keys():
            raise RuntimeError(f"page {min(strangers)} is in one index of the prefix cache and not in another")
        if len(self._digests) != len(self._entries):
            raise RuntimeError(f"{len(self._digests)} pages for {len(self._entries)} entries of the prefix cache")

    def tokens_of(self, page: int) -> tuple[int, ...] | None:
        """What `page` is offered as; None when it is not."""
        digest = self._digests.get(page)
        return None if digest is None else self._entries[digest].tokens

    def _cut(self, tokens: Sequence[int], at: int) -> tuple[int, ...]:
        return tuple(tokens[at * self._page_tok : (at + 1) * self._page_tok])

    def _begun(self, parent: bytes, wanted: Sequence[int]) -> tuple[int | None, int]:
        """The page after `parent` that begins most like `wanted`, and how many tokens they have in common."""
        alike = self._starts.get((parent, wanted[0])) if wanted else None
        if not alike:
            return None, 0
        newest = islice(reversed(alike.values()), LOOKED_AT)
        common, page = max((_common(entry.tokens, wanted), entry.page) for entry in newest)
        return page, common

    def _forget(self, page: int) -> None:
        digest = self._digests.pop(page)
        entry = self._entries.pop(digest)
        start = entry.parent, entry.tokens[0]
        del self._starts[start][page]
        if not self._starts[start]:
            del self._starts[start]


def _common(known: Sequence[int], wanted: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(known, wanted, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(known), len(wanted)))
