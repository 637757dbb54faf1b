# Everything that one does with this project. A bare machine needs Python 3.11 or later, make and a network.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin

# The package is not installed: it is found where it lies, as Lambda finds it in its layer.
export PYTHONPATH := $(CURDIR)/layers/checkout_recovery:$(CURDIR)
# The Python at hand is the one that is used; only a layer build may ask for another.
export UV_PYTHON_DOWNLOADS ?= never
export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
