"""A page taken apart with the standard library's own HTML parser: elements, attributes, text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "path", "circle", "use", "rect", "line"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Reader(HTMLParser):
    """Every element in document order, each with the text inside it."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parents = tuple(e.attributes.get("id", e.tag) for e in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, parents)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self.open) - 1, -1, -1):
            if self.open[place].tag == tag:
                del self.open[place:]
                return

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read(page: bytes) -> list[Element]:
    """The elements of `page`."""
    reader = Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    return reader.elements


def found(page: bytes, tag: str, **attributes: str) -> list[Element]:
    """The elements of one kind with all of `attributes` (`class_` for class)."""
    wanted = {name.rstrip("_"): value for name, value in attributes.items()}
    return [e for e in read(page) if e.tag == tag and all(e.attributes.get(n) == v for n, v in wanted.items())]
