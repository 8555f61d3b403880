"""What code may not do: each ends wrong, soon, and leaves nothing behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from tcabench.quality import sandbox
from tcabench.quality.sandbox import Limits, NotStarted, call

TIGHT = Limits(cpu_s=1, wall_s=3.0, memory_bytes=256 * 1024 * 1024)
LONGEST_S = 60.0  # far above the limits: only a loop that nothing ends fails this

BAD = {
    "endless loop": "def f(n):\n    while True: pass",
    "endless while it is loaded": "while True: pass",
    "sleep": "import time\ndef f(n): time.sleep(600)",
    "memory": "def f(n): return len(bytearray(10**10))",
    "memory by and by": "def f(n):\n    row = [0]\n    while True: row += row",
    "recursion": "def f(n): return f(n)",
    "fork": "import os\ndef f(n):\n    os.fork()\n    return n + 1",
    "another program": "import subprocess\ndef f(n): return subprocess.run(['true']).returncode + 2",
    "shell": "import os\ndef f(n): return os.system('true') + 2",
    "socket": "import socket\ndef f(n):\n    socket.create_connection(('127.0.0.1', 9))\n    return n + 1",
    "foreign library": "import ctypes\ndef f(n): return n + 1",
    "kill its parent": "import os\ndef f(n):\n    os.kill(os.getppid(), 0)\n    return n + 1",
    "syntax": "def f(n) return n",
    "null byte": "def f(n): return n\0",
    "wrong name": "def g(n): return n + 1",
    "exit": "raise SystemExit(0)",
    "hard exit": "import os\ndef f(n): os._exit(0)",
    "not a number": "def f(n): return float('nan')",
    "no JSON": "def f(n): return {1, 2}",
    "flood of results": "def f(n): return 'x' * 10**6",
    "flood of the pipe": (
        "import os\ndef f(n):\n    for fd in range(64):\n        try:\n"
        "            while True: os.write(fd, b'x' * 65536)\n        except OSError: pass"
    ),
    "raised limits": "import resource\ndef f(n):\n    resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n    return 2",
}


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_it_is_wrong_and_bounded(source: str) -> None:
    begun = time.monotonic()
    ran = call(source, "f", [[1]], TIGHT)
    assert ran.results is None
    assert ran.why
    assert time.monotonic() - begun < LONGEST_S


def test_results_come_back_whatever_is_printed() -> None:
    noise = (
        "import sys\nprint('ready')\ndef f(n):\n    print('{}' * 10**5)\n    sys.stderr.write('x')\n"
        "    return [n, {'a': n + 1}]"
    )
    assert call(noise, "f", [[1], [5]]).results == ([1, {"a": 2}], [5, {"a": 6}])


@pytest.mark.parametrize(
    "how", ["open({!r}, 'w').write('x')", "os.open({!r}, os.O_CREAT | os.O_WRONLY)", "os.mkdir({!r})"]
)
def test_nothing_is_written_outside(tmp_path: Path, how: str) -> None:
    target = tmp_path / "made"
    assert call(f"import os\ndef f(n):\n    {how.format(str(target))}\n    return 1", "f", [[1]]).results is None
    assert not target.exists()


def test_no_file_of_the_user_is_cut_or_taken_away(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for act in (f"open({str(kept)!r}, 'w')", f"os.remove({str(kept)!r})", f"os.truncate({str(kept)!r}, 0)"):
        assert call(f"import os\ndef f(n):\n    {act}\n    return 1", "f", [[1]]).results is None
    assert kept.read_text() == "mine"


def test_nothing_of_ours_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "1")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    source = (
        "import os, sys\ndef is_open(fd):\n    try: os.fstat(fd)\n    except OSError: return False\n    return True\n"
        "def f(n):\n    files = [fd for fd in range(3, 64) if is_open(fd)]\n"
        "    return [sorted(os.environ), len(files), os.getsid(0) == os.getpid()]"
    )
    try:
        ran = call(source, "f", [[1]])
        assert ran.results is not None
        environment, files, own_session = ran.results[0]
        assert set(environment) <= {"LC_CTYPE", "PYTHONHASHSEED"}  # the first by PEP 538
        assert files <= 2  # the pipe for results, and the null device
        assert own_session
    finally:
        os.close(read)
        os.close(write)


def test_the_folder_of_a_run_is_gone_after_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = call("import os\ndef f(n): return os.getcwd()", "f", [[1]])
    assert ran.results is not None
    assert ran.results[0].startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_forged_account_is_no_result_of_more_cases() -> None:
    forged = (
        "import os\nfor fd in range(3, 9):\n    try: os.write(fd, b'{\"results\": [2, 3, 4]}')\n"
        "    except OSError: pass\nos._exit(0)"
    )
    assert call(forged, "f", [[1], [2]]).results is None


def test_without_an_interpreter_nothing_is_graded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(NotStarted, match="did not start"):
        call("def f(n): return n", "f", [[1]])
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(NotStarted, match="interpreter"):
        call("def f(n): return n", "f", [[1]])


def test_a_sandbox_that_breaks_before_the_code_says_nothing_of_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "inside.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(sandbox, "INSIDE", broken)
    with pytest.raises(NotStarted, match="did not start"):
        call("def f(n): return n", "f", [[1]])


UNTOLD = {
    "a pipe with a name": "import os\ndef f(n):\n    os.mkfifo('{}')\n    return n",
    "the same from below": "import posix\ndef f(n):\n    posix.mkfifo('{}')\n    return n",
    "a database": "import sqlite3\ndef f(n):\n    sqlite3.connect('{}').execute('create table a(b)')\n    return n",
    "shared memory": "import _posixshmem\ndef f(n): return n",
    "the log": "import syslog\ndef f(n): return n",
    "our priority": "import os\ndef f(n):\n    os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)\n    return n",
    "our cores": "import os\ndef f(n):\n    os.sched_setaffinity(os.getppid(), [0])\n    return n",
}


@pytest.mark.parametrize("source", UNTOLD.values(), ids=UNTOLD.keys())
def test_what_no_audit_event_tells_of_is_barred_too(source: str, tmp_path: Path) -> None:
    ran = call(source.format(tmp_path / "made"), "f", [[1]], TIGHT)
    assert ran.results is None
    assert not list(tmp_path.iterdir())


def test_sets_come_in_the_same_order_every_time() -> None:
    source = "def f(n): return list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    assert len({str(call(source, "f", [[1]]).results) for _ in range(4)}) == 1
