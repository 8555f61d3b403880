"""Server-sent events: bytes in, `data` payloads out, however the network cut them."""


class SseDecoder:
    """Collects bytes and gives back the payload of every finished event.

    Comments, other fields and empty events are skipped; CR, LF and CRLF end a line.
    Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Payloads (`data` lines joined by LF) that `chunk` completed."""
        lines = self._lines(chunk)
        return [event for line in lines if (event := self._take(line)) is not None]

    @property
    def pending(self) -> bool:
        """True while an event has begun and not ended: a stream that stops here was cut."""
        return bool(self._rest or self._data)

    def _lines(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk.startswith(b"\n"):
            chunk, self._after_cr = chunk[1:], False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        text = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        return lines

    def _take(self, line: bytes) -> bytes | None:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        payload, self._data = b"\n".join(self._data) if self._data else None, []
        return payload
