# `make run` and `make test` set themselves up: a virtual environment from the pinned lock, nothing else on the machine.
#
#   make run                 protect a model, issue licenses, serve on localhost:8000   (PORT=8001, SIGNET_HOME=folder)
#   make test                lint, types, import rules, tests on SQLite and PostgreSQL
#   make experiments         measure everything docs/results reports                    (BUDGET=smoke|cpu)
#   make docs                renew docs/cli.md
#   make lock                renew the locks after a change of pyproject.toml
#
# Outside: `make run TORCH_INDEX=https://download.pytorch.org/whl/cpu` takes the CPU wheel of torch, without CUDA.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
BUDGET ?= smoke
SIGNET_HOME ?= ./.signet
TORCH := torch==2.13.0
TORCH_INDEX ?=
export SIGNET_HOME

.PHONY: run test lint types imports pytest experiments docs lock clean

run: $(VENV)/.run
	@$(BIN)/signet serve --demo --port $(PORT)

test: lint types imports pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

pytest: $(VENV)/.dev
	$(BIN)/pytest

experiments: $(VENV)/.dev
	$(BIN)/python -m benchmarks.thread --budget $(BUDGET)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv); none was left behind"; exit 1; }

# torch first and exactly: a looser request would bring gigabytes of CUDA libraries.
$(VENV)/.run: requirements/run.lock pyproject.toml client/pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --requirement requirements/run.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable client --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.lock
	@touch $@

docs: $(VENV)/.dev
	$(BIN)/typer service.cli.main utils docs --name signet --title "The signet command" --output docs/cli.md

lock: $(VENV)/.dev
	$(BIN)/python -m piptools compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements/run.lock requirements/run.in
	sed -i 's/^torch==2.13.0+.*/torch==2.13.0/' requirements/run.lock
	$(BIN)/python -m piptools compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements/dev.lock requirements/dev.in

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
