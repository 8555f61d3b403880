"""The house: stages meet only in records, the engine is a stranger, files and functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FREE = {"records", "units", "errors", "clock", "registry", "door", "plan", "site"}
MAY = {
    "workload": set(), "load": set(), "power": set(), "timeline": set(), "energy": {"timeline"}, "quality": set(),
    "metrics": {"timeline"}, "policy": set(), "evidence": set(), "report": set(),
    "verify": {"timeline", "energy", "quality", "metrics", "policy", "evidence"},
}  # fmt: skip
ENGINE_DOORS = {"tcabench/cli/engine.py"}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 40


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that `path` imports, `from a.b import c` as a.b.c."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("stage", sorted(MAY))
def test_stages_meet_only_in_records(stage: str) -> None:
    for path in sources(f"tcabench/{stage}"):
        stages = {name.split(".")[1] for name in imported(path) if name.startswith("tcabench.")} - {"__version__"}
        assert stages <= FREE | MAY[stage] | {stage}, f"{path} imports {stages - FREE - MAY[stage] - {stage}}"


def test_engine_and_bench_are_strangers() -> None:
    for path in sources("reference_engine"):
        assert not any(name.split(".")[0] == "tcabench" for name in imported(path)), path
    for path in sources("tcabench"):
        reaches = any(name.split(".")[0] == "reference_engine" for name in imported(path))
        assert not reaches or str(path.relative_to(ROOT)) in ENGINE_DOORS, path


@pytest.mark.parametrize("package", ["tcabench", "reference_engine"])
def test_files_and_functions_stay_small(package: str) -> None:
    for path in sources(package):
        text = path.read_text()
        assert text.count("\n") <= MAX_FILE_LINES, f"{path} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {lines} lines"


def test_no_file_is_named_for_nothing() -> None:
    names = {path.stem for package in ("tcabench", "reference_engine") for path in sources(package)}
    assert not names & {"utils", "helpers", "manager", "base", "common"}
