# `make demo` and `make test` do all their own set-up; offline once .venv is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BARE := $(VENV)/.bare  # without extras; not needed where the rest is installed
MAKEFLAGS += --jobs=2  # the linters run beside the tests
APT := apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20
GET_CHROMIUM := $(APT) update && $(APT) install -y --no-install-recommends chromium

.PHONY: demo test unit test-all unit-all test-web test-load lint docs schema clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

$(BARE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $(BARE)

demo: $(if $(wildcard $(STAMP)),$(STAMP),$(BARE))  ## restore a built-in sample, as a photo and as a clip with sound
	$(BIN)/likeness demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint unit  ## lint, type-check and test

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: lint unit-all  ## the slow tests too

unit-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow'

docs: $(STAMP)  ## build the documentation into site/, offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

schema: $(STAMP)  ## the report's JSON schema, from its types
	$(BIN)/python -m likeness.tasks.report_schema > docs/report.schema.json

test-web: $(STAMP)  ## the page in Chromium, which is installed where it is missing and that is possible
	@command -v chromium >/dev/null || timeout 300 sh -c '$(GET_CHROMIUM)' >/dev/null 2>&1 || true
	@if command -v chromium >/dev/null; then \
		$(BIN)/python -m pytest -m slow tests/web/browser; \
	else \
		echo "The browser tests did not run: there is no Chromium, and apt-get could not install it."; \
	fi

test-load: $(STAMP)  ## a server under load, killed and without room; writes experiments/load
	$(BIN)/python experiments/load/server_load.py
	$(BIN)/python experiments/load/server_photo.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
