"""The page in a real browser: nothing loaded, nothing refused, readable in light, dark, small and on paper."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sample_record import SIGNER, STANDING_ROWS, record, result_of, unmetered

from tcabench.records import RunRecord
from tcabench.report import render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

RUNS = {
    "measured": record(),
    "incomplete estimate": replace(record(estimate=True), complete=False),
    "unmetered": unmetered(),
}
SERIES_1 = {"light": "rgb(10, 92, 140)", "dark": "rgb(109, 185, 232)"}


def write(run: RunRecord, folder: Path) -> str:
    path = folder / "report.html"
    path.write_bytes(render(run, result_of(run), b"evidence" * 4000, "run.tcab", SIGNER, STANDING_ROWS))
    return path.as_uri()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: write(run, tmp_path_factory.mktemp("page")) for name, run in RUNS.items()}


class Seen:
    """A page, what it asked for and what the console said."""

    def __init__(self, page: "Page") -> None:
        self.page, self.requests, self.console = page, list[str](), list[str]()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))


def opened(chromium: "Browser", url: str, **context: Any) -> Iterator[Seen]:
    made = chromium.new_context(**context)
    seen = Seen(made.new_page())
    seen.page.goto(url)
    yield seen
    made.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def seen(chromium: "Browser", pages: dict[str, str], scheme: str) -> Iterator[Seen]:
    yield from opened(chromium, pages["measured"], color_scheme=scheme)


def test_it_asks_for_nothing_but_itself_and_the_console_is_silent(seen: Seen, pages: dict[str, str]) -> None:
    seen.page.wait_for_load_state("networkidle")
    assert [url for url in seen.requests if url != "data:,"] == [pages["measured"]]
    assert seen.console == []


def test_charts_show_in_the_colours_of_the_scheme(seen: Seen, scheme: str) -> None:
    boxes = [chart.bounding_box() for chart in seen.page.locator("svg.chart").all()]
    assert len(boxes) == 7
    assert all(box and box["width"] > 150 and box["height"] > 80 for box in boxes)
    line = seen.page.locator("#energy svg.chart path[stroke='var(--series-1)']").first
    assert line.evaluate("e => getComputedStyle(e).stroke") == SERIES_1[scheme]
    assert line.evaluate("e => getComputedStyle(e).fill") == "none"


def test_the_style_sheet_is_in_force(seen: Seen, scheme: str) -> None:
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 22, 27)"}[scheme]


def test_the_verdict_stands_above_the_fold(seen: Seen) -> None:
    seen.page.set_viewport_size({"width": 1280, "height": 720})
    for place in (".word", ".lead >> nth=0", ".lead >> nth=1"):
        box = seen.page.locator(place).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 720


@pytest.mark.parametrize("name", list(RUNS))
def test_axe_finds_nothing(chromium: "Browser", pages: dict[str, str], scheme: str, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for seen in opened(chromium, pages[name], color_scheme=scheme):
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        found = Axe().run(
            seen.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        assert "color-contrast" in {rule["id"] for rule in found.response["passes"]}
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", list(RUNS))
def test_a_narrow_screen_never_scrolls_sideways(chromium: "Browser", pages: dict[str, str], name: str) -> None:
    for seen in opened(chromium, pages[name], viewport={"width": 360, "height": 740}):
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 360


def test_no_table_is_cut_off_on_a_desktop(chromium: "Browser", pages: dict[str, str]) -> None:
    for seen in opened(chromium, pages["measured"], viewport={"width": 1180, "height": 900}):
        cut = "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
        assert seen.page.evaluate(cut) == []


def test_paper_is_light_whatever_the_screen(chromium: "Browser", pages: dict[str, str]) -> None:
    for seen in opened(chromium, pages["incomplete estimate"], color_scheme="dark"):
        pdf = seen.page.pdf(prefer_css_page_size=True, print_background=True)
        assert pdf.startswith(b"%PDF-")
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page>") + pdf.count(b"/Type /Page ") >= 2
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(23, 26, 31)"
        line = seen.page.locator("#energy svg.chart path[stroke='var(--series-1)']").first
        assert line.evaluate("e => getComputedStyle(e).stroke") == SERIES_1["light"]


def test_it_is_all_there_with_scripts_off(chromium: "Browser", pages: dict[str, str]) -> None:
    for seen in opened(chromium, pages["measured"], java_script_enabled=False):
        assert seen.page.locator(".word").inner_text() == "INCONCLUSIVE"
        assert seen.page.locator("svg.chart").count() == 7
