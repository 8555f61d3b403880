"""The ledger of a rig: nothing can be taken out, put in between, or reordered."""

import subprocess
import sys

import pytest

from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence import append_ledger, read_ledger

RUNS = [("a", "started"), ("b", "started"), ("a", "sealed"), ("b", "incomplete")]


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "runs" / "ledger.jsonl"
    for n, (run_id, state) in enumerate(RUNS):
        append_ledger(path, run_id, state, 10**18 + n)
    return path


def test_entries_come_back_in_order(ledger):
    entries = read_ledger(ledger.read_bytes())
    assert [(e["run_id"], e["state"]) for e in entries] == RUNS
    assert entries[2]["wall_ns"] == "1000000000000000002"


def test_appending_gives_the_ledger_as_it_stands(ledger):
    assert append_ledger(ledger, "c", "started", 1) == ledger.read_bytes()


def test_any_change_but_a_cut_at_the_end_breaks_the_chain(ledger):
    lines = ledger.read_bytes().splitlines(keepends=True)
    wrong = [lines[1:], lines[:1] + lines[2:], [lines[1], lines[0], *lines[2:]], [*lines, lines[-1]]]
    wrong += [[lines[0].replace(b'"a"', b'"z"'), *lines[1:]], [*lines[:-1], lines[-1][:-1]]]
    for changed in wrong:
        with pytest.raises(NotVerified):
            read_ledger(b"".join(changed))


def test_a_line_torn_by_a_crash_is_cut_off_and_the_next_entry_says_so(ledger):
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"n":4,"prev"')
    entries = read_ledger(append_ledger(ledger, "c", "started", 1))
    assert (len(entries), entries[-1]["after_torn_line"]) == (5, True)
    assert ledger.read_bytes().startswith(whole)


def test_a_ledger_that_was_tampered_with_takes_no_entry(ledger):
    changed = ledger.read_bytes().replace(b"started", b"sealed!", 1)
    ledger.write_bytes(changed)
    with pytest.raises(EvidenceError, match="Move the file away") as caught:
        append_ledger(ledger, "c", "started", 1)
    assert caught.value.kind == "ledger"
    assert ledger.read_bytes() == changed


def test_runs_at_the_same_time_wait_for_each_other(ledger):
    code = (
        "import sys; from pathlib import Path; from tcabench.evidence import append_ledger\n"
        "for n in range(20): append_ledger(Path(sys.argv[1]), f'{sys.argv[2]}-{n}', 'started', n)"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(ledger), name]) for name in "xyz"]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert len(read_ledger(ledger.read_bytes())) == len(RUNS) + 60


def test_a_place_that_cannot_be_written_is_an_evidence_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceError, match=r"ledger\.jsonl"):
        append_ledger(tmp_path / "file" / "ledger.jsonl", "a", "started", 1)


def test_a_state_is_one_of_three(tmp_path):
    with pytest.raises(ValueError, match="finished"):
        append_ledger(tmp_path / "l", "a", "finished", 1)
