PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help bench smoke test test-slow check train install

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bench: install  ## Compare all strategies on the shipped denoiser; minutes on two cores
	$(BIN)/python -m benchmarks.run config=default $(ARGS)

test: install  ## The whole test suite but the slow tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

check: install  ## Lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: install  ## Train the shipped denoiser anew: make train CONFIG=configs/landscapes.yaml
	$(BIN)/python -m lightning_modules fit --config $(or $(CONFIG),configs/landscapes.yaml) $(ARGS)

smoke: install  ## Does everything run? The comparison in half a minute
	$(BIN)/python -m benchmarks.run config=smoke $(ARGS)

test-slow: install  ## The slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

install: $(INSTALLED)  ## Make the virtual environment and install everything into it

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Python 3.11 or newer is needed, but $(PYTHON) is `$(PYTHON) --version`;" \
		"name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
