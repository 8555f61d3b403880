"""What a hostile file may try: bring the verifier down, drive the reader's terminal, leave requests out."""

from dataclasses import replace
from pathlib import Path

import pytest

from tcabench.evidence.pack import open_pack
from tcabench.policy import parse_policy
from tcabench.records import RunRecord, Trace
from tcabench.verify import Standing, verify
from tcabench.verify.recompute import read_raw
from tests.evidence import sample_run
from tests.evidence.sample_run import page_of, record, sealed_in

VALID, ALTERED, INVALID = Standing.VALID, Standing.PAGE_ALTERED, Standing.INVALID


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<!doctype", b"<![octype"),
        (b'data-tca="values/', b'data-tca="verdicts/' + b"1" * 5000 + b"/"),
        (b"<li>", b"<![CDATA["),
        (b"</li>", b"</li><!-"),
    ],
    ids=["declaration", "long number", "marked section", "torn comment"],
)
def test_a_page_that_no_browser_would_write_is_a_verdict_not_a_crash(tmp_path: Path, old: bytes, new: bytes) -> None:
    sealed = sealed_in(tmp_path)
    page = sealed.run.report.read_bytes()
    assert old in page
    sealed.run.report.write_bytes(page.replace(old, new, 1))
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict in (ALTERED, INVALID)
    assert found.exit_code == 5


def with_traces(run: RunRecord, traces: tuple[Trace, ...]) -> RunRecord:
    """`run` measured again over other requests, all its numbers following from them."""
    policy = parse_policy(sample_run.load_policy("indicative").yaml_bytes)
    found = sample_run.derive(run.plan, run.channels, traces, run.samples, run.events, policy, run.complete)
    return replace(
        run, traces=traces, window=found.window, energy=found.energy, values=found.values, judgement=found.judgement
    )


LEFT_OUT = {
    "every second request gone": lambda ts: ts[::2],
    "the first one gone": lambda ts: ts[1:],
    "twice as many in flight": lambda ts: (*ts, *(replace(t, index=t.index + len(ts)) for t in ts)),
    "timed from a schedule": lambda ts: tuple(replace(t, due_ns=t.chunk_ns[0] - 1) for t in ts),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_requests_that_are_not_the_planned_ones_are_invalid(tmp_path: Path, name: str) -> None:
    run = record()
    found = verify(
        (sealed := sealed_in(tmp_path, with_traces(run, LEFT_OUT[name](run.traces)))).run.report, sealed.trust
    )
    assert found.verdict is INVALID
    assert "A-23" in found.steps[5].detail


def test_the_planned_ones_are_valid(tmp_path: Path) -> None:
    run = record()
    sealed = sealed_in(tmp_path, with_traces(run, run.traces))
    assert verify(sealed.run.report, sealed.trust).verdict is VALID


@pytest.mark.parametrize(
    "news",
    [
        {"concurrency": 512},
        {"metrics": ["ttft", "ttft"]},
        {"window": {"idle_s": 1, "warmup_s": -1, "measure_s": 9, "drain_s": 1}},
    ],
)
def test_a_plan_that_could_not_have_been_run_is_invalid(tmp_path: Path, news: dict[str, object]) -> None:
    run = record()
    sealed = sealed_in(tmp_path, replace(run, plan={**run.plan, **news}))
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict is INVALID


def test_a_policy_that_borrows_a_name_is_told(tmp_path: Path) -> None:
    sealed = sealed_in(tmp_path)
    assert read_raw(open_pack(sealed.run.tcab.read_bytes()).members).policy.id == "indicative"
    assert verify(sealed.run.report, sealed.trust).judged_by == "the bundle's own policy indicative"
    from tcabench.verify.verify import _named

    own = parse_policy(b"id: letter-15k\nversion: 1\ntitle: t\nchecks: [{id: a, metric: error_rate, '<=': 1}]\n")
    assert _named(own) == "letter-15k (NOT the built-in of that name)"


def test_what_a_file_says_does_not_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tcabench.cli.show import show_verification

    sealed = sealed_in(tmp_path, render=lambda result, evidence: page_of(result, evidence).replace(
        b"<ul>", b'<ul><data data-tca="\x1b[2J\x1b[HVALID\x1b_" value="1">1</data>'
    ))  # fmt: skip
    moved = sealed.run.report.with_name("x[bold].html")
    sealed.run.report.rename(moved)
    show_verification(verify(moved, sealed.trust))
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\u001b[2J" in said
    assert "x[bold].html" in said
    assert said.rstrip().endswith("INVALID")
