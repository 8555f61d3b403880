"""The journal: what happened is on disk soon, whatever becomes of the process, and a full disk is said to be full."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tcabench.errors import EvidenceError
from tcabench.evidence import Journal, read_journal
from tcabench.evidence.disk import evidence_error, write_atomic
from tcabench.evidence.store import EVENTS, POWER, REQUESTS
from tcabench.evidence.tables import write_channels
from tcabench.records import PowerSample
from tests.evidence.sample_run import channels

SAMPLES = (PowerSample(2**60, 5, "gpu0", 0.1), PowerSample(2**60 + 1, 5, "gpu0", 1e-300))
SENT = {"e": "sent", "i": 0, "p": "chat-001", "t": 1, "due": None, "max": 64}
CHUNK = {"e": "chunk", "i": 0, "t": 2, "s": "ä\ud800\n\u2028"}


def test_everything_comes_back(tmp_path):
    with Journal(tmp_path) as journal:
        journal.write("plan.json", {"run_id": "r"})
        journal.write("policy.yaml", b"id: x\n")
        journal.write("channels.json", write_channels(channels()))
        journal.event({"t": 1, "event": "phase", "phase": "idle_start"})
        journal.samples(SAMPLES)
        journal.request(SENT)
        journal.request(CHUNK)
    read = read_journal(tmp_path)
    assert (read.samples, read.requests) == (SAMPLES, (SENT, CHUNK))
    assert read.events == ({"t": 1, "event": "phase", "phase": "idle_start"},)
    assert read.documents["plan.json"] == b'{"run_id":"r"}'
    assert read.documents["policy.yaml"] == b"id: x\n"
    assert (read.channels, read.torn) == (channels(), ())


def test_evidence_is_never_added_to(tmp_path):
    Journal(tmp_path).close()
    with pytest.raises(EvidenceError, match="already there") as caught:
        Journal(tmp_path)
    assert caught.value.kind == "exists"


def test_threads_never_mix_their_lines(tmp_path):
    def write(number):
        for at in range(500):
            journal.samples([PowerSample(at, 1, f"c{number}", float(at)), PowerSample(at, 2, f"c{number}", 0.5)])

    with Journal(tmp_path) as journal:
        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    samples = read_journal(tmp_path).samples
    for number in range(4):
        own = [s for s in samples if s.channel == f"c{number}"]
        assert [s.t_ns for s in own] == [at for at in range(500) for _ in (0, 1)]


def test_a_closed_journal_takes_nothing(tmp_path):
    journal = Journal(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(EvidenceError, match="closed"):
        journal.event({"t": 1, "event": "x"})


@pytest.mark.parametrize("event", [{}, {"t": 1.5, "event": "x"}, {"t": 1}, {"t": 1, "event": "x", "w": float("nan")}])
def test_what_is_no_event_is_refused(tmp_path, event):
    with Journal(tmp_path) as journal, pytest.raises(ValueError, match=r"event|JSON"):
        journal.event(event)


def test_only_a_last_line_may_be_torn(tmp_path):
    with Journal(tmp_path) as journal:
        journal.samples(SAMPLES)
        journal.request(SENT)
    power, requests = (tmp_path / "evidence" / name for name in (POWER, REQUESTS))
    whole = power.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        power.write_bytes(whole[:-cut])
        read = read_journal(tmp_path)
        assert (read.samples, read.torn) == (SAMPLES[:1], (POWER,))
    for damaged in (b"[1,2\n" + whole, b"\n" + whole, b"[1,2,3,4]\n", b'[1,2,"a",true]\n', b"[1,2,\xff]\n"):
        power.write_bytes(damaged)
        with pytest.raises(EvidenceError) as caught:
            read_journal(tmp_path)
        assert caught.value.kind == "journal-damaged"
    power.write_bytes(whole)
    requests.write_bytes(b"[]\n")
    with pytest.raises(EvidenceError, match=r"requests\.jsonl"):
        read_journal(tmp_path)


def test_there_may_be_nothing_to_recover(tmp_path):
    with pytest.raises(EvidenceError, match="no evidence"):
        read_journal(tmp_path)


WRITER = """
import sys, time
from pathlib import Path
from tcabench.evidence import Journal
from tcabench.records import PowerSample
journal = Journal(Path(sys.argv[1]))
journal.event({"t": time.monotonic_ns(), "event": "started"})
for n in range(10_000):
    now = time.monotonic_ns()
    journal.samples([PowerSample(now, 1, "c", float(n))])
    journal.request({"e": "chunk", "i": n, "t": now, "s": "x"})
    print(now, flush=True)
    time.sleep(0.05)
"""


def test_kill_9_loses_at_most_one_second(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        written = [int(child.stdout.readline()) for _ in range(50)]
        child.send_signal(signal.SIGKILL)
        written += [int(line) for line in child.stdout]
    assert child.returncode == -signal.SIGKILL
    due = [t for t in written if t <= written[-1] - 1_000_000_000]
    read = read_journal(tmp_path)
    assert len(due) > 10
    assert [s.t_ns for s in read.samples][: len(due)] == due
    assert [r["t"] for r in read.requests][: len(due)] == due
    assert read.events[0]["event"] == "started"


def _full(journal, stream):
    """Point a stream of the journal at a device that is always full: the kernel itself says ENOSPC."""
    device = os.open("/dev/full", os.O_WRONLY)
    os.dup2(device, journal._fds[stream])
    os.close(device)


@pytest.mark.parametrize("stream", [POWER, EVENTS, REQUESTS])
def test_a_full_disk_is_told_at_the_next_call_and_ever_after(tmp_path, stream):
    journal = Journal(tmp_path)
    _full(journal, stream)
    journal._append(stream, b"{}\n")
    calls = [
        lambda: journal.samples(SAMPLES),
        lambda: journal.event({"t": 1, "event": "x"}),
        lambda: journal.request(SENT),
        lambda: journal.write("plan.json", {}),
        journal.flush,
    ]
    for call in calls:
        with pytest.raises(EvidenceError, match="disk is full") as caught:
            call()
        assert caught.value.kind == "disk-full"
    journal.close()


def test_a_loss_that_only_closing_meets_is_told_by_closing(tmp_path):
    journal = Journal(tmp_path)
    _full(journal, POWER)
    with journal._writing:  # nothing is written before close
        journal.samples(SAMPLES)
        closing = threading.Thread(target=_closed, args=(journal, told := []))
        closing.start()
    closing.join()
    assert [error.kind for error in told] == ["disk-full"]


def _closed(journal, told):
    try:
        journal.close()
    except EvidenceError as err:
        told.append(err)


LIMITED = """
import json, resource, sys
from pathlib import Path
from tcabench.errors import EvidenceError
from tcabench.evidence import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
journal = Journal(Path(sys.argv[1]))
try:
    for n in range(100_000):
        journal.request({"e": "chunk", "i": n, "t": n, "s": "x" * 50})
except EvidenceError as err:
    print(json.dumps([n, err.kind, str(err)]))
    journal.close()
"""


def test_a_file_size_limit_ends_a_run_in_an_evidence_error(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    _, kind, message = json.loads(done.stdout)
    assert kind == "disk-full"
    assert "requests.jsonl" in message
    read = read_journal(tmp_path)
    assert [r["i"] for r in read.requests] == list(range(len(read.requests)))
    assert len(read.requests) > 1_000


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EFBIG, "disk-full"),
        (errno.EACCES, "no-permission"),
        (errno.EROFS, "no-permission"),
        (errno.EIO, "write-failed"),
    ],
)
def test_every_cause_has_a_kind_and_names_the_file(number, kind):
    err = evidence_error(OSError(number, os.strerror(number)), Path("runs/x"))
    assert (err.kind, err.exit_code) == (kind, 4)
    assert "runs/x" in str(err)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(EvidenceError):
        write_atomic(tmp_path / "plan.json", b"{}")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    with pytest.raises(EvidenceError):
        write_atomic(tmp_path / "gone" / "plan.json", b"{}")


def test_only_known_documents_are_written(tmp_path):
    with Journal(tmp_path) as journal, pytest.raises(ValueError, match="result"):
        journal.write("result.json", {})
