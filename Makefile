# `make study` and `make test` set everything up by themselves, inside this folder.
.DEFAULT_GOAL := help
.PHONY: help study test test-slow test-faults test-peers lint style types audit ui report screenshots benchmark-report \
	benchmark-forecasts benchmark-scaling benchmark-memory benchmark-peers benchmark-recipes benchmark-study \
	benchmark-accelerator lock clean
SHELL := /bin/bash

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV := $(shell command -v uv || echo .tools/bin/uv)
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv-peers/.installed
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export UV_SYSTEM_CERTS := true

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

study: $(INSTALLED) ## Run the flagship study, VAE against Glow on the bundled digits, to its report
	$(BIN)/reparam-bench study vae_vs_glow

test: $(INSTALLED) ## Run the linters, the audit and the tests, on TensorFlow and on JAX
	@$(MAKE) --no-print-directory -j2 types style audit
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m 'not slow and not faults' -n 2 --dist loadfile --no-loadscope-reorder
	@# Compiling is most of that part: without optimisations it takes about half of the time, and the same tests hold.
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 KERAS_BACKEND=jax $(BIN)/python -m pytest -m 'backend and not slow' -n 2 --dist loadfile \
		--no-loadscope-reorder

test-slow: $(INSTALLED) ## Run the long checks, on TensorFlow and on JAX
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m slow
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m 'backend and slow'

test-faults: $(INSTALLED) ## Have studies live through hundreds of faults: reports/benchmarks/fault_injection.csv
	rm -f reports/benchmarks/fault_injection.csv
	FAULTS_TABLE=reports/benchmarks/fault_injection.csv $(BIN)/python -m pytest tests/faults -m faults -s

test-peers: $(INSTALLED) $(PEERS) ## Compare with other packages on PyTorch, installed beside (.venv-peers)
	KERAS_BACKEND=tensorflow .venv-peers/bin/python -m pytest tests/peers
	KERAS_BACKEND=jax .venv-peers/bin/python -m pytest tests/peers

lint: style types ## Check style, types and which folder imports which

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo --cache-dir .ruff_cache/imports

types: $(INSTALLED)
	$(BIN)/mypy

audit: $(INSTALLED) ## Look the locked dependencies up among known vulnerabilities
	$(BIN)/python tests/audit.py

ui: $(INSTALLED) ## Open the MLflow UI and optuna-dashboard on the runs folder, on loopback
	$(BIN)/reparam-bench ui

report: $(INSTALLED) ## Write the newest study's report again
	$(BIN)/reparam-bench report

screenshots: $(INSTALLED) ## Take pictures of the newest study's report and MLflow pages for reports/examples
	$(BIN)/python -m tests.browser.screenshots

benchmark-report: $(INSTALLED) ## Measure the report of 1,000, 3,000 and 10,000 runs: time and memory
	$(BIN)/python tests/benchmarks/report_of_many_runs.py

benchmark-forecasts: $(INSTALLED) ## Measure how often the intervals of learning-curve forecasts hold the truth
	$(BIN)/python -m tests.benchmarks.forecast_coverage
	$(BIN)/python -m tests.benchmarks.expected_gain

benchmark-scaling: $(INSTALLED) ## Measure studies of 1 to 16 worker processes, and what bounds those of 1,000
	$(BIN)/python -m tests.benchmarks.scaling

benchmark-memory: $(INSTALLED) ## Measure the memory of a process over 200 trials, on TensorFlow and on JAX
	$(BIN)/python tests/benchmarks/memory_over_trials.py --backend tensorflow
	$(BIN)/python tests/benchmarks/memory_over_trials.py --backend jax

benchmark-study: $(INSTALLED) ## Time whole studies beside a loop written by hand; BEFORE=PATH: and an earlier checkout
	$(BIN)/python -m tests.benchmarks.whole_study $(if $(BEFORE),--before $(BEFORE))

benchmark-peers: $(PEERS) ## Measure speed and likelihood beside packages on PyTorch; MNIST=FILE BINARIZED=FILE CONTINUE=1
	.venv-peers/bin/python -m tests.benchmarks.peers
	.venv-peers/bin/python -m tests.benchmarks.peers.likelihood $(if $(MNIST),--mnist $(MNIST)) \
		$(if $(BINARIZED),--binarized $(BINARIZED)) $(if $(CONTINUE),--continue)

benchmark-recipes: $(INSTALLED) ## Measure which recipe is best on which data; DATA='NAME=FILE …' CONTINUE=1
	$(BIN)/python -m tests.benchmarks.recipes $(if $(DATA),--data $(DATA)) $(if $(CONTINUE),--continue)

benchmark-accelerator: $(INSTALLED) ## Measure what one accelerator does, by JAX; DATA=mnist.npz OUTPUT=FOLDER BINARIZED=FILE
	$(BIN)/python -m tests.benchmarks.accelerator --data $(DATA) --output $(or $(OUTPUT),runs/accelerator) \
		$(if $(BINARIZED),--binarized $(BINARIZED))

lock: $(UV) ## Resolve the dependencies again, with hashes
	$(UV) pip compile pyproject.toml --extra jax --extra dashboard --extra server --extra dev --universal --python-version 3.11 \
		--generate-hashes --upgrade --quiet --custom-compile-command 'make lock' -o requirements.lock

clean: ## Remove what was installed here; runs are kept
	rm -rf .venv .venv-peers .tools

$(INSTALLED): requirements.lock pyproject.toml bench/core/reparam_bench.py | $(UV)
	@test -n "$(PYTHON)" || { echo 'error: Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	VIRTUAL_ENV=.venv $(UV) pip sync --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS): pyproject.toml bench/core/reparam_bench.py
	@test -n "$(PYTHON)" || { echo 'error: Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -e '.[jax,dev,peers]'
	@touch $@

.tools/bin/uv:
	@test -n "$(PYTHON)" || { echo 'error: Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv
