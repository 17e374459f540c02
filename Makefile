# One command a line; `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More than the two cores that the suite is made for: some tests wait for processes, not for the processor. Three take 4 % longer, measured.
PYTEST_WORKERS ?= 4
# Where it is set, each of the many processes of a run would compile all modules anew, some seconds each time.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help install lock run test browser chaos-jobs monitoring-check check audit format bench bench-advice bench-jobs bench-monitor up clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  \033[36mmake %-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Serve the API with a PostgreSQL and a Valkey of its own (PORT=8000 HOST=127.0.0.1)
	@exec $(BIN)/python -m app.dev --under-make

test: $(VENV)/.installed ## Run the tests on servers of their own (PYTEST_WORKERS=4, ARGS=...)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal $(ARGS)

browser: $(VENV)/.installed ## Open every page in a real Chromium; screenshots go to tests/browser/artifacts (CHROMIUM=path, ARGS=...)
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { echo 'There is no chromium: apt-get install chromium, or set CHROMIUM to its path' >&2; exit 1; }
	@$(BIN)/python -m pytest --browser tests/browser $(ARGS)

chaos-jobs: $(VENV)/.installed ## 2,000 jobs while workers are killed 50 times and Valkey twice; some minutes
	@CHAOS_SIZE=full $(BIN)/python -m pytest -n 0 -rP tests/chaos/test_jobs.py

check: $(VENV)/.installed ## Lint, format, types, import contracts, lock freshness
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lock-is-fresh

audit: $(VENV)/.installed ## Ask for known vulnerabilities of the locked packages (needs an index that knows advisories)
	@$(BIN)/uv tool run --quiet pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock

format: $(VENV)/.installed ## Format and sort what can be done without thought
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

monitoring-check: ## Check the alert rules and run their tests (needs promtool)
	@command -v promtool >/dev/null || { echo 'promtool is not installed: apt-get install prometheus, or prometheus.io/download' >&2; exit 1; }
	@cd docs/monitoring && promtool check rules alerts.yml && promtool test rules alerts_test.yml

bench: $(VENV)/.installed ## Measure, as ratios within one run
	@$(BIN)/python -m bench.gate
	@$(BIN)/python -m bench.valkey_client
	@$(BIN)/python -m bench.data

bench-monitor: $(VENV)/.installed ## Time the monitor on large tables, and what a dashboard does to other answers (ARGS=--rounds 5)
	@$(BIN)/python -m bench.monitor $(ARGS)

bench-jobs: $(VENV)/.installed ## Measure jobs: the broker and a worker against a bare loop, and probes beside busy processes
	@$(BIN)/python -m bench.jobs
	@$(BIN)/python -m bench.job_worker
	@$(BIN)/python -m bench.live

bench-advice: $(VENV)/.installed ## Score the index advice on statements with verified answers (ARGS=--verify, --hypopg, ...)
	@$(BIN)/python -m bench.advice $(ARGS)

up: ## Start everything in containers
	@docker compose --project-name gatehouse up --build

install: $(VENV)/.installed ## Make .venv and install the locked dependencies

clean: ## Remove caches; keeps .venv and the data in .local
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find app tests alembic bench -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Gatehouse needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: requirements-dev.lock | $(BIN)/uv
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements-dev.lock
	@touch $@

LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: | $(BIN)/uv ## Rewrite the lock files from pyproject.toml
	@$(BIN)/uv $(LOCK) pyproject.toml -o requirements.lock
	@$(BIN)/uv $(LOCK) pyproject.toml --group dev -o requirements-dev.lock

# The present lock is uv's preference, so only a changed pyproject.toml, not a new release, makes a difference.
.PHONY: lock-is-fresh
lock-is-fresh: $(VENV)/.installed
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && cp requirements.lock requirements-dev.lock "$$fresh" \
	&& $(BIN)/uv $(LOCK) pyproject.toml -o "$$fresh/requirements.lock" \
	&& $(BIN)/uv $(LOCK) pyproject.toml --group dev -o "$$fresh/requirements-dev.lock" \
	&& { cmp -s requirements.lock "$$fresh/requirements.lock" && cmp -s requirements-dev.lock "$$fresh/requirements-dev.lock" \
	|| { echo 'The lock files do not match pyproject.toml; run "make lock"' >&2; exit 1; }; }
