"""A matplotlib figure as inline SVG that a strict page can carry.

The same figure gives the same bytes; text stays text; colours are CSS variables, so the page's style sheet
decides about light and dark; every `style="…"` becomes a presentation attribute, since a content security
policy without `unsafe-inline` refuses inline styles; ids carry the chart's own prefix.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tcabench.report.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# colours are drawn as these values and leave as CSS variables
PALETTE = {
    "#010101": "ink",
    "#020202": "muted",
    "#030303": "grid",
    "#040404": "series-1",
    "#050505": "series-2",
    "#060606": "series-3",
    "#070707": "series-4",
    "#080808": "limit",
    "#090909": "here",
    "#0a0a0a": "phase-idle",
    "#0b0b0b": "phase-warmup",
    "#0c0c0c": "phase-window",
    "#0d0d0d": "phase-drain",
    "#0e0e0e": "gap",
    "#0f0f0f": "paper",
    "#101010": "phase-marker",
}
COLOUR = {name: sentinel for sentinel, name in PALETTE.items()}
DROPPED = {"font-family", "font-style", "font-variant", "font-stretch", "-inkscape-font-specification"}
NUMBER = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
SETTINGS: Any = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": COLOUR["muted"],
    "axes.labelcolor": COLOUR["ink"],
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.titlecolor": COLOUR["ink"],
    "text.color": COLOUR["ink"],
    "text.parse_math": False,
    "xtick.color": COLOUR["muted"],
    "ytick.color": COLOUR["muted"],
    "xtick.labelcolor": COLOUR["ink"],
    "ytick.labelcolor": COLOUR["ink"],
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": COLOUR["grid"],
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "hatch.color": COLOUR["gap"],
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "path.simplify": False,
}


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator["Figure"]:
    """A figure in the page's chart style, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield Figure(figsize=(width_in, height_in))


def inline(figure: "Figure", chart_id: str, title: str, desc: str) -> str:
    """`figure` as an `<svg>` element with title and description for those who do not see it."""
    import matplotlib as mpl

    raw = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": chart_id}):
        figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(raw.getvalue())
    tidy(root, chart_id)
    label(root, chart_id, title, desc)
    return ElementTree.tostring(root, encoding="unicode")


def tidy(root: ElementTree.Element, chart_id: str) -> None:
    """Drop what a page does not need; make styles attributes, ids the chart's own, numbers short."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = references(root)
    for element in root.iter():
        unstyle(element)
        rename(element, chart_id, used)
        for name in ("d", "x", "y", "transform", "points"):
            if name in element.attrib:
                element.set(name, shorten(element.get(name, "")))
        if element.tag != f"{{{SVG}}}text" and not (element.text or "").strip():
            element.text = None
        element.tail = None


def references(root: ElementTree.Element) -> set[str]:
    """The ids that something in the drawing points at."""
    used: set[str] = set()
    for element in root.iter():
        used.add(element.get(f"{{{XLINK}}}href", "")[1:])
        for value in element.attrib.values():
            used.update(REFERENCE.findall(value))
    return used - {""}


def unstyle(element: ElementTree.Element) -> None:
    """Turn the `style` attribute into presentation attributes with CSS variables for colours."""
    style = element.attrib.pop("style", "")
    for item in filter(None, (part.strip() for part in style.split(";"))):
        name, _, value = item.partition(":")
        if name.strip() not in DROPPED:
            element.set(name.strip(), value.strip())
    for name in ("fill", "stroke"):
        known = PALETTE.get(element.get(name, ""))
        if known:
            element.set(name, f"var(--{known})")


def rename(element: ElementTree.Element, chart_id: str, used: set[str]) -> None:
    """Prefix ids and the references to them; ids that nothing points at go."""
    own = element.attrib.pop("id", "")
    if own in used:
        element.set("id", f"{chart_id}-{own}")
    target = element.attrib.pop(f"{{{XLINK}}}href", "")
    if target:
        element.set("href", f"#{chart_id}-{target[1:]}")
    for name, value in list(element.attrib.items()):
        if "url(#" in value:
            element.set(name, REFERENCE.sub(rf"url(#{chart_id}-\1)", value))


def shorten(text: str) -> str:
    """Coordinates to two decimals (a hundredth of a point) and single spaces."""
    return " ".join(NUMBER.sub(lambda m: f"{float(m.group()):.2f}".rstrip("0").rstrip("."), text).split())


def label(root: ElementTree.Element, chart_id: str, title: str, desc: str) -> None:
    """Name and describe the drawing; let the style sheet choose its size."""
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-labelledby", f"{chart_id}-title {chart_id}-desc")
    root.set("stroke-linejoin", "round")
    for place, (tag, text) in enumerate((("title", title), ("desc", desc))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{chart_id}-{tag}"})
        element.text = visible(text)
        root.insert(place, element)


def drawable(text: str, most: int = 40) -> str:
    """`text` cut to what the chart's font can draw on one line; the table twin carries it whole."""
    plain = "".join(c if c.isprintable() and ord(c) < 0x250 else "\ufffd" for c in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
