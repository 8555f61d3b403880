"""What the page may not do: run, load, hide, or let text from outside become anything but text."""

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from page_reader import found, read
from sample_page import EVIDENCE, page_of
from sample_record import SIGNER, STANDING_ROWS, ZERO, record, result_of

from tcabench.records import NotMetered, RunRecord
from tcabench.report import render


@pytest.fixture(scope="module")
def page() -> bytes:
    return page_of(record())


def test_the_style_is_pinned_by_its_hash_and_nothing_else_is_allowed(page: bytes) -> None:
    [style] = found(page, "style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    policies = [e.attributes["content"] for e in found(page, "meta") if "http-equiv" in e.attributes]
    assert policies == [
        f"default-src 'none'; script-src 'none'; style-src 'sha256-{digest}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    ]


def test_nothing_on_the_page_runs_is_loaded_or_styled_inline(page: bytes) -> None:
    for element in read(page):
        assert element.tag not in {"img", "iframe", "object", "embed", "form", "base", "audio", "video"}
        for name, value in element.attributes.items():
            assert name != "style", element
            assert not name.startswith("on"), element
            if name in {"href", "src", "xlink:href"}:
                assert value.startswith("#") or value == "data:,", element
            assert "url(" not in value or "url(#" in value, element
    assert "@import" not in found(page, "style")[0].text
    assert "url(" not in found(page, "style")[0].text


def test_ids_are_unique_and_every_reference_has_its_target(page: bytes) -> None:
    elements = read(page)
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    wanted = {e.attributes["href"][1:] for e in elements if e.attributes.get("href", "").startswith("#")}
    wanted |= {i for e in elements for i in e.attributes.get("aria-labelledby", "").split()}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page.decode()))
    assert wanted <= set(ids)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_contrast_as_wcag_asks(page: bytes, scheme: str) -> None:
    sheet = found(page, "style")[0].text
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    for text, grounds in {
        "ink": ("paper", "panel", "pass-bg", "fail-bg", "open-bg", "none-bg"), "muted": ("paper", "panel"),
        "link": ("paper",), "warn": ("warn-bg",), "pass": ("paper", "pass-bg"), "fail": ("paper", "fail-bg"),
        "open": ("paper", "open-bg"), "none": ("paper", "none-bg"),
    }.items():  # fmt: skip
        assert all(contrast(colours[text], colours[g]) >= 4.5 for g in grounds), text
    for mark in ("series-1", "series-2", "series-3", "series-4", "limit", "here", "gap"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
    for phase in ("idle", "warmup", "window", "drain"):
        assert contrast(colours["series-1"], colours[f"phase-{phase}"]) >= 3


HOSTILE = (
    '</script><script>alert("1")</script><img src=x onerror=alert(1)> \' & {{ 7*7 }} $x$ '
    "\u202egpj.exe\u2066 \x00\x1b[31m \ud800 ]]>"
)


def poisoned(value: Any) -> Any:
    """`value` with every piece of text in it hostile."""
    if isinstance(value, dict):
        return {k if k in KEPT else HOSTILE + str(k): poisoned(v) for k, v in value.items()}
    return HOSTILE if isinstance(value, str) else value


KEPT = {"model", "workload", "name", "value", "source", "why", "t", "event"}


def hostile_run() -> RunRecord:
    run = record(60)
    spent = run.energy
    assert spent is not None
    first = run.channels[0]
    return replace(
        run,
        run_id=HOSTILE,
        plan=poisoned(run.plan) | {"model": HOSTILE},
        sut=poisoned(run.sut),
        quality=poisoned(dict(run.quality)),
        channels=(replace(first, meter=HOSTILE, domain=HOSTILE, unit=HOSTILE, accuracy_source=HOSTILE, note=HOSTILE),),
        traces=tuple(replace(t, prompt_id=HOSTILE, error=HOSTILE, text=HOSTILE, server_id=HOSTILE) for t in run.traces),
        energy=replace(
            spent, grade_why=HOSTILE, boundary=HOSTILE,
            domains=tuple(replace(d, domain=HOSTILE, method=HOSTILE, channel=HOSTILE) for d in spent.domains),
            components=tuple(replace(c, name=HOSTILE, source=HOSTILE) for c in spent.components),
        ),
        values={n: NotMetered(HOSTILE) if n.startswith("tpot") else v for n, v in run.values.items()},
        judgement=replace(
            run.judgement, policy_id=HOSTILE, reason=HOSTILE,
            verdicts=tuple(
                replace(v, check=HOSTILE, clause=HOSTILE, reason=HOSTILE, limit=HOSTILE) for v in run.judgement.verdicts
            ),
        ),
        events=({"t": ZERO, "event": HOSTILE, HOSTILE: HOSTILE},),
    )  # fmt: skip


def test_hostile_text_is_shown_as_text_and_changes_nothing() -> None:
    run = hostile_run()
    rows = tuple(
        {**row, "what": HOSTILE, "boundary": HOSTILE, "date": HOSTILE, "source": HOSTILE} for row in STANDING_ROWS
    )
    signer = dict.fromkeys((*SIGNER, HOSTILE), HOSTILE)
    page = render(run, result_of(run), EVIDENCE, HOSTILE, signer, rows)
    scripts = [e.attributes for e in read(page) if e.tag == "script"]
    assert [s["id"] for s in scripts] == ["tca-sig", "tca-evidence"]
    assert len(re.findall(rb"<script\b", page, re.IGNORECASE)) == 2
    test_nothing_on_the_page_runs_is_loaded_or_styled_inline(page)
    test_ids_are_unique_and_every_reference_has_its_target(page)
    for section in (
        "clauses",
        "standing",
        "energy",
        "uncertainty",
        "latency",
        "workload",
        "system",
        "verify",
        "tokens",
    ):
        assert '<script>alert("1")</script>' in found(page, "section", id=section)[0].text, section
    text = page.decode("utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", text)
    assert "\\u202egpj.exe" in text
    assert "{{ 7*7 }}" in text
    plain = [e.tag for e in read(page_of(record()))]
    assert {e.tag for e in read(page)} <= set(plain)


def test_what_the_model_wrote_is_not_on_the_page() -> None:
    run = record(60)
    secret = "the words of the answer"
    assert secret.encode() not in page_of(replace(run, traces=tuple(replace(t, text=secret) for t in run.traces)))
