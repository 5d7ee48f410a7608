# Two commands do everything on a fresh machine: `make run` and `make test`.
# Each makes its own environment first; a second call finds it and starts in seconds.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test check format train evaluate promote rollback smoke faults bench lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements/all.txt requirements/no-deps.txt requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("Pointsman needs Python 3.11 or newer; this is %d.%d (set PYTHON=...)" % v[:2] if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/all.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/no-deps.txt
	@touch $@

install: $(STAMP) ## Make the environment (run and test do it by themselves)

run: $(STAMP) ## Start classifier, local model and gateway; ask at http://127.0.0.1:8080
	@exec $(BIN)/python -m deploy.up

test: $(STAMP) ## Run all tests, on real parts
	$(BIN)/python -m pytest

check: $(STAMP) ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(STAMP) ## Train the classifier; writes models/
	$(BIN)/python -m classifier.train

evaluate: $(STAMP) ## Score the trained classifier on held-out prompts
	$(BIN)/python -m classifier.evaluate

CANDIDATE ?= var/candidate

promote: $(STAMP) ## Check a candidate's gates and swap it in (CANDIDATE=var/candidate, FORCE="reason")
	$(BIN)/python -m classifier promote $(CANDIDATE) $(if $(FORCE),--force "$(FORCE)")

rollback: $(STAMP) ## Go back to the artefact before the last promotion
	$(BIN)/python -m classifier rollback

smoke: $(STAMP) ## Ask the running gateway and show each chunk as it comes
	$(BIN)/python test_streaming.py

faults: $(STAMP) ## Play every upstream fault at three doors; writes docs/faults.md
	$(BIN)/python -m tests.faults

bench: $(STAMP) ## CPU, latency and memory beside a bare proxy and nginx; writes bench/README.md
	$(BIN)/python -m bench

lock: $(STAMP) ## Resolve the dependencies again and write requirements/
	$(UV) $(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(UV) $(COMPILE) --no-deps requirements/no-deps.in -o requirements/no-deps.txt
	$(UV) $(COMPILE) --extra local --extra postgres --extra otel --extra train --extra dev --extra clients pyproject.toml -o requirements/all.txt
	$(UV) $(COMPILE) --extra local --extra postgres --extra otel pyproject.toml -c requirements/all.txt -o requirements/run.txt
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

clean: ## Remove the environment and what the service wrote
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
