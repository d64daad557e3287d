PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint format bench clean

# Two stages: what the demo needs, and on top of it what the tests need.
$(VENV)/.base: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	touch $@

demo: $(VENV)/.base     # temperature distillation on real handwriting: arms, seeds, verdicts, a page
	$(BIN)/kdrun reproduce kd

test: $(VENV)/.dev      # the fast tier
	$(BIN)/python -m pytest -n 2

slow: $(VENV)/.dev      # what CI runs once
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python scripts/benchmark_cli.py
	$(BIN)/python scripts/benchmark_engine.py

clean:
	rm -rf $(VENV) build dist
