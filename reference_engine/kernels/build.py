"""The C++ kernels, compiled on first use for this processor and kept in the user's cache."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from reference_engine.errors import EngineError
from reference_engine.model.pull import cache_dir

SOURCES = Path(__file__).parent / "cpu"
COMMON = ("-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-fPIC", "-shared", "-pthread")
KINDS = {  # best first: name -> compiler flags; what a processor must have is told by `NEEDED`
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mfma", "-mf16c",
               "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma", "-mf16c"),
    "portable": (),
}  # fmt: skip
NEEDED = {"avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}, "avx2": {"avx2", "fma", "f16c"}}
COMPILE_S = 600


class NoCompiler(EngineError):
    """There is no C++ compiler, or it does not compile this."""


def kinds_here() -> list[str]:
    """The kinds of kernel that this processor can run, best first."""
    has = _flags()
    return [kind for kind in KINDS if NEEDED.get(kind, set()) <= has]


def kernels(kind: str) -> ctypes.CDLL:
    """The kernels for processors of `kind`, compiled if they are not in the cache.

    raises: NoCompiler; EngineError when this processor cannot run them.
    """
    if kind not in kinds_here():
        raise EngineError(f"this processor has no {kind}; it has {', '.join(kinds_here())}", "config")
    return ctypes.CDLL(str(_compiled(kind)))


def _compiled(kind: str) -> Path:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)
    if compiler is None:
        raise NoCompiler("there is no C++ compiler (g++, clang++ or what CXX names)", "compiler")
    command = [*compiler.split(), *COMMON, *KINDS[kind], str(SOURCES / "step.cpp")]
    out = cache_dir() / "kernels" / f"{kind}-{_digest(command)}.so"
    if not out.exists():
        _compile(command, out)
    return out


def _compile(command: list[str], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".part-{os.getpid()}-{out.name}")
    try:
        subprocess.run([*command, "-o", str(part)], check=True, capture_output=True, text=True, timeout=COMPILE_S)
    except FileNotFoundError as err:
        raise NoCompiler(f"the C++ compiler {command[0]} is not there", "compiler") from err
    except subprocess.CalledProcessError as err:
        last = next((line for line in err.stderr.splitlines() if "error" in line), err.stderr.strip()[-200:])
        raise NoCompiler(f"{command[0]} does not compile the kernels: {last}", "compiler") from err
    except subprocess.TimeoutExpired as err:
        raise NoCompiler(f"{command[0]} takes more than {COMPILE_S} s", "compiler") from err
    os.replace(part, out)  # in one stroke: another process never meets half of it


def _digest(command: list[str]) -> str:
    """Names the sources, the flags and the compiler, so that a change of any makes another file."""
    hashed = hashlib.sha256(" ".join(command).encode())
    hashed.update(_version(command[0]))
    for file in sorted(SOURCES.iterdir()):
        if file.suffix in (".h", ".cpp"):
            hashed.update(file.read_bytes())
    return hashed.hexdigest()[:16]


@lru_cache
def _version(compiler: str) -> bytes:
    try:
        return subprocess.run([compiler, "--version"], capture_output=True, timeout=60, check=False).stdout
    except OSError:
        return b""


@lru_cache
def _flags() -> frozenset[str]:
    """What this processor can do, as Linux names it."""
    file = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not file.exists():
        return frozenset()
    lines = [line for line in file.read_text().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()
