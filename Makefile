# PYTHON=python3.12   the interpreter that .venv is made with (python3 by default; bench: the newest one)
# ARGS="-k poll -x"   arguments for pytest (WORKERS=0: in one process); bench: names of benchmarks
# QUICK=1             shorter benchmarks
# SECONDS=60          how long each fuzzer runs
# MINUTES=10          how long a soak takes
# LONG=1              faults: a million sockets, ten thousand peers
# FULL=1              wheel: all the tests that a wheel can pass
# LIBZMQ=PATH         wheel, reproducible: build libzmq from an archive or a folder (LIBSODIUM=PATH: that with it)
# BASE=v0.1.0         the commit that bench-guard compares with (HEAD, or its parent where nothing has changed)
# LIMIT=1             percent that a call may grow by (2)

BIN := .venv/bin
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Tests wait half of their time: two workers per core.
PARALLEL = -n $(or $(WORKERS),$(shell echo $$((2 * $(CORES))))) --dist loadfile --no-loadscope-reorder
TO_SHIP := $(if $(LIBZMQ),--libzmq $(LIBZMQ)) $(if $(LIBSODIUM),--libsodium $(LIBSODIUM))

help:  ## list the targets
	@sed -n '1,10s/^# //p' Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

build: .venv/.installed  ## compile the modules whose sources have changed
	$(BIN)/python setup.py -q build_ext --inplace

demo: build  ## show an echo, a million messages through a device, and speeds compared with pyzmq
	$(BIN)/python examples/demo.py

check: build .venv/.test  ## run the tests that are quick
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test: build .venv/.test-all  ## run all tests
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-drafts: .venv/.test  ## run the drafts' tests and the core of all with a libzmq that has drafts
	$(BIN)/python tools/instrumented.py drafts $(ARGS)

lint: .venv/.lint  ## check style, spelling, and that imports go down only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(BIN):$$PATH" cython-lint zmqcy
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/yamllint -d "{rules: {key-duplicates: enable}}" .github .pre-commit-config.yaml

types: build .venv/.lint .venv/.test-all  ## check the types
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

bench:  ## measure what a wheel gives, in turns with rivals, in an environment of its own (ZMQCY_LIBZMQ=PREFIX: with that)
	PYTHON=$(PYTHON) tools/bench.sh $(if $(QUICK),--quick) $(ARGS)

bench-guard: .venv/.ready  ## compare with a commit by instructions a call, which noise does not touch
	command -v valgrind >/dev/null || TOOLS=valgrind tools/setup.sh
	$(BIN)/python benchmarks/guard.py $(BASE) $(if $(LIMIT),--limit $(LIMIT))

soak: build .venv/.test  ## put all patterns under load for long, with random faults; writes build/soak.html
	$(BIN)/python tests/kit/soak.py --minutes $(or $(MINUTES),10)

fuzz: build .venv/.test  ## call everything with anything, and let strangers send anything
	$(BIN)/python tests/kit/fuzz_calls.py $(or $(SECONDS),60)
	$(BIN)/python tests/kit/fuzz_wire.py $(or $(SECONDS),60)

faults: build .venv/.test .venv/.bench  ## run programs that go wrong on zmqcy and pyzmq; write docs/reliability.md
	$(if $(LONG),ZMQCY_LONG=1) $(BIN)/python tests/reliability/faults/run.py

sanitize: .venv/.test-all  ## run the tests with sanitizers and valgrind (QUICK=1: those of memory and threads alone)
	command -v valgrind >/dev/null || TOOLS=valgrind tools/setup.sh
	$(BIN)/python tools/instrumented.py address $(if $(QUICK),--quick)
	$(BIN)/python tools/instrumented.py thread $(if $(QUICK),--quick)
	$(BIN)/python tools/instrumented.py valgrind $(if $(QUICK),--quick)

coverage: .venv/.test-all  ## show the lines of the extension modules that no test reaches
	$(BIN)/python tools/instrumented.py coverage $(PARALLEL)

wheel: .venv/.wheel  ## build a wheel with its own libzmq into wheelhouse/, and try it; FULL=1: with all the tests
	$(if $(LIBZMQ),TOOLS="cmake g++ make $(if $(LIBSODIUM),,libsodium)" tools/setup.sh)
	$(BIN)/python tools/wheel.py wheel $(TO_SHIP) $(if $(FULL),--full)

sdist: .venv/.wheel  ## build the source distribution into dist/, and install from it
	$(BIN)/python tools/wheel.py sdist

reproducible: .venv/.wheel  ## build both twice, and compare the bytes
	$(if $(LIBZMQ),TOOLS="cmake g++ make $(if $(LIBSODIUM),,libsodium)" tools/setup.sh)
	$(BIN)/python tools/wheel.py reproducible $(TO_SHIP)

release: .venv/.ready  ## check that this commit can be released
	$(BIN)/python tools/release.py

peer-suite: build .venv/.test  ## run the tests of pyzmq on zmqcy.compat, and on pyzmq
	$(BIN)/python tools/peer_suite.py --failed

programs: build .venv/.test  ## run programs written for pyzmq on zmqcy; write docs/programs.md
	$(BIN)/python tests/compat/programs/run.py $(ARGS)

pyzmq-shim: .venv/.ready  ## build the package that is called pyzmq and is zmqcy
	$(BIN)/python -m pip wheel -q --no-build-isolation --no-deps -w dist packaging/zmqcy-as-pyzmq

stubs: build  ## write the stubs of `zmq` on compat from its tree; those of zmqcy are the build's
	$(BIN)/python tools/compat_stubs.py

interop: build .venv/.test .venv/.bench  ## let zmqcy talk to other implementations; write docs/interop.md
	tools/interop.sh
	$(BIN)/python tests/project/interop/matrix.py; ZMQCY_INTEROP=1 $(BIN)/python -m pytest tests/project/test_interop.py

docs: build .venv/.test .venv/.docs  ## make the site, docs/_build/index.html; a warning is an error
	$(BIN)/python -m sphinx -EW --keep-going -q -b html docs docs/_build

clean:  ## remove what make made
	rm -rf .venv build dist docs/_build wheelhouse LICENSE.* *.egg-info zmqcy/*.c zmqcy/*.so zmqcy/*.pyi .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help build demo check test test-drafts lint types bench bench-guard soak fuzz faults sanitize coverage peer-suite programs
.PHONY: interop pyzmq-shim wheel sdist reproducible release stubs docs clean

# The environment is made anew for another PYTHON than it was made with.
ifdef PYTHON
identity = $(shell $(1) -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null)
ifneq ($(call identity,$(PYTHON)),$(call identity,$(BIN)/python))
.PHONY: .venv/.ready
endif
endif

.venv/.ready: tools/setup.sh pyproject.toml
	@tools/setup.sh $(PYTHON)
	@touch $@

# pip compiles all modules once, in build/inplace. After that `build` compiles what has changed.
.venv/.installed: .venv/.ready
	@echo "Compiling zmqcy: about 40 s on two cores"
	@$(BIN)/python -m pip install -qq --no-build-isolation -e .
	@touch $@

.venv/.test .venv/.test-all .venv/.lint .venv/.bench .venv/.docs .venv/.wheel: .venv/.%: .venv/.ready
	$(BIN)/python -m pip install -q --group $*
	@touch $@
