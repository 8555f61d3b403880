"""From tokens to text that may be shown: whole characters only, and never a piece of a stop string."""

from collections.abc import Callable, Sequence
from typing import Protocol

REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are no character (yet)

Decode = Callable[[Sequence[int]], str]


class Text(Protocol):
    """What turns an answer's tokens into its text, piece by piece."""

    stopped: bool

    def push(self, token: int) -> str: ...

    def flush(self) -> str: ...


class WholeText:
    """The same text in one piece, at the end: for an answer that nobody reads before, and that no string stops."""

    stopped = False

    def __init__(self, decode: Decode, context: Sequence[int] = ()) -> None:
        """`context`: as for `TextStream`."""
        self._decode, self._context_tok, self._tokens = decode, len(context), list(context)

    def push(self, token: int) -> str:
        """Nothing yet."""
        self._tokens.append(token)
        return ""

    def flush(self) -> str:
        """All of it."""
        before = self._decode(self._tokens[: self._context_tok]) if self._context_tok else ""
        return self._decode(self._tokens)[len(before) :]


class TextStream:
    """Feed tokens with `push`; it returns the text that has become certain. `stopped` once a stop string was met."""

    def __init__(self, decode: Decode, stops: Sequence[str] = (), context: Sequence[int] = ()) -> None:
        """`context`: tokens shown before, after which the new ones are to be read (some decoders drop the space in
        front of the very first token)."""
        self._decode, self._stops = decode, tuple(stops)
        self._tokens: list[int] = list(context)
        self._shown_tok, self._read_tok = 0, len(self._tokens)
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Text that may be shown now, up to a stop string but not into it."""
        self._tokens.append(token)
        return self._release(self._characters())

    def flush(self) -> str:
        """Whatever is still held back, at the end of the answer."""
        tail = self._decode(self._tokens[self._shown_tok :])[
            len(self._decode(self._tokens[self._shown_tok : self._read_tok])) :
        ]
        self._read_tok = self._shown_tok = len(self._tokens)
        shown = self._release(tail)
        held, self._held = self._held, ""
        return shown if self.stopped else shown + held

    def _characters(self) -> str:
        """New whole characters. A token's text depends on those before it (spaces, split characters), so a window of
        recent tokens is decoded with and without the new one."""
        before = self._decode(self._tokens[self._shown_tok : self._read_tok])
        after = self._decode(self._tokens[self._shown_tok :])
        if len(after) <= len(before) or after.endswith(REPLACEMENT):
            return ""
        self._shown_tok, self._read_tok = self._read_tok, len(self._tokens)
        return after[len(before) :]

    def _release(self, fresh: str) -> str:
        text = self._held + fresh
        cuts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if cuts:
            self.stopped, self._held = True, ""
            return text[: min(cuts)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
