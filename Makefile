# Every target sets up its own .venv when there is none, or when the lock changed.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-lock
DATA ?=

.PHONY: help install demo test test-all lint bench compile lock system-deps clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## Set up .venv from the lock file

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 is needed, this is " + sys.version.split()[0] + \
	  ": install it, or name it with make PYTHON=...") if sys.version_info[:2] != (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install ## Tell the whole story on this machine (DATA=folder in SKAB's layout for real data)
	$(BIN)/homeostat demo $(if $(DATA),--data $(DATA))

# Two processes, a file in one of them, in our order: half of the suite computes, the other half waits for servers.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: install ## The default suite, about 12 minutes on two cores
	$(PYTEST) -m "not slow"

test-all: install ## Everything, the long chaos too
	HOMEOSTAT_TESTS=all $(PYTEST)

lint: install ## ruff, mypy, import rules
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: install ## Every benchmark, each beside its peer
	$(BIN)/python -m tests.bench all

compile: install ## Render what is generated: compiled pipelines, schemas, the CRD, the images' locks, dashboards
	$(BIN)/python -m homeostat.pipelines.compile && $(BIN)/python -m homeostat.eventing.schemas && \
	$(BIN)/python -m homeostat.infra.images.closure && $(BIN)/python -m homeostat.infra.cluster.crd && \
	$(BIN)/python -m homeostat.infra.monitoring.grafana

lock: ## Pin the whole environment anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra work --extra pyod --extra kafka --extra s3 --extra traces --extra dev --python-version 3.11 --no-annotate \
	  --no-emit-index-url --no-emit-find-links $(addprefix --find-links ,$(PIP_FIND_LINKS)) \
	  --custom-compile-command "make lock" --quiet --upgrade | sed 's/+cpu//' > requirements.lock

system-deps: ## Debian packages that the full suite uses (needs root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager

clean: ## Remove the environment and everything generated at run time
	rm -rf $(VENV) .homeostat .pytest_cache .mypy_cache .ruff_cache
