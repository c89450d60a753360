# `make run` and `make test` do all the set-up themselves; nothing but Python >= 3.10, git and make is needed.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement
# Most tests wait for processes that they started: two at a time use two cores.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint chaos audit bench image-test image-lock clean lock docs

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.worker: requirements/worker.lock
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements/worker.lock
	@touch $@

$(VENV)/.dev: requirements/dev.lock | $(VENV)/.worker
	$(INSTALL) requirements/dev.lock
	@touch $@

run: $(VENV)/.worker ## test_input.json to a picture in out/
	$(PY) handler.py

test: $(VENV)/.dev ## lint, types and the fast tests (under 6 minutes on 2 cores)
	$(MAKE) --no-print-directory lint
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow"

test-all: $(VENV)/.dev ## everything, the long tests too
	$(MAKE) --no-print-directory lint
	$(PY) -m pytest $(SIDE_BY_SIDE)

lint: $(VENV)/.dev ## ruff and mypy strict
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

chaos: $(VENV)/.dev ## three workers, hundreds of jobs, everything that can go wrong; SEED=… replays a run, JOBS=…
	$(PY) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

audit: $(VENV)/.dev ## known vulnerabilities of the pinned packages (asks the package index), and their licences
	$(PY) -m tests.support.licences
	$(PY) -m pip_audit --requirement requirements/worker.lock --require-hashes --disable-pip

bench: $(VENV)/.dev ## every benchmark, or NAME=… alone
	$(PY) -m benchmarks $(NAME)

image-test: $(VENV)/.dev ## build the image's worker stage and run it (needs Docker with BuildKit)
	IMAGE_TEST=required $(PY) -m pytest tests/image -m "not network"

docs: $(VENV)/.dev ## write the generated tables of README and docs
	$(PY) -m worker docs

lock: $(VENV)/.dev ## pin requirements/*.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header --quiet --output-file requirements/worker.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header --quiet --constraint requirements/worker.lock \
		--output-file requirements/dev.lock

image-lock: ## pin docker/*.lock anew from docker/*.in (needs uv)
	docker/lock.sh

clean: ## remove what make made
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis
