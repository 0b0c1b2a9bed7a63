# Every target prepares what it needs; running one again takes seconds.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Built and fetched test tools live outside the checkout, so that a fresh clone finds them again.
CACHE     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/crucible-trace-otel

# Run as they are; the others need arguments, or are a part of these.
EXAMPLES  := $(filter-out %/plot_loss.py %/softmax.py %/training_resume.py,$(wildcard examples/*.py))

.DEFAULT_GOAL := help
.PHONY: help demo examples resume plot test coverage check format bench faults soak docs collector mermaid clean

help:            ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 18

$(BIN)/python:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "crucible_trace_otel needs Python 3.10 or later; try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "== installing the package with what the demo needs (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "== installing the package with the development tools (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.demo $(VENV)/.plot

$(VENV)/.plot: pyproject.toml | $(BIN)/python
	@echo "== installing the package with what the plot needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo,plot]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo    ## run the main job: from a hypothesis to a served model, traced
	@$(BIN)/python examples/digits.py

examples: $(VENV)/.plot    ## run every example: releases, an experiment by plan, feedback, ranks, costs, ... (half a minute)
	@for script in $(EXAMPLES); do echo "== $$script"; $(BIN)/python $$script || exit; echo; done
	@echo "== examples/training_resume.py"; $(MAKE) --no-print-directory resume; echo
	@echo "== examples/plot_loss.py"; $(MAKE) --no-print-directory plot

resume: $(VENV)/.demo    ## train, be killed by SIGKILL, and go on from the checkpoint: one run, two attempts
	-@$(BIN)/python examples/training_resume.py --kill-at 120
	@$(BIN)/python examples/training_resume.py

plot: $(VENV)/.plot    ## draw the loss of the last run into demo-output/loss.png
	@mkdir -p demo-output
	@$(BIN)/python examples/plot_loss.py --output demo-output/loss.png

test: $(VENV)/.dev collector mermaid    ## run every test
	@$(BIN)/python -m pytest

coverage: $(VENV)/.dev    ## which lines the tests of this process run
	@$(BIN)/coverage run -m pytest -q --ignore=tests/backends
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --skip-covered --sort=cover

check: $(VENV)/.dev    ## lint, types, floors, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python semconv/generate.py --check

format: $(VENV)/.dev    ## format and apply safe fixes
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

faults: $(VENV)/.dev    ## what is lost in some forty misfortunes, beside the plain SDK; into docs/reliability.md (ten minutes)
	@$(BIN)/python -m benchmarks.faults

soak: $(VENV)/.dev    ## 200 kills, 1,000 forks, a run of a million steps, 10 million spans (half an hour; SOAK=0.1 for a tenth)
	@$(BIN)/python -m tests.soak

docs: $(VENV)/.dev    ## regenerate the convention's constants and reference pages
	@$(BIN)/python semconv/generate.py

bench: $(VENV)/.dev    ## what recording costs, as ratios to the plain OpenTelemetry SDK
	@$(BIN)/python benchmarks/run.py

collector:       ## build the OpenTelemetry Collector the tests use (needs Go; a sentence says so without it)
	@tests/backends/build-collector.sh "$(CACHE)"

mermaid:         ## install the Mermaid parser the tests use (needs Node; a sentence says so without it)
	@tests/renderers/install-mermaid.sh "$(CACHE)"

clean:           ## remove what the targets above made in this folder
	@rm -rf $(VENV) .crucible demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*
