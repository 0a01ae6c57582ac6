# Two commands do all the set-up on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .venv-peers

.PHONY: demo test check bench bench-peers clean

demo: $(VENV)/.installed
	$(BIN)/benchrunner phase 5.2 --policy pool --instances 2

test: $(VENV)/.installed-dev
	$(BIN)/pytest -q -n 4 -m "not alone"
	$(BIN)/pytest -q -m alone

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cog --check README.md docs/cli.md

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

# What others make of the same work; their dependencies stay out of ours.
bench-peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q -r $<
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[report]'
	touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
