# make up: everything, with a demo. make test: everything, on servers of its own.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header --quiet
TYPED := execfabric orchestration approvals audit
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Packages are installed anew only when the list of them has changed.
sum = $(firstword $(shell cksum < $(1)))
RUNTIME := $(VENV)/.stamp-runtime-$(call sum,requirements.txt)
DEVELOPMENT := $(VENV)/.stamp-development-$(call sum,requirements-dev.txt)
complete = [ -e $(1) ] && [ ! -e $(VENV)/.unfinished ] && [ -x $(BIN)/python ]
install = { command -v $(PYTHON) >/dev/null || \
  { echo "Python is missing: install Python 3.11 or newer (PYTHON=... names it)."; exit 1; }; \
  $(PYTHON) .ci/environment.py $(VENV) --requirements $(1) --project . $(2); }

.PHONY: help up down status test screenshots lint types imports migrations check fmt promises \
  sample bench chaos schemathesis lock clean environment development tools

help: ## show this
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

up: environment ## start everything and print where it is (PORT=..., DEMO=false)
	@$(if $(DEMO),EXECFABRIC_DEMO=$(DEMO)) $(BIN)/python -m execfabric.local up

down: ## stop everything
	@if [ -e $(VENV)/.unfinished ]; then $(MAKE) --no-print-directory environment || true; fi
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m execfabric.local down; \
	else echo "Nothing is running."; fi

status: environment ## say what runs
	@$(BIN)/python -m execfabric.local status

test: development tools ## run all tests (PYTEST_ARGS=...)
	@EXECFABRIC_CHROMIUM="$$(.ci/tools chromium)" $(BIN)/python -m pytest -n 2 --dist loadfile \
	  --no-loadscope-reorder $(PYTEST_ARGS)

screenshots: development tools ## take the pictures of the README anew
	@EXECFABRIC_SCREENSHOTS=1 EXECFABRIC_CHROMIUM="$$(.ci/tools chromium)" \
	  $(BIN)/python -m pytest -q tests/browser/test_demo_plans.py tests/browser/test_screens.py

lint: development ## ruff and djlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint --lint templates

types: development ## mypy, strict
	$(BIN)/mypy $(TYPED)

imports: development ## who may import whom
	$(BIN)/lint-imports

migrations: development ## no model without its migration
	$(BIN)/python manage.py makemigrations --check --dry-run

check: lint types imports migrations ## all of these

fmt: development ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sample: development ## texts of the product at random, to read them (SEED=...)
	@$(BIN)/python -m tests.reading $(if $(SEED),--seed $(SEED))

schemathesis: development ## the API against its document, long (EXAMPLES=200, ROLES=...)
	@EXECFABRIC_SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),200) \
	  $(if $(ROLES),EXECFABRIC_SCHEMATHESIS_ROLES=$(ROLES)) \
	  $(BIN)/python -m pytest -q tests/integration/test_api_document.py

promises: development ## which promises the last test run showed
	@$(BIN)/python -m tests.promises

bench: development ## the benchmark
	@$(BIN)/python -m tests.bench

chaos: development ## the long chaos test
	@$(BIN)/python -m tests.chaos

lock: ## compile the requirements with hashes (needs uv)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt

clean: down ## remove what was built; the data directory stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

environment:
	@$(call complete,$(RUNTIME)) || $(call install,requirements.txt,--stamp $(RUNTIME))

# It contains the other one.
development:
	@$(call complete,$(DEVELOPMENT)) || \
	  $(call install,requirements-dev.txt,--stamp $(DEVELOPMENT) --stamp $(RUNTIME))

tools: development
	@.ci/tools chromium >/dev/null
	@.ci/tools bubblewrap
