# make study: a first study, from nothing to charts.   make test: the tests.   Both set up what they need.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
STUDY ?= --space upsample

BROWSER := chromium chromium-driver
APT := DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20

# These start Ray, each a cluster of its own: apart from the others, that none waits too long. A file runs in one process,
# so that what its tests share is made once.
STUDIES := tests/test_study_run.py tests/test_study_interrupted.py tests/test_study_own.py tests/test_examples.py

.PHONY: study test browser test-slow test-gpu bench faults lint setup
.DEFAULT_GOAL := study

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || (echo "python3 -m venv failed; on Debian: apt-get install python3-venv" && false)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

study: $(READY)
	$(VENV)/bin/python -m study.run $(STUDY)

# The report's page is tested in Debian's Chromium. Where it is not there and cannot be had, those tests skip and say so.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(BROWSER)"; \
		{ $(APT) install -y --no-install-recommends $(BROWSER) || \
		{ $(APT) update && $(APT) install -y --no-install-recommends $(BROWSER); }; } </dev/null >/dev/null 2>&1 && exit 0; \
	fi; \
	echo "no Chromium: the browser's tests will skip; as root: apt-get install --no-install-recommends $(BROWSER)"

test: $(READY) browser
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python -m pytest -m "not slow and not gpu" $(STUDIES:%=--ignore %) -n 2 --dist loadfile
	$(VENV)/bin/python -m pytest -m "not slow and not gpu" $(STUDIES) -n 2 --dist loadfile

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

test-gpu: $(READY)
	$(VENV)/bin/python -m pytest -m gpu

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

faults: $(READY)
	$(VENV)/bin/python benchmarks/fault_injection.py --out build/faults.jsonl
	$(VENV)/bin/python benchmarks/fault_injection.py --network smp_unet --out build/faults.jsonl

bench: $(READY)
	for benchmark in benchmarks/*.py; do $(VENV)/bin/python $$benchmark || exit 1; done
