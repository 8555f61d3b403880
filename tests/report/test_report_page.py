"""What the page holds: the same bytes, one slot, every number as in the result, nothing hidden and nothing made up."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from page_reader import found, read
from sample_page import EVIDENCE, page_of
from sample_record import SIGNER, ZERO, S, channel, record, result_of, samples, unmetered

from tcabench.records import Kind, NotMetered, Outcome, PowerSample, RunRecord, Status
from tcabench.report import render
from tcabench.report.sections import load_sections
from tcabench.report.view import at


@pytest.fixture(scope="module")
def page() -> bytes:
    return page_of(record())


def test_the_same_run_gives_the_same_bytes_in_another_process(page: bytes) -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import sample_page as t;"
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
        "power", "standing-chart", "budget", "ladder", "ecdf-ttft", "ecdf-itl", "ecdf-e2e",
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


def test_the_anchors_are_the_stable_ones(page: bytes) -> None:
    assert [s.id for s in load_sections()] == [
        "verdict", "clauses", "standing", "parity", "graded", "energy", "work", "uncertainty", "meters", "facility",
        "carbon", "latency", "tokens", "workload", "system", "verify", "glossary",
    ]  # fmt: skip
    contents = [e for e in read(page) if e.tag == "a" and "nav" in e.parents]
    assert [e.attributes["href"][1:] for e in contents] == [s.id for s in load_sections()][1:]


def test_every_chart_is_named_described_and_has_a_table(page: bytes) -> None:
    elements = read(page)
    charts = [e for e in elements if e.attributes.get("class") == "chart"]
    assert len(charts) == 7
    for chart in charts:
        assert chart.attributes["role"] == "img"
        name, desc = chart.attributes["aria-labelledby"].split()
        assert all(e.text for e in elements if e.attributes.get("id") in (name, desc))
        section = next(p for p in chart.parents if p in {s.id for s in load_sections()})
        assert [e for e in elements if e.tag == "table" and section in e.parents and "details" in e.parents]


def test_every_colour_of_a_chart_is_one_of_the_style_sheet(page: bytes) -> None:
    defined = set(re.findall(r"--([a-z0-9-]+):", found(page, "style")[0].text))
    charts = re.findall(r'<svg [^>]*class="chart".*?</svg>', page.decode(), re.DOTALL)
    assert len(charts) == 7
    for chart in charts:
        assert not re.search(r'="#[0-9a-f]{3,6}"', chart)
        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", chart)) <= defined


def test_the_page_never_calls_itself_verified(page: bytes) -> None:
    [section] = found(page, "section", id="verify")
    assert "Self-check: none. A page cannot vouch for itself." in section.text
    assert SIGNER["fingerprint"] in section.text
    assert not re.search(r"\bverified\b", page.decode(), re.IGNORECASE)


def test_gaps_in_the_readings_are_drawn_and_listed(page: bytes) -> None:
    [section] = found(page, "section", id="energy")
    assert "Stretches without readings" in section.text
    assert "63.00" in section.text
    assert b"var(--gap)" in page
    whole = page_of(replace(record(5), samples=samples(gap=(0.0, 0.0))))
    assert "Stretches without readings" not in found(whole, "section", id="energy")[0].text


def test_importing_the_stage_loads_nothing_heavy() -> None:
    code = "import sys, tcabench.report; print(sorted({'matplotlib', 'pandas', 'jinja2', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_percentile_that_nothing_bounds_is_open() -> None:
    whole = record()
    p99 = replace(whole.values["ttft.p99"], open_above=True)  # type: ignore[type-var]
    page = page_of(replace(whole, values={**whole.values, "ttft.p99": p99})).decode()
    assert page.count("… open)") == 2  # in the table of latencies, and in that of every number
    assert "no upper limit passes on it" in page


def test_meters_and_clocks_are_told_and_what_is_wrong_with_them(page: bytes) -> None:
    [section] = found(page, "section", id="meters")
    for words in (
        "3.5 s without a reading",
        "load marker",
        "1.503\u00a0s",
        "its clock jumped by 5 s <b>",
        "GPU is lost <b>",
    ):
        assert words in section.text
    assert "0.69\u00a0%" in section.text  # what the sampling cost of a core


def test_a_run_is_shown_from_chip_to_plant(page: bytes) -> None:
    [section] = found(page, "section", id="facility")
    for words in (
        "chip",
        "rack",
        "E5",
        "not metered: no meter",
        "1.039",
        "energy: the share of IT energy",
        "category 2",
    ):
        assert words in section.text
    assert "103.9 %" not in section.text
    [carbon] = found(page, "section", id="carbon")
    assert "Ember via Our World in Data, DE 2023" in carbon.text
    assert "g per 1\u202f000 tokens" in carbon.text


def test_a_run_without_a_site_says_so_and_shows_no_figure() -> None:
    run = record()
    assert run.energy is not None
    bare = page_of(replace(run, energy=replace(run.energy, facility=None, carbon=None, split=None)))
    assert "nothing is said of the plant" in found(bare, "section", id="facility")[0].text
    assert "There is no default" in found(bare, "section", id="carbon")[0].text
