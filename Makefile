# `make demo`, `make test`, `make lint`, `make slow`, `make bench-smoke`: each makes .venv first, once.

SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

# Which Python makes .venv: the first of these that is 3.10 or newer. `make PYTHON=/path/to/python demo` chooses another.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.13 python3 python3.10 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo $$candidate; break; }; done)
# Which torch. The CPU build is far smaller:
#   make TORCH_SPEC='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu' demo
TORCH_SPEC ?= torch==2.13.0
# What pytest is given besides: make test TESTS=tests/test_cli.py
TESTS ?=
# How many processes the tests run in: as many as there are cores, at most four. `make WORKERS=0 test`: in one, with its threads.
WORKERS ?= logical

export DS_BUILD_OPS := 0
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test slow lint bench-smoke install clean check-compiler

demo: $(STAMP)
	$(PY) -m xagent.cli demo

test: check-compiler $(STAMP)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pytest -q -n $(WORKERS) --maxprocesses 4 --dist worksteal \
		-m "not slow and not gpu" --durations=10 $(TESTS)

slow: check-compiler $(STAMP)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" XAGENT_HYPOTHESIS=search $(PY) -m pytest -q -m "slow or gpu" --durations=10 $(TESTS)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Ratios of the training step to a bare PyTorch loop; fails on a wrong loss, never on time.
bench-smoke: $(STAMP)
	$(PY) benchmarks/levers.py --smoke

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "xagent needs Python 3.10 or newer, and none is on the PATH (python3 is: $$(python3 --version 2>&1 || true))."; \
		echo "Install one, for example: apt-get install python3 python3-venv; or name one: make PYTHON=/path/to/python3.11 ..."; \
		exit 1; fi
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) can't make virtual environments: its venv or ensurepip module is missing."; \
		echo "Install it, for example: apt-get install python3-venv"; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt setuptools wheel packaging
	$(PIP) install -q -c constraints.txt $(TORCH_SPEC)
	$(PIP) install -q -c constraints.txt numpy psutil py-cpuinfo ninja
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[deepspeed,dev]'
	touch $@

# DeepSpeed compiles a small library the first time it runs on several CPU processes.
check-compiler:
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { \
		echo "a C++ compiler is missing: DeepSpeed's tests on the CPU compile a small library (make demo needs none)."; \
		echo "Install one, for example: apt-get install g++"; exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
