"""The NVML stand-in for the tests of this folder, built once."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """A module of this folder by its file, whatever import mode pytest runs in."""
    spec = importlib.util.spec_from_file_location(f"tests_nvml_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def standin() -> ModuleType:
    return load("standin")


@pytest.fixture(scope="session")
def transcript() -> ModuleType:
    return load("transcript")


@pytest.fixture(scope="session")
def conclusions() -> ModuleType:
    return load("conclusions")


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory, standin: ModuleType) -> Path:
    return Path(standin.build(tmp_path_factory.mktemp("nvml")))


@pytest.fixture
def with_nvml(standin: ModuleType, nvml_folder: Path) -> Callable[..., Any]:
    """Runs Python code in a process of its own that finds the stand-in; gives back what it printed as JSON."""

    def run(code: str, folder: Path = nvml_folder, **scene: object) -> Any:
        environment = standin.environment(folder, **scene)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
