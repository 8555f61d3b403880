"""Work done and spared: from what a server says of it in `usage` to the table, the page and the verifier."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from math import fsum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.model.export import export
from tcabench.evidence.pack import open_pack
from tcabench.evidence.tables import read_traces, read_work, write_work
from tcabench.load.apis import APIS
from tcabench.load.apis.events import work
from tcabench.load.fold import fold_work
from tcabench.metrics.work_in_window import work_in_window
from tcabench.records import RunRecord, Work
from tcabench.timeline.tokens import share_between
from tcabench.verify import Checked, Standing, verify
from tests.engine.conftest import make_checkpoint, make_tokenizer
from tests.evidence.sample_run import page_of, record, sealed_in
from tests.quality.sse_server import Reply, serving

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--meter", "estimate", "--idle", 0.5, "--warmup", 0.5, "--duration", 3, "--drain", 20, "--quiet")
TOLD = {"done": {"macs": 3_000_000, "bytes": 500}, "spared": {"prefix": {"macs": 1_000_000, "bytes": 0}}}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (TOLD, {"done": [3_000_000, 500], "prefix": [1_000_000, 0]}),
        ({"done": {"macs": 1, "bytes": 2}, "spared": {}}, {"done": [1, 2]}),
        ({"done": {"macs": 1, "bytes": 2}, "spared": {"z": {"macs": -5, "bytes": 0}}}, {"done": [1, 2], "z": [-5, 0]}),
        ({"done": {"macs": 1, "bytes": 2}, "spared": {"done": {"macs": 9, "bytes": 9}}}, {"done": [1, 2]}),
        (None, None),
        ("much", None),
        ({"spared": {}}, None),
        ({"done": {"macs": 1}, "spared": {}}, None),
        ({"done": {"macs": 1.5, "bytes": 2}, "spared": {}}, None),
        ({"done": {"macs": True, "bytes": 2}, "spared": {}}, None),
        ({"done": {"macs": 2**62, "bytes": 2}, "spared": {}}, None),
        ({"done": {"macs": 1, "bytes": 2}, "spared": [1]}, None),
        ({"done": {"macs": 1, "bytes": 2}, "spared": {str(i): {"macs": 1, "bytes": 1} for i in range(99)}}, None),
    ],
)  # fmt: skip
def test_what_usage_says_is_read_or_left(told: Any, found: Any) -> None:
    assert work(told) == found
    for api in APIS.builtin:
        payload = json.dumps({"choices": [], "usage": {"prompt_tokens": 1, "work": told}}).encode()
        assert APIS.load(api)().delta(payload).work == found


def test_the_table_is_tidy() -> None:
    events = [
        {"e": "end", "i": 7, "t": 9, "work": {"done": [1, 2], "zeros": [3, 4]}},
        {"e": "sent", "i": 3, "t": 1},
        {"e": "end", "i": 3, "t": 5, "work": {"done": [5, 6]}},
        {"e": "end", "i": 4, "t": 6},
    ]
    rows = (Work(3, "done", 5, 6), Work(7, "done", 1, 2), Work(7, "zeros", 3, 4))
    assert fold_work(events) == rows
    assert read_work(write_work(rows)) == rows


RUN = record()
WORK = st.tuples(st.integers(0, 40), st.integers(0, 10**12), st.integers(0, 10**12))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from(["done", "prefix", "zeros"]), WORK, min_size=1))
def test_shares_add_up_and_nothing_outside_the_window_counts(told: dict[str, tuple[int, int, int]]) -> None:
    run = RUN
    rows = [Work(request, reason, macs, read) for reason, (request, macs, read) in told.items()]
    found = work_in_window(rows, run.traces, run.window)
    assert found
    assert run.window
    for row in found["reasons"]:
        request, macs, _ = told[row["reason"]]
        [share] = [
            share_between(t, run.window.start_ns, run.window.end_ns) for t in run.traces if t.index == request
        ] or [0]
        assert float(row["macs"]) == pytest.approx(macs * share)
    if float(found["whole"]["macs"]) > 0:
        assert fsum(float(row["macs_share"]) for row in found["reasons"]) == pytest.approx(1)
    assert work_in_window((), run.traces, run.window) is None
    assert work_in_window(rows, run.traces, None) is None


def opened(out: Path) -> tuple[Path, dict[str, bytes], str]:
    folder = next(path for path in out.iterdir() if path.is_dir())
    members = dict(open_pack(next(folder.glob("*.tcab")).read_bytes()).members)
    return folder, members, (folder / "report.html").read_text().partition('id="tca-evidence"')[0]


def checked(tcabench: Cli, folder: Path) -> None:
    check = tcabench("verify", folder / "report.html")
    assert "INVALID" not in check.stdout, check.stdout
    assert "word for word, picture for picture" in " ".join(check.stdout.split()), check.stdout


def test_a_server_that_tells_is_shown_beside_the_energy(tcabench: Cli, tmp_path: Path) -> None:
    """Every answer is told as 3 million multiply-adds done and 1 million spared for its 16 pieces."""

    def answer(prompt: str, before: int, max_tok: int) -> Reply:
        return Reply([" w"] * 16, 0.01, 0.01, usage=16, work=TOLD)

    with serving(answer) as url:
        done = tcabench("run", "--endpoint", url, "--model", "m", "--out", tmp_path, *SHORT, "--concurrency", 2)
    assert done.returncode in (0, 3, 6), done.stdout + done.stderr
    folder, members, page = opened(tmp_path)
    rows, traces = read_work(members["work.parquet"]), read_traces(members["requests.parquet"])
    assert {row.request for row in rows} == {trace.index for trace in traces if trace.output_tok == 16}
    assert {(row.reason, row.macs, row.bytes) for row in rows} == {("done", 3_000_000, 500), ("prefix", 1_000_000, 0)}
    assert "Spared work is counted, not metered" in page
    shown = {name: value for name, value in _numbers(page) if name.startswith("work/")}
    assert shown["work/reasons/0/macs_share"] == "0.75"
    assert shown["work/reasons/1/macs_share"] == "0.25"
    assert float(shown["work/reasons/0/macs_per_token"]) == pytest.approx(3_000_000 / 16)
    assert float(shown["work/reasons/0/bytes_per_token"]) == pytest.approx(500 / 16)
    assert float(shown["work/whole/macs"]) == pytest.approx(4_000_000 * float(shown["work/tokens"]) / 16)
    checked(tcabench, folder)


def _numbers(page: str) -> list[tuple[str, str]]:
    import re

    return re.findall(r'data-tca="([^"]+)" value="([^"]+)"', page)


def test_a_server_that_tells_nothing_has_no_table(tcabench: Cli, tmp_path: Path) -> None:
    with serving(lambda prompt, before, max_tok: Reply([" w"] * 8, 0.01, 0.01)) as url:
        tcabench("run", "--endpoint", url, "--model", "m", "--out", tmp_path, *SHORT, "--concurrency", 1)
    folder, members, page = opened(tmp_path)
    assert "work.parquet" not in members
    assert "does not tell what it computed and what it was spared" in page
    checked(tcabench, folder)


def test_the_bundled_engine_tells_what_its_own_log_says(tcabench: Cli, tmp_path: Path) -> None:
    export(make_checkpoint(context_tok=1024), make_tokenizer(), tmp_path / "tiny")
    done = tcabench("run", "--model", tmp_path / "tiny", "--out", tmp_path / "runs", *SHORT, "--concurrency", 3)
    assert done.returncode in (0, 3, 6), done.stdout + done.stderr
    folder, members, page = opened(tmp_path / "runs")
    traces = {t.index: t.server_id for t in read_traces(members["requests.parquet"])}
    logged = {
        row["id"]: row["work"] for row in map(json.loads, (folder / "engine-requests.jsonl").read_text().splitlines())
    }
    rows = read_work(members["work.parquet"])
    assert {row.reason for row in rows} >= {"done"}
    assert {row.request for row in rows} <= traces.keys()
    for row in rows:
        said = logged[traces[row.request]]
        assert said[row.reason]["macs"] == row.macs, row
        assert said[row.reason]["bytes"] == row.bytes, row
    assert 'data-tca="work/reasons/0/macs"' in page
    checked(tcabench, folder)


def run_with(rows: tuple[Work, ...]) -> RunRecord:
    run = record()
    return replace(run, work=rows, work_sums=work_in_window(rows, run.traces, run.window) or {})


ROWS = tuple(Work(index, reason, 1000, 10) for index in range(40) for reason in ("done", "prefix"))
LIES = {
    "a request that is not there": (*ROWS, Work(99, "done", 1, 1)),
    "twice": (*ROWS, ROWS[0]),
    "spared, and nothing done": (*ROWS[2:], Work(0, "prefix", 1, 1)),
    "less than nothing": (*ROWS[2:], Work(0, "done", -1, 1)),
}


def test_work_that_agrees_with_the_requests_is_valid(tmp_path: Path) -> None:
    sealed = sealed_in(tmp_path, run_with(ROWS))
    assert verify(sealed.run.report, sealed.trust).verdict is Standing.VALID


@pytest.mark.parametrize("name", LIES)
def test_work_that_contradicts_the_requests_is_found(tmp_path: Path, name: str) -> None:
    sealed = sealed_in(tmp_path, run_with(LIES[name]))
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.steps[5].outcome) == (Standing.INVALID, Checked.FAIL)
    assert found.steps[5].detail.startswith("A-28 work done and spared")


@pytest.mark.parametrize(("factor", "standing"), [(1, Standing.VALID), (2, Standing.INVALID)])
def test_sums_on_the_page_are_held_against_the_table(tmp_path: Path, factor: int, standing: Standing) -> None:
    run = run_with(ROWS)
    value = float(run.work_sums["reasons"][0]["macs"]) * factor
    number = f'<ul><data data-tca="work/reasons/0/macs" value="{value:.10g}">x</data>'.encode()
    sealed = sealed_in(tmp_path, run, render=lambda result, tcab: page_of(result, tcab).replace(b"<ul>", number))
    assert verify(sealed.run.report, sealed.trust).verdict is standing
