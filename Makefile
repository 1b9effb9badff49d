.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV): a virtual environment with the locked packages (about a minute, once)."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Carillon needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null
	@touch $@

setup: $(READY) ## Install everything into .venv

demo: $(READY) ## Run the main job: a simulated repair shop on the embedded broker
	@$(BIN)/carillon demo $(ARGS)

# Most tests wait for a process to start rather than for a processor.
PARALLEL ?= 3
test: $(READY) ## Run the tests that need nothing but Python (PARALLEL=1: one after the other)
	$(BIN)/pytest -m "not kafka and not browser" -n $(PARALLEL) --dist loadfile $(ARGS)

test-kafka: $(READY) ## Run the tests against a real Apache Kafka broker (needs Java 17 and Maven)
	$(BIN)/pytest -m kafka $(ARGS)

test-browser: $(READY) ## Run the tests of the page in a real browser (needs Debian's chromium and chromium-driver)
	$(BIN)/pytest -m browser $(ARGS)

screenshots: $(READY) ## Take the pictures of the page for docs/ anew (needs Debian's chromium and chromium-driver)
	$(BIN)/python -m tests.browser.screenshots

coverage: $(READY) ## Check that the domain's tests reach every branch of it
	$(BIN)/pytest tests/streams/domain -n $(PARALLEL) --cov=streams.domain --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered

mutants: $(READY) ## Break the domain in many small ways and see that its tests notice (ARGS="--sample 60")
	$(BIN)/python -m tests.mutation.run $(ARGS)

SEEDS ?= 300
sim: $(READY) ## Simulate whole days with faults and crashes, by seed (SEEDS=2000; ARGS="--seed 117" tells one)
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) $(ARGS)

SIZE ?= full
bench: $(READY) ## Measure everything beside its peers, into docs/performance.md (SIZE=small; ARGS="--only order_join")
	$(BIN)/python -m tests.benchmarks --size $(SIZE) $(ARGS)

check: $(READY) ## What CI checks besides the tests: formatting, lint, types, import contracts, schemas
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas.compatibility

lock: $(READY) ## Renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock

audit: $(READY) ## Ask an advisory service for known vulnerabilities of the locked packages; needs the internet
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/pip install --quiet --disable-pip-version-check pip-audit; }
	@$(BIN)/python -m deploy.audit .audit/bin/pip-audit

clean: ## Remove what was built, not .venv
	rm -rf build dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov *.egg-info

.PHONY: help setup demo test test-kafka test-browser screenshots coverage mutants sim bench check lock audit clean
