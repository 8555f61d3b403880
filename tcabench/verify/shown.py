"""What a page shows, held against the result that was signed."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

from tcabench.errors import NotVerified
from tcabench.evidence.slot import Page

PLACE = re.compile(r"[0-9]{1,6}", re.ASCII)


class _Numbers(HTMLParser):
    """Collects (data-tca, value) of every element that carries one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(reversed(attrs))  # of an attribute given twice, a browser takes the first
        if "data-tca" in named:
            self.found.append((named["data-tca"] or "", named.get("value")))


def shown_numbers(page: Page) -> list[tuple[str, str | None]]:
    """(path in result.json, decimal string) of every number on the page, in its order."""
    parser = _Numbers()
    try:
        parser.feed(page.without_blobs().decode("utf-8", "replace"))
        parser.close()
    except AssertionError as err:  # what the library raises for declarations that no browser would take either
        raise NotVerified(f"the page is not HTML that can be read: {err}", kind="page") from err
    return parser.found


def wrong_numbers(page: Page, result: Mapping[str, Any]) -> Iterator[str]:
    """Every number on the page that is not the one in `result`, in words."""
    for path, value in shown_numbers(page):
        stated = at_path(result, path)
        if stated is None or value != stated:
            yield f"the page shows {value!r} for {path}; the result has {stated!r}"


def at_path(result: Any, path: str) -> str | None:
    """The text at `path` in `result` ("values/ttft.p50/value", "energy/domains/0/gaps"), None if there is none."""
    for part in path.split("/"):
        if isinstance(result, Mapping):
            result = result.get(part)
        elif isinstance(result, list) and PLACE.fullmatch(part) and int(part) < len(result):
            result = result[int(part)]
        else:
            return None
    return result if isinstance(result, str) else None
