# The words of this project. Everything is set up in .venv from locked, hashed packages; nothing outside it is touched.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help setup demo serve test check check-check format contracts bench reference lock clean

# The first Python that is new enough; name another with `make PYTHON=... setup`.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
READY := .venv/.ready

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY) ## set up .venv with everything, at the locked versions

$(READY): requirements/dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "setup: wesgate needs Python 3.11 or newer and none is on PATH;" \
		"install one, or name it: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv || { echo "setup: $(PYTHON) cannot make a" \
		"virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: .venv holds a Python older" \
		"than 3.11; remove it: rm -r .venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check || { echo "setup: pyproject.toml asks for more than requirements/dev.lock holds: make lock" >&2; exit 1; }
	@touch $(READY)

demo: setup ## set everything up, run a workflow through a service, show what came out, stop
	examples/demo.sh

serve: setup ## run a service; ARGS="--port 9000 ..." for its options
	$(BIN)/wesgate serve $(ARGS)

test: setup ## run the tests, two files at a time; ARGS="-k name ..." for some of them
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: setup ## format, lint, types, import directions, drift of the generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m wesgate.cli.reference --check

check-check: setup ## plant errors in a copy and see that `make check` finds them
	.ci/check-check

format: setup ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contracts: setup ## what every backend promises; BACKEND=local for one of them
	$(BIN)/python -m pytest tests/contracts $(if $(BACKEND),-k $(BACKEND)) $(ARGS)

bench: setup ## measure speed and size, as ratios of one run; ARGS="tes start ..." for some rows
	$(BIN)/python -m bench $(ARGS)

reference: setup ## write the OpenAPI document and the generated pages anew
	$(BIN)/python -m wesgate.cli.reference

UV ?= uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --no-header --no-strip-extras pyproject.toml

lock: ## resolve the locked packages anew; needs uv; ARGS=--upgrade takes the newest
	@command -v $(UV) >/dev/null || { echo "lock: uv is needed: pip install uv, or make UV=/path/to/uv lock" >&2; exit 1; }
	$(COMPILE) requirements/build.in --all-extras $(ARGS) -o requirements/dev.lock
	$(COMPILE) --extra embedded --extra cli -c requirements/dev.lock -o requirements/run.lock
	@! grep -nE '://' requirements/*.lock || { echo "lock: a lock file names a host" >&2; exit 1; }

clean: ## remove .venv and all caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
