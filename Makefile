PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint format docs site bench clean

# Two stages: what the demo needs, and on top of it what the tests need.
$(VENV)/.base: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all,dev,docs]'
	touch $@

demo: $(VENV)/.base     # temperature distillation on real handwriting: arms, seeds, verdicts, a page
	$(BIN)/kdrun reproduce kd

test: $(VENV)/.dev      # the fast tier
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: $(VENV)/.dev      # what CI runs once
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow --durations=25

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.base     # what is generated: pages of methods, papers and parts, and stubs
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/write_stubs.py

$(VENV)/.docs: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

site: $(VENV)/.docs     # build/site: the documents as pages that fetch nothing
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python scripts/benchmark_cli.py
	$(BIN)/python scripts/benchmark_engine.py

clean:
	rm -rf $(VENV) build dist
