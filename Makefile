# `make run` and `make test` do all the set-up themselves; nothing but Python >= 3.10, git and make is needed.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
# The locks are complete, so nothing is left to resolve: `--no-deps` keeps old versions of pip from trying.
LOCKED := --quiet --no-deps --require-hashes --requirement

# Most tests outside tests/unit wait for processes that they started: three at a time use two cores. The linters and
# the unit tests, which wait for nothing, run beside the first of them.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore tests/unit
UNIT := tests/unit -q --no-header

# The tests start Python hundreds of times, which is a third slower where nothing keeps the compiled modules.
export PYTHONDONTWRITEBYTECODE :=

COMPILE = $(UV) pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --no-header --quiet $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help run test fast-tests unit-tests test-all lint chaos audit bench image-test image-lock clean lock docs terminal

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# `.venv/bin/worker` is the command line from any folder.
# uv installs in seconds what takes pip a minute; where it cannot be had, pip does the same.
define install
	if $(UV) --version >/dev/null 2>&1 && $(UV) pip install --python $(PY) $(LOCKED) $(1); then :; \
	else $(PY) -m pip install --disable-pip-version-check $(LOCKED) $(1); fi
endef

$(VENV)/.worker: requirements/uv.lock requirements/worker.lock Makefile
	@echo "Setting up $(VENV), which takes a quarter of a minute or so, once …"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --disable-pip-version-check $(LOCKED) requirements/uv.lock 2>/dev/null || true
	@$(call install,requirements/worker.lock)
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -c "from worker.__main__ import start; start()" "$$@"\n' \
		"$(CURDIR)" "$(CURDIR)/$(PY)" >$(VENV)/bin/worker
	@chmod +x $(VENV)/bin/worker
	@touch $@

$(VENV)/.dev: requirements/dev.lock | $(VENV)/.worker
	@$(call install,requirements/dev.lock)
	@touch $@

run: $(VENV)/.worker ## test_input.json to a picture in out/
	@$(PY) handler.py

test: $(VENV)/.dev ## lint, types and the fast tests (under ten minutes on 2 cores)
	$(MAKE) --no-print-directory --jobs 3 fast-tests lint unit-tests

fast-tests: $(VENV)/.dev
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow"

unit-tests: $(VENV)/.dev ## the tests of pure decisions alone
	$(PY) -m pytest $(UNIT) -m "not slow"

test-all: $(VENV)/.dev ## everything, the long tests too
	$(MAKE) --no-print-directory lint
	$(PY) -m pytest $(UNIT) --hypothesis-profile explore
	$(PY) -m pytest $(SIDE_BY_SIDE) --hypothesis-profile explore

lint: $(VENV)/.dev ## ruff, mypy strict and declared dependencies
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m deptry .

chaos: $(VENV)/.dev ## three workers, hundreds of jobs, everything that can go wrong; SEED=… JOBS=… replays a run, FIRST=… LAST=… a part
	$(PY) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(FIRST),--first $(FIRST)) $(if $(LAST),--last $(LAST))

audit: $(VENV)/.dev ## known vulnerabilities of the pinned packages (asks the package index), and their licences
	$(VENV)/bin/pip-licenses --packages $$(sed -n 's/==.*//p' requirements/worker.lock)
	$(PY) -m pip_audit --requirement requirements/worker.lock --no-deps --require-hashes --disable-pip

bench: $(VENV)/.dev ## every benchmark, or NAME=… alone
	@command -v aria2c >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq aria2; } >/dev/null 2>&1 || \
		echo "bench: aria2c is missing (Debian's package aria2), so fetching is not measured against it" >&2
	$(PY) -m benchmarks $(NAME)

image-test: $(VENV)/.dev ## build the image's worker stage and run it (needs Docker with BuildKit)
	IMAGE_TEST=required $(PY) -m pytest tests/image -m "not network"

docs: $(VENV)/.dev ## write the generated tables of README and docs
	$(PY) -m tools.docs

terminal: $(VENV)/.worker ## record the README's animated terminal anew (docs/images/terminal.svg)
	STANDIN_STEP_SECONDS=0.03 $(PY) -m tools.terminal_svg

lock: $(VENV)/.dev ## pin requirements/*.lock anew from pyproject.toml; UPGRADE=1 takes the newest versions
	$(COMPILE) pyproject.toml --excludes requirements/excluded.txt --output-file requirements/worker.lock
	$(COMPILE) --group dev --constraint requirements/worker.lock --output-file requirements/dev.lock
	echo uv | $(COMPILE) - --constraint requirements/dev.lock --output-file requirements/uv.lock

image-lock: $(VENV)/.dev ## pin docker/*.lock anew from docker/*.in
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" docker/lock.sh

clean: ## remove what make made
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis
