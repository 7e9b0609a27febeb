# `make demo` and `make test` do all their set-up themselves: a virtual environment in .venv with
# what requirements-dev.lock names, held against its hashes. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
IMAGE ?= kong-scim-plugin-server

export PYTHONPATH := $(CURDIR)/kong-plugins
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Where the demo plays: sandbox, sandbox-off (as a DB-less Kong), or dbless or hybrid, a real Kong whose `kong`
# KONG_SCIM_KONG names.
KONG ?= sandbox

# Worker processes of the tests: each has a PostgreSQL and a sandbox of its own.
TEST_WORKERS ?= 3
PYTEST_ARGS ?=

# Where the tests note which lines of the Lua plugin they ran, for the table that they end with.
LUA_COVERAGE := $(CURDIR)/.cache/lua-coverage

.PHONY: help
help: ## show the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# -- What a user runs --------------------------------------------------------

.PHONY: demo
demo: $(STAMP) ## play the main job on a sandbox: no Kong, no Docker, no database (KONG=dbless, KONG=hybrid: on a real Kong)
	@$(BIN)/python -m kong_scim.cli.main demo --on $(KONG)

.PHONY: sandbox
sandbox: $(STAMP) ## a sandbox gateway on port 8000, to point an identity provider at
	@$(BIN)/python -m kong_scim.cli.main sandbox

# -- What a contributor runs -------------------------------------------------

.PHONY: test
test: $(STAMP) ## run the tests (PYTEST_ARGS='-k deactivat' for some of them)
	@rm -rf $(LUA_COVERAGE) && mkdir -p $(LUA_COVERAGE)
	@KONG_SCIM_LUA_COVERAGE=$(LUA_COVERAGE) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile \
	  --no-loadscope-reorder --durations 40 --durations-min 1 $(PYTEST_ARGS)

# What of Kong's Lua is private: kong_internals.lua and hybrid_internals.lua alone may use it.
PRIVATE := require\W+(kong\.(?!plugins\.scim-bridge|db\.schema\.typedefs)|resty\.) \
  | kong\.(rpc\b|sync\b|core_cache|cluster_events|worker_events|db\.(connector|strategy)) | ngx\.shared | post_crud_event

.PHONY: check
check: $(STAMP) luacheck ## ruff, mypy --strict, luacheck, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	luacheck --quiet kong-plugins/kong tests
	luacheck --quiet --globals ngx -- kong-plugins/kong_scim_sandbox/lua
	@! grep -rnP --include='*.lua' --exclude=kong_internals.lua --exclude=hybrid_internals.lua '(?x)$(PRIVATE)' kong-plugins/kong

.PHONY: format
format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(BENCH_STAMP) ## print the tables of docs/performance.md (BENCH_ARGS='--write' writes them there; --only, --long, --quick)
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests:$(CURDIR)/tests/hostile $(BIN)/python -m bench $(BENCH_ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## 100,000 hostile requests to a sandbox, 20,000 answers of strangers, properties at length (FUZZ_ARGS='--count 1000 --seed 1')
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests:$(CURDIR)/tests/hostile $(BIN)/python -m storm $(FUZZ_ARGS)
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests:$(CURDIR)/tests/hostile $(BIN)/python -m strangers
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests:$(CURDIR)/tests/hostile $(BIN)/python -m same_meaning
	@$(BIN)/python -m pytest -m hypothesis --hypothesis-profile long -o timeout=1800
	@$(BIN)/python tests/hostile/coverage_guided.py -max_total_time=60 -verbosity=0

.PHONY: docs
docs: docs/configuration.md schemas/config.schema.json kong-plugins/kong/plugins/scim/schema.lua docs/operations.md ## regenerate what is made from kong_scim/config/, and the table of symptoms

docs/configuration.md: WRITE = --markdown
schemas/config.schema.json: WRITE = --json-schema
kong-plugins/kong/plugins/scim/schema.lua: WRITE = --lua
docs/configuration.md schemas/config.schema.json kong-plugins/kong/plugins/scim/schema.lua: $(STAMP) FORCE
	@$(BIN)/python -m kong_scim.config.kong_schema $(WRITE) > $@.new || { rm -f $@.new; exit 1; }
	@mv $@.new $@

.PHONY: docs-site
docs-site: $(STAMP) ## build the documentation as a site in .cache/docs-site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --config-file docs/site/mkdocs.yml
	@echo "Open .cache/docs-site/index.html; with its search: python3 -m http.server --directory .cache/docs-site"
docs/operations.md: $(STAMP) FORCE
	@$(BIN)/python -m kong_scim.doctor.symptoms $@

FORCE:

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

.PHONY: lock
lock: $(STAMP) ## regenerate what is installed: requirements.lock by the image, requirements-dev.lock by make
	@$(LOCK) --output-file requirements.lock pyproject.toml
	@$(LOCK) --output-file requirements-dev.lock --extra sandbox --extra dev \
	  --constraint requirements.lock pyproject.toml
	@$(LOCK) --output-file requirements-bench.lock --extra sandbox --extra dev --extra bench \
	  --constraint requirements-dev.lock pyproject.toml

.PHONY: wheel
wheel: $(STAMP) ## build the wheel in dist/: the same file from the same commit
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build --target wheel

.PHONY: image
image: ## build the plugin server's image with Docker
	docker build --file kong-plugins/Dockerfile --tag $(IMAGE) .

.PHONY: clean
clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# -- Set-up ------------------------------------------------------------------

$(STAMP): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is not there. Install Python 3.11 or later: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "This needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version)."; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --progress-bar off --require-hashes --no-deps \
	    --requirement requirements-dev.lock 2>$(VENV)/pip-errors.txt \
	  | sed -nuE 's/^Collecting ([^ ]+).*/  \1/p' || { cat $(VENV)/pip-errors.txt; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
	@echo "Set up."

$(BENCH_STAMP): $(STAMP) requirements-bench.lock
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-bench.lock
	@touch $@

.PHONY: luacheck
luacheck:
	@command -v luacheck >/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then as_root=(); \
	  elif sudo -n true 2>/dev/null; then as_root=(sudo -n); \
	  else echo "luacheck is missing and needs root to install: sudo apt-get install lua-check"; exit 1; fi; \
	  echo "Installing luacheck (Debian package lua-check) ..."; \
	  "$${as_root[@]}" apt-get update -qq; \
	  "$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y lua-check >/dev/null; }
