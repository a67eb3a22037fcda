# Everything a newcomer types. Each target sets up what it needs: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := .ci/requirements.lock
# Processes of what computes all the time; two: the machines this runs on in CI have two cores
JOBS   ?= 2
# Processes that run tests: more, for tests of real members wait most of the time
WORKERS ?= 5
ENGINE ?= node
# What `make sim` runs, e.g. make sim SEEDS=10000, or SEEDS=500..600
SEEDS  ?= 200
# How many hosts `make hosts` brings up
N      ?= 3
# How long `make soak` runs, minutes
MINUTES ?= 30
# How long `make robustness` runs, minutes
TIME   ?= 2
# How many random lives `make differential` runs beside each etcd
LIVES  ?= 50
# More options for `etcdops demo`, e.g. make demo ARGS="--data /etc --keep"
ARGS   ?=

# Images of Python set it; then each of the thousand processes that tests start would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv etcd demo check test exhaustive sim differential robustness power soak eval-diagnose bench hosts hosts-down hosts-base format proto lock clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Settings in brackets are given as: make sim SEEDS=1000"

venv: $(STAMP)  ## .venv with locked dependencies and an editable etcdops

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "etcdops needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with locked dependencies: the first time, one to five minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement $(LOCK)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

etcd:  ## real etcd binaries under .cache/etcd/<version>/
	@.ci/fetch-etcd

demo: venv  ## a cluster dies and comes back (ENGINE=etcd: real etcd)
	@if [ "$(ENGINE)" = etcd ]; then .ci/fetch-etcd >/dev/null; fi
	@$(BIN)/etcdops demo --engine $(ENGINE) $(ARGS)

check: venv  ## format, lint, types, import rules, fast tests
	$(BIN)/ruff format --check etcdops tests
	$(BIN)/ruff check etcdops tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n $(WORKERS) -m 'not slow and not real'

# CHECKED=1: the checks and fast tests were just made.
test: $(if $(CHECKED),venv,check)  ## all tests; what cannot run here is listed with the reason
	@.ci/fetch-etcd || echo "real etcd is not here: tests that need it are skipped and listed"
	@$(BIN)/python -m tests.hosts base >/dev/null || echo "test hosts are not here: tests that need them are skipped and listed"
	$(BIN)/pytest -q -n $(WORKERS) -m '(slow or real) and not exhaustive'

exhaustive: venv  ## what takes long: procedures killed at every step
	@.ci/fetch-etcd
	@$(BIN)/python -m tests.hosts base >/dev/null
	$(BIN)/pytest -q -n $(WORKERS) -m exhaustive

# Without h2load the bench reads with its own load, and says so.
bench: venv  ## the node beside real etcd (QUICK=1, BENCH_FULL=1)
	@.ci/fetch-etcd >/dev/null && { .ci/fetch-h2load >/dev/null || true; }
	@nice -n 5 $(BIN)/python -m tests.bench.suite $(if $(QUICK),--quick) $(if $(BENCH_FULL),--full) $(ARGS)

sim: venv  ## simulated clusters under faults (SEEDS=200 JOBS=2)
	$(BIN)/python -m tests.sim --seeds $(SEEDS) --jobs $(JOBS)

hosts: venv  ## Debian hosts with systemd and sshd, for tests (N=3); root
	@$(BIN)/python -m tests.hosts up $(N)

hosts-down: venv  ## remove every trace of them
	@$(BIN)/python -m tests.hosts down

hosts-base: venv  ## what they start from (once, one to three minutes)
	@$(BIN)/python -m tests.hosts base

power: venv  ## a loss of power at every system call (JOBS=2)
	@nice -n 5 $(BIN)/python -m tests.power --jobs $(JOBS) $(ARGS)

soak: venv  ## does anything grow? (MINUTES=30 ENGINE=node|etcd)
	@if [ "$(ENGINE)" = etcd ]; then .ci/fetch-etcd >/dev/null; fi
	@nice -n 5 $(BIN)/python -m tests.soak --minutes $(MINUTES) --engine $(ENGINE) $(ARGS)

# Real processes under faults: make robustness TIME=10 ENGINE=etcd-3.5 SEED=7 (minutes; node, etcd-3.5, etcd-3.4)
robustness: venv  ## real clusters under faults (TIME=2 ENGINE=node SEED=)
	@.ci/fetch-etcd >/dev/null || true
	@$(BIN)/python -m tests.robustness run --engine $(ENGINE) --minutes $(TIME) $(if $(SEED),--seed $(SEED)) $(ARGS)

differential: venv  ## random lives of the node beside real etcd (LIVES=50)
	@.ci/fetch-etcd >/dev/null
	ETCDOPS_DIFFERENTIAL_LIVES=$(LIVES) $(BIN)/pytest -q -n $(WORKERS) tests/differential

eval-diagnose: venv  ## how often diagnose is right, over labelled logs
	@$(BIN)/python -m tests.diagnosis.eval $(ARGS)

format: venv  ## rewrite the code as `make check` wants it
	$(BIN)/ruff format etcdops tests
	$(BIN)/ruff check --fix etcdops tests

proto: venv  ## regenerate etcdops/proto/*_pb2.py from the .proto files
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --mypy_out=. \
	    --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy etcdops/proto/*.proto

lock: venv  ## renew the locked dependencies from pyproject.toml
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host --no-header --output-file $(LOCK) pyproject.toml

clean:  ## remove what the targets above made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info build dist
