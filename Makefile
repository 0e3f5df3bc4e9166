# `make demo` and `make test` do all their own set-up; offline once .venv is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-web test-load lint docs schema clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## restore a built-in sample, as a photo and as a clip with sound
	$(BIN)/python infer.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## lint, type-check and test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: lint  ## the slow tests too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow'

docs: $(STAMP)  ## build the documentation into site/, offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

schema: $(STAMP)  ## the report's JSON schema, from its types
	$(BIN)/python -m likeness.tasks.report_schema > docs/report.schema.json

test-web: $(STAMP)  ## the page in a browser; installs Debian's Chromium and playwright where they are missing
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt playwright
	$(BIN)/python -m pytest -m 'slow or not slow' tests/web

test-load: $(STAMP)  ## a server under load, killed and without room; writes experiments/load
	$(BIN)/python experiments/load/server_load.py
	$(BIN)/python experiments/load/server_photo.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
