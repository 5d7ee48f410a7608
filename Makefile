# Two commands do everything on a fresh machine: `make run` and `make test`.
# Each makes its own environment first; a second call finds it and starts in seconds.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/.installed
OTHERS := $(addprefix $(VENV)/,before langchain langchain-before)
CLIENTS := tests/clients/js
needs   = @command -v $(1) >/dev/null || { echo "There is no $(1) here: $(2)."; exit 1; }

# Who names a Python gets that one, or hears why not.
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(STAMP)),)
MADE := $(shell $(BIN)/python $(VERSION))
ifneq ($(MADE),$(shell $(PYTHON) $(VERSION)))
$(error The environment in $(VENV) is of Python $(MADE), not of $(PYTHON): rm -rf $(VENV), and ask again)
endif
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install run test check format train evaluate promote rollback smoke faults soak bench lock \
	clean web page test-web test-clients test-cluster screenshots data label prices bench-peers \
	bench-workers audit ollama kubeconform up down rehearse rehearse-chart dashboards sbom

help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): requirements/all.txt requirements/no-deps.txt requirements/bootstrap.txt
	@command -v $(PYTHON) >/dev/null || { echo "Pointsman needs Python 3.11 or newer; there is no $(PYTHON) here (set PYTHON=...)"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("Pointsman needs Python 3.11 or newer; this is %d.%d (set PYTHON=...)" % v[:2] if v < (3, 11) else 0)'
	@echo "Making the environment in $(VENV), this once ..."
	@$(PYTHON) -m venv $(VENV)
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt \
	&& $(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/all.txt \
	&& $(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/no-deps.txt; } \
	|| { echo "The packages could not be had. They come from PyPI, or from the index that PIP_INDEX_URL and UV_DEFAULT_INDEX name (UnknownIssuer: set UV_SYSTEM_CERTS=1). What was fetched is kept; ask again."; exit 1; }
	@touch $@

install: $(STAMP) ## Make the environment (run and test do it by themselves)

run: $(STAMP) page ## Start classifier, local model and gateway; ask at http://127.0.0.1:8080
	@exec $(BIN)/python -m deploy.up

# Some clients leave a socket to the collector at their end, which is not for us to mend.
test: $(STAMP) page $(OTHERS) ## Run all tests, on real parts
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile
	PYTHONPATH=$(VENV)/before $(CLIENTS_OF) --dist loadfile tests/doors/test_sdk_openai.py tests/doors/test_sdk_responses.py tests/doors/test_sdk_anthropic.py tests/doors/test_sdk_gemini.py tests/doors/test_sdk_ollama.py tests/doors/test_error_classes.py tests/doors/test_bad_input_classes.py
	PYTHONPATH=$(VENV)/langchain $(CLIENTS_OF) tests/clients/check_langchain.py
	PYTHONPATH=$(VENV)/langchain-before $(CLIENTS_OF) tests/clients/check_langchain.py
# Most tests wait for their parts more than they compute: several files at a time.
TESTERS    ?= 3
CLIENTS_OF := $(BIN)/python -m pytest -n $(TESTERS) -q -p no:cacheprovider -p no:unraisableexception

# The vendors' Python clients as they were one major version ago, and LangChain's four twice: what
# differs from the environment, in a folder that stands before it.
$(OTHERS): $(VENV)/%: requirements/%.txt | $(STAMP)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps --target $@.new -r $<
	@rm -rf $@ && mv $@.new $@ && touch $@

web: web/dist/index.html ## Build the page
	@:

web/node_modules/.package-lock.json: web/package-lock.json
	$(call needs,npm,the page needs Node.js 20 or newer)
	cd web && npm ci --silent --no-fund --no-audit
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public web/build web/index.html web/vite.config.ts web/tsconfig.json -type f 2>/dev/null)
	$(call needs,npm,the page needs Node.js 20 or newer)
	cd web && npm run --silent build -- --logLevel warn
	@touch $@

# The gateway runs without the page, so a machine without npm loses only that.
page:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web || echo "the page was not built; the gateway runs without it"; else echo "no npm here: the gateway runs without its page"; fi

test-web: web/node_modules/.package-lock.json ## Test the page's parts; its pages in a browser are part of make test
	$(call needs,npm,the page needs Node.js 20 or newer)
	cd web && npm run --silent check && npm test --silent

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	$(call needs,npm,these clients need Node.js 20 or newer)
	cd $(CLIENTS) && npm ci --silent --ignore-scripts --no-fund --no-audit
	@touch $@

test-clients: $(STAMP) $(CLIENTS)/node_modules/.package-lock.json ## Test the doors with the vendors' JavaScript clients
	$(BIN)/python -m pytest -n $(TESTERS) $(CLIENTS)/check_js.py

test-cluster: $(STAMP) ## Test several gateways over one Redis and one PostgreSQL, and what is killed under them
	$(BIN)/python -m pytest tests/cluster

screenshots: $(STAMP) web ## Make the README's pictures from the running system
	$(BIN)/python -m tests.web.screenshots

check: $(STAMP) ## Lint, types, import rules; known faults of dependencies, where they can be asked for
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.audit --where-it-can

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Own labels and feedback: make train DATA=labels.jsonl FEEDBACK=var/feedback.jsonl
train: $(STAMP) ## Train the classifier (DATA=file and FEEDBACK=file train on your own labels)
	$(BIN)/python -m classifier.train $(foreach file,$(DATA),--labels $(file)) $(foreach file,$(FEEDBACK),--feedback $(file))

label: $(STAMP) ## Label kept prompts for training (FROM=, JUDGE=, OUT=var/labels.jsonl)
	$(BIN)/python -m gateway feedback label --out $(or $(OUT),var/labels.jsonl) $(if $(FROM),--from $(FROM)) $(if $(JUDGE),--judge $(JUDGE))

data: $(STAMP) ## Rebuild the table of public labels that training starts from
	$(BIN)/python -m classifier.data

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

bench-peers: $(STAMP) ## Measure beside LiteLLM, Portkey and TensorZero; writes bench/README.md
	$(BIN)/python -m bench.peers

bench-workers: $(STAMP) ## What two workers bring over one
	$(BIN)/python -m bench.workers --publish

up: $(STAMP) ## Docker Compose: PROFILE=small or full
	$(call needs,docker,this is for Docker with Compose)
	$(BIN)/python -m deploy.secrets
	docker compose --profile $(or $(PROFILE),small) up --build --detach

down: ## Stop what `make up` started
	$(call needs,docker,so nothing of it runs)
	docker compose --profile small --profile full --profile ollama down

rehearse: $(STAMP) ## Build a set with Docker (PROFILE=full), ask it, look at its rights, kill its parts
	$(BIN)/python -m deploy.rehearse $(if $(filter full,$(PROFILE)),--full) $(if $(STANDINS),--stand-ins)

rehearse-chart: $(STAMP) ## The Helm chart on the cluster that kubectl means: ask it, upgrade it under streams, end its parts
	$(BIN)/python -m deploy.rehearse_chart

dashboards: $(STAMP) ## Write the Grafana dashboards from deploy/dashboards.py
	$(BIN)/python -m deploy.dashboards

sbom: $(STAMP) ## What is installed, as CycloneDX, on standard output
	@$(BIN)/python deploy/sbom.py pointsman 0.1.0

ollama: $(STAMP) ## Find an Ollama, build one with Go, or say why there is none
	$(BIN)/python -m deploy.with_go ollama

kubeconform: $(STAMP) ## Find a kubeconform for the chart's tests, or build one with Go
	$(BIN)/python -m deploy.with_go kubeconform

prices: $(STAMP) ## A new dated price table from FROM=file or address
	@test -n "$(FROM)" || { echo "Say from where: make prices FROM=file-or-address"; exit 1; }
	$(BIN)/python -m gateway.ledger.prices refresh --from $(FROM)

audit: $(STAMP) ## Look for known faults in the locked dependencies; fails where it cannot
	$(BIN)/python -m deploy.audit

soak: $(STAMP) ## A million requests at mixed faults (N=...); writes docs/faults.md
	$(BIN)/python -m tests.soak $(N)

bench: $(STAMP) ## CPU, latency and memory beside a bare proxy and nginx; writes bench/README.md
	$(BIN)/python -m bench

lock: $(STAMP) ## Resolve the dependencies again and write requirements/
	$(UV) $(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(UV) $(COMPILE) --no-deps requirements/no-deps.in -o requirements/no-deps.txt
	for name in $(notdir $(OTHERS)); do $(UV) $(COMPILE) --no-deps requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	$(UV) $(COMPILE) --extra local --extra postgres --extra otel --extra train --extra dev --extra clients pyproject.toml -o requirements/all.txt
	$(UV) $(COMPILE) --extra local --extra postgres --extra otel pyproject.toml -c requirements/all.txt -o requirements/run.txt
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

clean: ## Remove the environment and what the service wrote
	rm -rf $(VENV) var web/node_modules web/dist $(CLIENTS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
