"""What the page holds: the same bytes, one slot, every number as in the result, nothing hidden and nothing made up."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_reader import found, read
from sample_record import SIGNER, STANDING_ROWS, ZERO, S, channel, record, result_of, samples, unmetered

from tcabench.records import Kind, NotMetered, Outcome, PowerSample, RunRecord, Status
from tcabench.report import render
from tcabench.report.sections import load_sections
from tcabench.report.view import at

EVIDENCE = bytes(range(256)) * 40


def page_of(run: RunRecord, evidence: bytes | None = EVIDENCE) -> bytes:
    return render(run, result_of(run), evidence, f"{run.run_id}.tcab", SIGNER, STANDING_ROWS)


@pytest.fixture(scope="module")
def page() -> bytes:
    return page_of(record())


def test_the_same_run_gives_the_same_bytes_in_another_process(page: bytes) -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import test_report_page as t;"
        "print(hashlib.sha256(t.page_of(t.record())).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "4711"},
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(page).hexdigest()


def test_there_is_one_empty_signature_slot(page: bytes) -> None:
    assert page.count(b'<script type="application/vnd.in-toto.bundle" id="tca-sig"></script>') == 1
    assert page.count(b"tca-sig") == 1


def test_evidence_travels_inside_the_page(page: bytes) -> None:
    [block] = found(page, "script", id="tca-evidence")
    assert block.attributes == {"type": "application/vnd.tcabench.evidence", "id": "tca-evidence"}
    assert base64.b64decode(block.text, validate=True) == EVIDENCE


@pytest.mark.parametrize("evidence", [None, b"x" * 6_000_001])
def test_evidence_that_is_too_large_or_not_given_is_named_instead(evidence: bytes | None) -> None:
    page = page_of(record(1), evidence)
    assert b'id="tca-evidence"' not in page
    [section] = found(page, "section", id="verify")
    assert "is not inside this file" in section.text
    assert "2026-11-23T14-05-09Z-7c1e42.tcab" in section.text


def test_evidence_of_exactly_eight_million_characters_still_fits() -> None:
    assert b'id="tca-evidence"' in page_of(record(1), b"x" * 6_000_000)


@pytest.mark.parametrize(
    "run", [record(), record(estimate=True), unmetered(), record(1)], ids=["E2", "E0", "none", "one"]
)
def test_every_number_is_the_one_in_the_result(run: RunRecord) -> None:
    result, page = result_of(run), page_of(run)
    numbers = found(page, "data")
    assert len(numbers) > 30
    for number in numbers:
        assert at(result, number.attributes["data-tca"]) == number.attributes["value"], number
        assert number.text.strip(), number


def test_every_quantity_of_the_result_is_on_the_page(page: bytes) -> None:
    shown = {e.attributes["data-tca"]: e.attributes["value"] for e in found(page, "data")}
    result = result_of(record())
    for name, value in result["values"].items():
        for part in ("value", "low", "high"):
            assert shown[f"values/{name}/{part}"] == value[part]
    assert shown["energy/total/value"] == "42310"
    assert shown["verdicts/1/decide_s"] == "185"


def test_what_was_not_metered_is_said_and_never_zero() -> None:
    page = page_of(unmetered())
    [headline] = [e for e in found(page, "div", class_="lead") if e.text.startswith("Output tokens per kilowatt-hour")]
    assert "not metered: no meter was connected" in headline.text
    assert not re.search(r"\d", headline.text)
    assert not [e for e in found(page, "data") if "kwh" in e.attributes["data-tca"]]
    assert "No power or energy reading was taken" in found(page, "section", id="energy")[0].text
    assert "No meter was connected" in found(page, "section", id="system")[0].text


def test_text_inside_the_head_is_the_verdict(page: bytes) -> None:
    [head] = found(page, "header", id="verdict")
    for words in ("INCONCLUSIVE", "letter-15k", "tokens/kWh", "J/token", "E2", "185 s more would decide it"):
        assert words in head.text


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_its_own_word_and_shape(outcome: Outcome) -> None:
    run = record(3)
    page = page_of(replace(run, judgement=replace(run.judgement, overall=outcome)))
    [word] = found(page, "p", class_="word")
    assert word.text == outcome.value
    [head] = re.findall(rb'<div class="ruling">.*?<svg[^>]*>(.*?)</svg>', page, re.DOTALL)
    others = [o for o in Outcome if o is not outcome]
    for other in others:
        second = page_of(replace(run, judgement=replace(run.judgement, overall=other)))
        assert re.findall(rb'<div class="ruling">.*?<svg[^>]*>(.*?)</svg>', second, re.DOTALL) != [head]


def banners(page: bytes) -> list[str]:
    return [e.text for e in found(page, "div", class_="banner")]


def test_a_complete_measured_run_has_no_banner(page: bytes) -> None:
    assert banners(page) == []


def test_an_incomplete_run_says_so_before_anything_else() -> None:
    [text] = banners(page_of(replace(record(5), complete=False)))
    assert text.startswith("INCOMPLETE.")


def test_an_estimate_says_so_in_a_banner_and_at_every_energy_figure() -> None:
    page = page_of(record(estimate=True))
    [text] = banners(page)
    assert "E0: an estimate from CPU time and a stated power model, not a measurement." in text
    assert "CPU time times 15 W a core" in text
    heads = found(page, "div", class_="lead")
    assert len(heads) == 2
    assert all(e.text.rstrip().endswith("estimate") for e in heads)
    assert len(found(page, "span", class_="tag")) > 10


def test_a_measured_total_with_an_estimated_part_says_so() -> None:
    run = record(5)
    page = page_of(replace(run, channels=(run.channels[0], replace(run.channels[1], is_estimate=True))))
    [text] = banners(page)
    assert "part of the energy is an estimate" in text


def test_a_run_that_broke_off_before_its_window_still_has_a_page() -> None:
    why = NotMetered("the run has no measuring window")
    run = record(0)
    bare = replace(
        run, complete=False, window=None, energy=None, samples=(), channels=(), traces=(), plan={}, sut={}, quality={},
        values=dict.fromkeys(run.values, why), judgement=replace(run.judgement, verdicts=()), events=(),
    )  # fmt: skip
    page = render(bare, result_of(bare), None, "x.tcab", {}, ())
    assert "INCOMPLETE" in banners(page)[0]
    assert "the run has no measuring window" in found(page, "header", id="verdict")[0].text
    assert not found(page, "data")
    assert not found(page, "svg", class_="chart")


def test_a_run_of_one_request_has_its_charts() -> None:
    run = record(1)
    only = replace(run.traces[0], sent_ns=ZERO + 30 * S, end_ns=ZERO + 32 * S,
                   chunk_ns=tuple(ZERO + 30 * S + 90_000_000 * (i + 1) for i in range(3)))  # fmt: skip
    page = page_of(replace(run, traces=(only,)))
    assert {e.attributes["aria-labelledby"].split("-title")[0] for e in found(page, "svg", class_="chart")} == {
        "power", "standing-chart", "budget", "ecdf-ttft", "ecdf-itl", "ecdf-e2e",
    }  # fmt: skip


def test_failed_requests_are_counted_and_the_first_twenty_told() -> None:
    run = record(1000)
    page = page_of(run)
    failures = sum(t.status is not Status.OK for t in run.traces)
    [section] = found(page, "section", id="latency")
    assert section.text.count("rate limit reached") + section.text.count("without [DONE]") == 20
    assert f"And {failures - 20} more" in section.text


def test_a_long_run_stays_under_two_megabytes() -> None:
    run = record(4000)
    many = tuple(replace(channel(f"gpu{g}", Kind.POWER, "W"), id=f"g{g}") for g in range(8))
    readings = tuple(
        PowerSample(ZERO + i * 100_000_000, 1000, f"g{g}", 300 + (i * 37 + g) % 101)
        for i in range(5000)
        for g in range(8)
    )
    page = page_of(replace(run, channels=many, samples=readings))
    assert len(page) < 2_000_000


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


def test_the_anchors_are_the_stable_ones(page: bytes) -> None:
    assert [s.id for s in load_sections()] == [
        "verdict", "clauses", "standing", "energy", "uncertainty", "latency", "tokens", "workload", "system", "verify",
        "glossary",
    ]  # fmt: skip
    contents = [e for e in read(page) if e.tag == "a" and "nav" in e.parents]
    assert [e.attributes["href"][1:] for e in contents] == [s.id for s in load_sections()][1:]


def test_every_chart_is_named_described_and_has_a_table(page: bytes) -> None:
    elements = read(page)
    charts = [e for e in elements if e.attributes.get("class") == "chart"]
    assert len(charts) == 6
    for chart in charts:
        assert chart.attributes["role"] == "img"
        name, desc = chart.attributes["aria-labelledby"].split()
        assert all(e.text for e in elements if e.attributes.get("id") in (name, desc))
        section = next(p for p in chart.parents if p in {s.id for s in load_sections()})
        assert [e for e in elements if e.tag == "table" and section in e.parents and "details" in e.parents]


def test_every_colour_of_a_chart_is_one_of_the_style_sheet(page: bytes) -> None:
    defined = set(re.findall(r"--([a-z0-9-]+):", found(page, "style")[0].text))
    charts = re.findall(r'<svg [^>]*class="chart".*?</svg>', page.decode(), re.DOTALL)
    assert len(charts) == 6
    for chart in charts:
        assert not re.search(r'="#[0-9a-f]{3,6}"', chart)
        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", chart)) <= defined


def test_the_page_never_calls_itself_verified(page: bytes) -> None:
    [section] = found(page, "section", id="verify")
    assert "Self-check: none. A page cannot vouch for itself." in section.text
    assert SIGNER["fingerprint"] in section.text
    assert not re.search(r"\bverified\b", page.decode(), re.IGNORECASE)


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


def test_gaps_in_the_readings_are_drawn_and_listed(page: bytes) -> None:
    [section] = found(page, "section", id="energy")
    assert "Stretches without readings" in section.text
    assert "63.00" in section.text
    assert b"var(--gap)" in page
    whole = page_of(replace(record(5), samples=samples(gap=(0.0, 0.0))))
    assert "Stretches without readings" not in found(whole, "section", id="energy")[0].text
