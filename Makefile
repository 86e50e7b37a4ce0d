# make up starts the product with a demo. make test runs all tests on their own servers.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header --quiet
TYPED := execfabric orchestration approvals audit
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some container images set it. Each process then compiles every module: 2 seconds more.
unexport PYTHONDONTWRITEBYTECODE

# Packages are installed again only if the requirements have changed.
sum = $(firstword $(shell cksum < $(1)))
RUNTIME := $(VENV)/.stamp-runtime-$(call sum,requirements.txt)
DEVELOPMENT := $(VENV)/.stamp-development-$(call sum,requirements-dev.txt)
complete = [ -e $(1) ] && [ ! -e $(VENV)/.unfinished ] && [ -x $(BIN)/python ]
install = { command -v $(PYTHON) >/dev/null || \
  { echo "Cannot find $(PYTHON). Install Python 3.11 or newer, or set PYTHON."; exit 1; }; \
  $(PYTHON) .ci/environment.py $(VENV) --requirements $(1) --project . $(2); }

.PHONY: help up down status test screenshots lint types imports migrations check fmt promises \
  sample bench chaos failures mutants random schemathesis lock clean environment development tools

help: ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

up: environment ## start everything and print the URL (PORT=..., DEMO=false)
	@$(if $(DEMO),EXECFABRIC_DEMO=$(DEMO)) $(BIN)/python -m execfabric.local up

down: ## stop everything
	@if [ -e $(VENV)/.unfinished ]; then $(MAKE) --no-print-directory environment || true; fi
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m execfabric.local down; \
	else echo "Nothing is running."; fi

status: environment ## show what is running
	@$(BIN)/python -m execfabric.local status

# Six on two cores: the tests wait for other processes most of the time.
test: development tools ## run all tests (PYTEST_ARGS=...)
	@EXECFABRIC_CHROMIUM="$$(.ci/tools chromium)" $(BIN)/python -m pytest -n 6 --dist loadfile \
	  --no-loadscope-reorder --timeout 900 $(PYTEST_ARGS)

screenshots: development tools ## update the screenshots of the README
	@EXECFABRIC_SCREENSHOTS=1 EXECFABRIC_CHROMIUM="$$(.ci/tools chromium)" \
	  $(BIN)/python -m pytest -q tests/browser/test_demo_plans.py tests/browser/test_screens.py

lint: development ## run ruff and djlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint --lint templates

types: development ## run mypy in strict mode
	$(BIN)/mypy $(TYPED)

imports: development ## check the import rules
	$(BIN)/lint-imports

migrations: development ## check for missing migrations
	$(BIN)/python manage.py makemigrations --check --dry-run

check: lint types imports migrations ## run all checks but the tests

fmt: development ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sample: development ## print random texts of the product to review (SEED=...)
	@$(BIN)/python -m tests.reading $(if $(SEED),--seed $(SEED))

schemathesis: development ## test the API against its schema (EXAMPLES=200, ROLES=...)
	@EXECFABRIC_SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),200) \
	  $(if $(ROLES),EXECFABRIC_SCHEMATHESIS_ROLES=$(ROLES)) \
	  $(BIN)/python -m pytest -q tests/integration/test_api_document.py

random: development ## run random plans (PLANS=10000 without, RUNS=100 with a database)
	@EXECFABRIC_RANDOM_PLANS=$(or $(PLANS),10000) EXECFABRIC_RANDOM_RUNS=$(or $(RUNS),100) \
	  $(BIN)/python -m pytest -q --timeout 0 tests/unit/test_random_plans.py \
	  tests/integration/test_random_runs.py

failures: development ## write docs/failures.md from its tests
	@EXECFABRIC_WRITE_FAILURES=1 $(BIN)/python -m pytest -q tests/integration/test_failure_matrix.py

promises: development ## list the promises that the last test run proved
	@$(BIN)/python -m tests.promises

bench: development ## run the benchmark
	@$(BIN)/python -m tests.bench

chaos: development ## run the long chaos test
	@$(BIN)/python -m tests.chaos
	@EXECFABRIC_TRIALS=1000 $(BIN)/python -m pytest -q tests/integration/test_stop_trials.py \
	  tests/integration/test_retry_trials.py

mutants: development ## remove guards one by one, and run their tests (ONLY="NAME ...")
	@$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY))

lock: ## compile the requirements with hashes (needs uv)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt

clean: down ## remove build files and the environment, not the data
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

environment:
	@$(call complete,$(RUNTIME)) || $(call install,requirements.txt,--stamp $(RUNTIME))

# requirements-dev.txt includes requirements.txt.
development:
	@$(call complete,$(DEVELOPMENT)) || \
	  $(call install,requirements-dev.txt,--stamp $(DEVELOPMENT) --stamp $(RUNTIME))

tools: development
	@.ci/tools chromium >/dev/null
	@.ci/tools bubblewrap
