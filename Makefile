# make study: a first study, from nothing to charts.   make test: the tests.   Both set up what they need.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
STUDY ?= --space upsample

.PHONY: study test test-slow test-gpu bench faults lint setup
.DEFAULT_GOAL := study

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || (echo "python3 -m venv failed; on Debian: apt-get install python3-venv" && false)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

study: $(READY)
	$(VENV)/bin/python -m study.run $(STUDY)

test: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python -m pytest -m "not slow and not gpu"

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

test-gpu: $(READY)
	$(VENV)/bin/python -m pytest -m gpu

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

faults: $(READY)
	$(VENV)/bin/python benchmarks/fault_injection.py

bench: $(READY)
	for benchmark in benchmarks/*.py; do $(VENV)/bin/python $$benchmark || exit 1; done
