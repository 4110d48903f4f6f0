# make demo: set up, then tune, judge and release the example.   make test: set up, then run every test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Where the pinned torch comes from: the package registry by default. For the small CPU build on Linux:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types bench bench-quick results clean

demo: $(VENV)/.demo
	$(BIN)/tunewright run examples/support-desk/recipe.yaml

test: $(VENV)/.test lint types
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.test
	$(BIN)/ruff check src tests examples benchmarks scripts

types: $(VENV)/.test
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python benchmarks/bench.py

bench-quick: $(VENV)/.test
	$(BIN)/python benchmarks/bench.py --quick

results: $(VENV)/.test
	$(BIN)/python benchmarks/results.py

# torch first and pinned: a range would bring another build of it, several gigabytes large
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --editable '.[test,bench]'
	$(PIP) --target $(VENV)/previous 'openai>=2,<3'  # the client's major version before, which tests use beside this one
	touch $@

clean:
	rm -rf $(VENV)
