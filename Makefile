# Two commands do all set-up on a fresh machine: `make demo` and `make test`. Python 3.11+ is all they assume.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint .constraints.txt

.PHONY: help demo test relu-model lint clean

help: ## what there is to make
	@awk -F':.*## ' '/^[a-z%-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=... make ...)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test]'
	@touch $@

demo: $(VENV)/installed ## install, fetch the default model, measure it, verify the report
	$(BIN)/tcabench model pull
	$(BIN)/tcabench run
	@report=$$(ls -td runs/*/report.html | head -n 1); echo "$(BIN)/tcabench verify $$report"; $(BIN)/tcabench verify $$report

test: $(VENV)/installed-test ## install the test extras and run the whole suite
	tests/needs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench-%: $(VENV)/installed-test ## measure this beside its named peer, e.g. make bench-meters
	$(BIN)/python benchmarks/$*.py

relu-model: $(VENV)/installed-test ## train a ReLU-gated model and its dense twin into FOLDER=... (see benchmarks/README.md)
	@test -n "$(FOLDER)" || { echo "where to? make relu-model FOLDER=..."; exit 2; }
	$(BIN)/python benchmarks/relu.py "$(FOLDER)"

lint: $(VENV)/installed-test ## format and check without the tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

clean: ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) .venv-bench-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
