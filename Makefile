# The first four targets are what most people want: demo, test, check, install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where torch comes from; set TORCH_FLAGS="--index-url ..." for a CPU build on a machine without a GPU.
TORCH := torch==2.13.*
TORCH_FLAGS ?=
WORKERS ?= 2

# What the base installation is tested with: no torch, no hls4ml, no programs of others.
BASE_VENV ?= .venv-base
BASE_TESTS := $(addprefix tests/test_,$(addsuffix .py,accelerator bounds command_line designs devices energy engine \
	fifos files fixed floors folding golden knapsack lanes line_sensor memory mixed_bits network oracle_engine pareto \
	pipeline pipeline_oracle pipeline_properties planner reference resources screening sensor storage student timeline))

.PHONY: demo test check install test-all test-base coverage mutants bench format site clean lock audit fuzz

demo: install
	$(BIN)/pacemaker codesign digits --out runs/digits --workers $(WORKERS)

install: $(VENV)/.installed

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --durations=5

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --durations=20

test-base:
	$(PYTHON) -m venv $(BASE_VENV)
	rm -rf build/lib
	$(BASE_VENV)/bin/pip install --quiet . hypothesis pytest
	$(BASE_VENV)/bin/pytest -m "not slow" $(BASE_TESTS)

# TESTS="tests/test_fixed.py tests/test_files.py" measures a part. Two tests that limit the size of files fail here, for
# coverage writes a file too; figures are made all the same.
TESTS ?=
coverage: $(VENV)/.installed-dev
	mkdir -p build/coverage
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -m "not slow" -n $(WORKERS) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

mutants: $(VENV)/.installed-dev
	$(BIN)/python tests/mutants.py

bench: $(VENV)/.installed-dev
	$(BIN)/python tests/bench/bench.py

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py
	$(BIN)/mkdocs build --strict --quiet

site: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH_FLAGS) "$(TORCH)"
	touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	$(BIN)/pip install --quiet -e ".[distill,hls,figures]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

# What the development environment holds, to the version; torch's own CPU builds are named by their plain version.
lock: $(VENV)/.installed-dev
	$(BIN)/python tests/lock.py > requirements-dev.lock.new
	mv requirements-dev.lock.new requirements-dev.lock

# Known faults of what is locked, by pip-audit from PyPI's advisories: it needs a network, and without one it fails.
audit: $(VENV)/.installed-dev
	$(BIN)/python tests/audit.py

fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz.py all --count 100000

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
