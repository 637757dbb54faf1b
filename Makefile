# Everything that one does with this project. A bare machine needs Python 3.11 or later, make and a network.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin

# arm64 is cheaper and what the template has by default.
ARCHITECTURE ?= arm64
# Which part of samconfig.toml: default, staging or prod.
ENV ?= default

# The package is not installed: it is found where it lies, as Lambda finds it in its layer.
export PYTHONPATH := $(CURDIR)/layers/checkout_recovery:$(CURDIR)
# The Python at hand is the one that is used; only a layer build may ask for another.
export UV_PYTHON_DOWNLOADS ?= never
export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- environments

.PHONY: setup
setup: .venv/.ready .venv-cloud/.ready ## Make the two environments from uv.lock

# uv comes from a small environment of its own; where Python cannot make one, a uv on PATH serves as well.
.tools/bin/uv:
	@if $(PYTHON) -m venv .tools >/dev/null 2>&1; then \
	  .tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	elif command -v uv >/dev/null; then \
	  mkdir -p .tools/bin && ln -sf "$$(command -v uv)" .tools/bin/uv; \
	else \
	  echo "make setup: $(PYTHON) cannot make an environment (on Debian: apt-get install python3-venv)," \
	       "and there is no uv on PATH." >&2; exit 1; \
	fi

.venv/.ready: uv.lock pyproject.toml | .tools/bin/uv
	UV_PROJECT_ENVIRONMENT=.venv .tools/bin/uv sync --quiet --frozen --python $(PYTHON)
	@touch $@

.venv-cloud/.ready: uv.lock pyproject.toml | .tools/bin/uv
	UV_PROJECT_ENVIRONMENT=.venv-cloud .tools/bin/uv sync --quiet --frozen --only-group cloud --python $(PYTHON)
	@touch $@

# ---------------------------------------------------------------- on this machine

.PHONY: local
local: setup ## Run the whole stack on this machine until Ctrl-C (ARGS="--port 4567")
	@exec $(BIN)/python -m local.cloud $(ARGS)

.PHONY: demo
demo: setup ## The same, and send every documented payload through it to a receiver that verifies
	@exec $(BIN)/python -m local.demo $(ARGS)

.PHONY: load
load: setup ## Snapshots to many receivers of which some fail: what is lost, late or doubled (ARGS="--seconds 60")
	@exec $(BIN)/python -m local.load $(ARGS)

.PHONY: simulate
simulate: setup ## A store's day with 20,000 shoppers through the real code, judged (ARGS="--shoppers 2000 --seed 7")
	@python -m local.simulation $(ARGS)

.PHONY: dashboard
dashboard: setup ## Some minutes of trouble on this machine, and docs/dashboard.png of what was measured
	@python -m local.dashboard $(ARGS)

# ---------------------------------------------------------------- checks

.PHONY: test
test: setup ## Everything that CI checks
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory typecheck
	@$(MAKE) --no-print-directory validate
	pytest --numprocesses auto --ignore tests/local_cloud
	pytest tests/local_cloud

.PHONY: unit
unit: setup ## The tests that need no local cloud
	@pytest --numprocesses auto --ignore tests/local_cloud $(ARGS)

.PHONY: lint
lint: setup ## ruff, rules and format
	ruff check
	ruff format --check

.PHONY: format
format: setup ## Let ruff correct what it can
	ruff check --fix
	ruff format

.PHONY: typecheck
typecheck: setup ## mypy, strict
	mypy

.PHONY: validate
validate: setup ## cfn-lint and sam validate
	cfn-lint template.yaml
	sam validate --lint --region ap-south-1

.PHONY: openapi
openapi: setup ## Write docs/openapi.json from the code
	$(BIN)/python -m local.openapi

.PHONY: events
events: setup ## Write the fixtures of events/ that code makes
	$(BIN)/python -m local.fixtures
	$(BIN)/python -m local.stream_fixtures
	$(BIN)/python -m local.sweep_fixtures
	$(BIN)/python -m local.retry_fixtures
	$(BIN)/python -m local.retake_fixtures

.PHONY: receiver
receiver: setup ## A receiver that verifies what reaches it (ARGS="--port 8099 --key /hook=whsec_...")
	@python -m local.receiver $(ARGS)

.PHONY: bench
bench: setup ## What the code costs beside the least that it could, in ten minutes: docs/performance.md
	@python -m bench $(ARGS)

.PHONY: scale
scale: setup ## What checkouts cost at every volume: docs/scale.md (needs Java and npm, or ARGS=--calculate)
	@python -m bench.scale $(ARGS)

.PHONY: cost
cost: setup ## What a million events cost on AWS, service by service: docs/cost.md (ARGS=--measure measures anew)
	@python -m bench.cost $(ARGS)

# ---------------------------------------------------------------- AWS

.PHONY: build
build: setup ## Build the layers for AWS (ARCHITECTURE=arm64 or x86_64)
	@find functions -name __pycache__ -prune -exec rm -rf {} + # or it would be packed with the function
	LAYER_PLATFORM=$(PLATFORM_$(ARCHITECTURE)) sam build --config-env $(ENV)

PLATFORM_arm64 := aarch64-manylinux_2_28
PLATFORM_x86_64 := x86_64-manylinux_2_28

.PHONY: deploy
deploy: build ## Build, and deploy to your AWS account (ENV=default, staging or prod)
	@overrides=$$(python -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["$(ENV)"]["deploy"]["parameters"]["parameter_overrides"])' < samconfig.toml); \
	set -x; sam deploy --config-env $(ENV) --parameter-overrides $$overrides Architecture=$(ARCHITECTURE)

.PHONY: admin-token
admin-token: setup ## Make the deployed stack's admin token, and show it once (ENV=...)
	@$(BIN)/python -m local.admin_token $(ENV)

.PHONY: clean
clean: ## Remove all that was made, environments too
	rm -rf .venv .venv-cloud .tools .aws-sam .local .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
