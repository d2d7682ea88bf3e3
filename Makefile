# make run    install into .venv and start the daemon in the foreground
# make check  install with the test extra, then lint, check types, test everything in memory, each
#             property with a quarter of the examples
# make test   the same with all examples, and beside it tests with real daemons, clients and browsers
# make faults  500 faults at clusters of three nodes and what a history checker says of it, in half
#             an hour; FAULTS=... how many, SEED=... which, KINDS='kill -9,no bells' only these,
#             PARTS=hops a part of it, RESULTS=FILE to go on where a run was stopped;
#             .venv/bin/python -m tests.cluster --help
# make bench  install the bench extra and its peers, measure, write docs/performance.md
# make profile  the same install, then show where the daemon's time goes in the hot cases
#
# PYTHON=...  the interpreter of a new .venv; by default the newest of 3.10 to 3.13,
#             or one that is clearly faster
# ARGS=...    options of the daemon, such as ARGS='--listen tcp:9000'
# CASES=... ROUNDS=7 SCALE=1 COMET_ARGS=... RESULTS=FILE   what to measure, see docs/performance.md
# CASES=goals    only the cases that have goals
# RESUME=1       of them only what the results do not have of this commit yet

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS :=
CASES := all
ROUNDS := 7
SCALE := 1
COMET_ARGS :=
RESULTS := benchmarks/results.json
RESUME :=

.PHONY: run check test faults bench profile install install-test install-bench
.PHONY: lint types scripts memory real postgresql clean

run: install
	@exec $(BIN)/twistd -n --pidfile= comet-chat $(ARGS)

# The parts in memory take a processor each, and wait for the disk at times; what takes seconds goes
# beside them. The real tests wait more than that, and the parts in memory have what they leave.
# Each one's output comes at its end.
CHECKS := memory types lint scripts
STARTS := real postgresql
BESIDE := $(MAKE) --no-print-directory --output-sync=target

# See tests/examples.py.
check: export EXAMPLES := few
check: install-test
	@$(BESIDE) --jobs $(shell echo $$(($$(nproc) + 1))) $(CHECKS)

test: install-test
	@$(BESIDE) --jobs $(shell echo $$(($$(nproc) + 2))) $(STARTS) $(CHECKS)

# The checkout's tests, the installed daemon.
faults: install-test
	env -u PYTHONPATH $(BIN)/python -m tests.cluster

# The checkout's benchmarks, the installed daemon.
BENCH = env -u PYTHONPATH $(BIN)/python -m benchmarks --cases '$(CASES)' --scale $(SCALE) --comet='$(COMET_ARGS)'

bench: install-bench
	$(BENCH) --rounds $(ROUNDS) --results $(RESULTS) $(if $(RESUME),--resume)

profile: install-bench
	$(BENCH) --profile

install:
	@.ci/install

install-test:
	@.ci/install test

install-bench:
	@.ci/install bench
	@benchmarks/install

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

# The page's scripts: their types as tests/tsconfig.json says, and what old browsers have as
# tests/eslint.config.js says. Each looks only at what has changed since the last time.
scripts:
	tests/node_modules/.bin/tsc --project tests --incremental --tsBuildInfoFile tests/node_modules/.tsc
	tests/node_modules/.bin/eslint --cache --cache-strategy content --cache-location tests/node_modules/.eslint \
		--config tests/eslint.config.js cometd_chat/web/static

# Tests that start daemons, clients or browsers; all others are in memory (tests/test_layers.py).
REAL := tests/browser tests/bayeux_clients tests/clients tests/cluster tests/daemon tests/faults tests/shown tests/test_packaging.py

# The pytest command, unlike `python -m pytest`, leaves the checkout out of sys.path. What it makes
# of a test file before it runs is kept, whatever the caller thinks of such files.
PYTEST := env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -ra

# Two parts, each in a process of its own, beside each other: for tests that take a few milliseconds,
# pytest-xdist takes as long to say which one is next. Two processors are done with them at about the
# same time.
MEMORY := memory-web memory-rest
TRANSPORTS := $(wildcard tests/web/test_transports*.py tests/web/test_websocket*.py)
WEB := $(filter-out $(TRANSPORTS),$(wildcard tests/web/test_*.py))

.PHONY: $(MEMORY)
memory: $(MEMORY)

memory-web:
	$(PYTEST) $(WEB)

memory-rest:
	$(PYTEST) -m 'not postgresql' $(WEB:%=--ignore %) $(REAL:%=--ignore %)

# The parts of the log over PostgreSQL, one server for all.
postgresql:
	$(PYTEST) -m postgresql tests/log

# They wait much, so that three times as many run as there are processors; who has nothing left to do
# takes of what is another's. The order is that of tests/conftest.py.
real:
	$(PYTEST) --numprocesses $(shell echo $$((3 * $$(nproc)))) --dist worksteal $(REAL)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
