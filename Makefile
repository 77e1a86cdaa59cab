# Everything from a fresh clone: each target makes .venv and installs what it needs first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# full where the installed torch can use a GPU, else quick; asked once, when installing.
PRESET ?= $$(cat $(VENV)/.run-installed)
ARGS ?=

.PHONY: help train test check clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

train: $(VENV)/.run-installed ## faces -> masks -> training -> evaluation; ARGS="--epochs 20" adds flags
	$(BIN)/python -m masktrain.train --preset $(PRESET) --faces demo --init none $(ARGS)

test: $(VENV)/.test-installed ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

check: $(VENV)/.test-installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv (data/ and runs/ stay)
	rm -rf $(VENV)

$(VENV)/.run-installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed; make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -c 'import torch; print("full" if torch.cuda.is_available() else "quick")' >$@

$(VENV)/.test-installed: $(VENV)/.run-installed tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@
