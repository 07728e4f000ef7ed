# PYTHON=python3.12   the interpreter that .venv is made with (python3 by default)
# ARGS="-k poll -x"   arguments for pytest
# QUICK=1             shorter benchmarks
# SECONDS=60          how long each event loop is soaked (600)
# LONG=1              faults: a million sockets, ten thousand peers
# BASE=v0.1.0         the commit that bench-guard compares with (HEAD, or its parent where nothing has changed)

BIN := .venv/bin
SOURCES := $(wildcard zmqcy/*.pyx zmqcy/*.pxd) setup.py pyproject.toml

help:  ## list the targets
	@sed -n '1,6s/^# //p' Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: .venv/.built  ## show an echo, a million messages through a device, and some figures
	$(BIN)/python examples/demo.py

test: .venv/.built  ## run the tests
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/.lint  ## check style, spelling, and that imports go down only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(BIN):$$PATH" cython-lint zmqcy
	$(BIN)/codespell
	$(BIN)/lint-imports

types: .venv/.lint  ## check the types
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/.built .venv/.bench  ## measure, in turns with rivals
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick)

bench-guard: .venv/.ready  ## compare with a commit by instructions a call, which noise does not touch
	command -v valgrind >/dev/null || TOOLS=valgrind tools/setup.sh
	$(BIN)/python benchmarks/guard.py $(BASE)

soak: .venv/.built  ## send and receive for long on every event loop, cancelling at random
	$(BIN)/python tests/soak_aio.py $(or $(SECONDS),600)

faults: .venv/.built .venv/.bench  ## run programs that go wrong on zmqcy and pyzmq; write docs/reliability.md
	$(if $(LONG),ZMQCY_LONG=1) $(BIN)/python tests/faults/run.py

interop: .venv/.built .venv/.bench  ## let zmqcy talk to other implementations; write docs/interop.md
	tools/interop.sh
	$(BIN)/python tests/interop/matrix.py; ZMQCY_INTEROP=1 $(BIN)/python -m pytest tests/test_interop.py

stubs: .venv/.built  ## write the stubs of options and constants from their tables
	$(BIN)/python tools/stubs.py

clean:  ## remove what make made
	rm -rf .venv build dist *.egg-info zmqcy/*.c zmqcy/*.so .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test lint types bench bench-guard soak faults interop stubs clean

# The environment is made anew for another PYTHON than it was made with.
ifdef PYTHON
identity = $(shell $(1) -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null)
ifneq ($(call identity,$(PYTHON)),$(call identity,$(BIN)/python))
.PHONY: .venv/.ready
endif
endif

.venv/.ready: tools/setup.sh pyproject.toml
	tools/setup.sh $(PYTHON)
	@touch $@

.venv/.built: .venv/.ready $(SOURCES)
	$(BIN)/python -m pip install -qq --no-build-isolation -e .
	@touch $@

.venv/.lint .venv/.bench: .venv/.%: .venv/.ready
	$(BIN)/python -m pip install -q --group $*
	@touch $@
