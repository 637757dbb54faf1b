# What both layers need: a Python of the version that will run them, since it alone can compile for itself.
# `sam build` runs a layer's Makefile in the layer's own folder (build_in_source) and gives ARTIFACTS_DIR.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
UV ?= $(or $(wildcard $(ROOT)/.tools/bin/uv),uv)
# A version, or the path of an interpreter.
LAYER_PYTHON ?= 3.13
# A platform as uv names it; empty for the one that builds.
LAYER_PLATFORM ?= aarch64-manylinux_2_28

INTERPRETER := $(shell export UV_PYTHON_DOWNLOADS=manual; \
  { $(UV) python find --no-project '$(LAYER_PYTHON)' || \
    { $(UV) python install --quiet '$(LAYER_PYTHON)' && $(UV) python find --no-project '$(LAYER_PYTHON)'; }; \
  } 2>/dev/null)

# unchecked-hash: the same sources give the same bytes, so an unchanged layer is not published again.
define compile
	@'$(INTERPRETER)' -m compileall -q -j 0 --invalidation-mode unchecked-hash -s '$(ARTIFACTS_DIR)' -p /opt '$(ARTIFACTS_DIR)/python'
endef

.PHONY: interpreter
interpreter:
	@test -n '$(INTERPRETER)' || { echo 'A layer is compiled by the Python that will run it:' \
	  '$(LAYER_PYTHON) is not on PATH, and uv could not install it. LAYER_PYTHON can name its path.' >&2; exit 1; }
