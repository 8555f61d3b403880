"""The inner side of the sandbox: a program of its own, run by `sandbox` and never imported.

It imports nothing of the package: the interpreter that runs it does not know where the package is.
"""

import json
import os
import resource
import sys
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
REFUSED = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "resource.", "_posixsubprocess.", "fcntl.")
BARRED = (  # what the audit events do not tell of: files, memory and logs beyond the folder, other processes' shares
    "sqlite3", "_sqlite3", "dbm", "_dbm", "_gdbm", "_posixshmem", "_multiprocessing", "multiprocessing", "syslog",
    "mmap",
)  # fmt: skip
UNTOLD = (
    "mkfifo", "mknod", "memfd_create", "setpriority", "nice", "sched_setaffinity", "sched_setscheduler",
    "sched_setparam", "setpgid", "setsid", "eventfd", "copy_file_range", "sendfile", "pwrite", "pwritev",
    "posix_fallocate",
)  # fmt: skip
ALLOWED = ("os.listdir", "os.scandir")  # importing the standard library lists its folders


def main() -> None:
    """Read the job, shut every door, run, and write {"results": [...]} or {"error": text}."""
    job = json.loads(sys.stdin.buffer.read())
    pipe = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(pipe + 2 if nothing == pipe + 1 else pipe + 1, 64)
    bound(job["limits"])
    os.write(pipe, b"ready\n")
    bar()
    sys.addaudithook(refuse)
    said = json.dumps(answer(job)).encode()
    while said:
        said = said[os.write(pipe, said) :]
    os._exit(0)


def bound(limits: dict[str, Any]) -> None:
    """Hard limits on this process and its children: CPU s, bytes of memory, no file bytes, no core, no processes."""
    cpu_s, memory = int(limits["cpu_s"]), int(limits["memory_bytes"])
    for what, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))


def bar() -> None:
    """Take away the functions that no audit event tells of."""
    import posix

    for module in (os, posix):
        for name in UNTOLD:
            if hasattr(module, name):
                delattr(module, name)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578), which nothing in Python can take away again: reading is left, doing is refused."""
    if event == "open":
        if isinstance(arguments[2], int) and arguments[2] & WRITES:
            raise PermissionError("the sandbox writes no files")
    elif event == "import":
        if str(arguments[0]).split(".")[0] in BARRED:
            raise PermissionError(f"the sandbox has no {arguments[0]}")
    elif event.startswith(REFUSED) and event not in ALLOWED:
        raise PermissionError(f"the sandbox refuses {event}")


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """The results as JSON values, or the error."""
    try:
        space: dict[str, Any] = {"__name__": "answer"}
        exec(compile(job["source"], "<answer>", "exec"), space)
        if not callable(space.get(job["function"])):
            return {"error": f"no function {job['function']}"}
        results = [space[job["function"]](*arguments) for arguments in job["arguments"]]
        return {"results": json.loads(json.dumps(results, allow_nan=False))}
    except BaseException as err:  # noqa: BLE001 - whatever the code raises is the code's, SystemExit too
        return {"error": f"{type(err).__name__}: {err}"[:80]}


if __name__ == "__main__":
    main()
