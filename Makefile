# One command a line; `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help install lock check test clean

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Gatehouse needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: requirements-dev.lock | $(BIN)/uv
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## Make .venv and install the locked dependencies

LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: | $(BIN)/uv ## Rewrite the lock files from pyproject.toml
	@$(BIN)/uv $(LOCK) pyproject.toml -o requirements.lock
	@$(BIN)/uv $(LOCK) pyproject.toml --group dev -o requirements-dev.lock

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  \033[36mmake %-9s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
