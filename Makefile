# PYTHON=python3.12   interpreter of .venv (default: python3; bench: the newest)
# ARGS="-k poll -x"   arguments for pytest (WORKERS=0: no worker processes); bench: names of benchmarks
# QUICK=1             bench, sanitize: a shorter run
# SECONDS=60          fuzz: duration of each fuzzer
# MINUTES=10          soak: duration
# LONG=1              faults: a million sockets, ten thousand peers
# FULL=1              wheel: run all tests that apply to a wheel
# LIBZMQ=PATH         wheel, reproducible: build libzmq from this archive or folder (LIBSODIUM=PATH: and libsodium)
# BASE=v0.1.0         bench-guard: the commit to compare with (default: HEAD, or its parent if nothing has changed)
# LIMIT=1             bench-guard: maximum growth of a call in percent (default: 2)

BIN := .venv/bin
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Tests spend half of their time waiting, so use two workers per core.
PARALLEL = -n $(or $(WORKERS),$(shell echo $$((2 * $(CORES))))) --dist loadfile --no-loadscope-reorder
# Texts that people read. tools/phrases.txt lists phrases that they avoid, and tools/terms.txt words.
PROSE := '*.md' zmqcy examples packaging benchmarks tools ':!tools/phrases.txt' setup.py Makefile .github
TO_SHIP := $(if $(LIBZMQ),--libzmq $(LIBZMQ)) $(if $(LIBSODIUM),--libsodium $(LIBSODIUM))

help:  ## list the targets
	@sed -n '1,10s/^# //p' Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

build: .venv/.installed  ## compile the modules whose sources have changed
	$(BIN)/python setup.py -q build_ext --inplace

demo: build  ## show an echo, a million messages through a device, and speeds (compared with pyzmq if it is installed)
	$(BIN)/python examples/demo.py

check: build .venv/.test  ## run the quick tests
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test: build .venv/.test-all  ## run all tests
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-drafts: .venv/.test  ## run the draft tests and the core tests with a libzmq that has drafts
	$(BIN)/python tools/instrumented.py drafts $(ARGS)

lint: .venv/.lint  ## check style, spelling and the order of imports between modules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(BIN):$$PATH" cython-lint zmqcy
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(BIN)/codespell -D - -D tools/terms.txt
	! git grep -nEi -f tools/phrases.txt -- $(PROSE)
	$(BIN)/lint-imports
	$(BIN)/yamllint -d "{rules: {key-duplicates: enable}}" .github .pre-commit-config.yaml

types: build .venv/.lint .venv/.test-all  ## check the types
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

bench:  ## compare the speed with other libraries, in build/bench (ZMQCY_LIBZMQ=PREFIX: another libzmq)
	PYTHON=$(PYTHON) tools/bench.sh $(if $(QUICK),--quick) $(ARGS)

bench-guard: .venv/.ready  ## compare CPU instructions per call with a commit
	command -v valgrind >/dev/null || TOOLS=valgrind tools/setup.sh
	$(BIN)/python benchmarks/guard.py $(BASE) $(if $(LIMIT),--limit $(LIMIT))

soak: build .venv/.test  ## run all patterns under load with random faults; write build/soak.html
	$(BIN)/python tests/kit/soak.py --minutes $(or $(MINUTES),10)

fuzz: build .venv/.test  ## fuzz the API and the wire protocol
	$(BIN)/python tests/kit/fuzz_calls.py $(or $(SECONDS),60)
	$(BIN)/python tests/kit/fuzz_wire.py $(or $(SECONDS),60)

faults: build .venv/.test .venv/.bench  ## run faulty programs on zmqcy and pyzmq; write docs/reliability.md
	$(if $(LONG),ZMQCY_LONG=1) $(BIN)/python tests/reliability/faults/run.py

sanitize: .venv/.test-all  ## run the tests with sanitizers and valgrind (QUICK=1: only tests of memory and threads)
	command -v valgrind >/dev/null || TOOLS=valgrind tools/setup.sh
	$(BIN)/python tools/instrumented.py address $(if $(QUICK),--quick)
	$(BIN)/python tools/instrumented.py thread $(if $(QUICK),--quick)
	$(BIN)/python tools/instrumented.py valgrind $(if $(QUICK),--quick)

coverage: .venv/.test-all  ## show the lines of the extension modules that no test reaches
	$(BIN)/python tools/instrumented.py coverage $(PARALLEL)

wheel: .venv/.wheel  ## build a wheel with its own libzmq in wheelhouse/, and test it
	$(if $(LIBZMQ),TOOLS="cmake g++ make $(if $(LIBSODIUM),,libsodium)" tools/setup.sh)
	$(BIN)/python tools/wheel.py wheel $(TO_SHIP) $(if $(FULL),--full)

sdist: .venv/.wheel  ## build the source distribution in dist/, and install it
	$(BIN)/python tools/wheel.py sdist

reproducible: .venv/.wheel  ## build the wheel and the source distribution twice, and compare the bytes
	$(if $(LIBZMQ),TOOLS="cmake g++ make $(if $(LIBSODIUM),,libsodium)" tools/setup.sh)
	$(BIN)/python tools/wheel.py reproducible $(TO_SHIP)

release: .venv/.ready  ## check that this commit can be released
	$(BIN)/python tools/release.py

peer-suite: build .venv/.test  ## run the tests of pyzmq on zmqcy.compat, and on pyzmq
	$(BIN)/python tools/peer_suite.py --failed

programs: build .venv/.test  ## run programs written for pyzmq on zmqcy; write docs/programs.md
	$(BIN)/python tests/compat/programs/run.py $(ARGS)

pyzmq-shim: .venv/.ready  ## build a package named pyzmq that contains zmqcy.compat
	$(BIN)/python -m pip wheel -q --no-build-isolation --no-deps -w dist packaging/zmqcy-as-pyzmq

stubs: build  ## write the type stubs of `zmq` on zmqcy.compat
	$(BIN)/python tools/compat_stubs.py

interop: build .venv/.test .venv/.bench  ## test zmqcy with other implementations; write docs/interop.md
	tools/interop.sh
	$(BIN)/python tests/project/interop/matrix.py; ZMQCY_INTEROP=1 $(BIN)/python -m pytest tests/project/test_interop.py

docs: build .venv/.test .venv/.docs  ## build the site, docs/_build/index.html; warnings are errors
	$(BIN)/python -m sphinx -EW --keep-going -q -b html docs docs/_build

clean:  ## remove all that make has built
	rm -rf .venv build dist docs/_build wheelhouse LICENSE.* *.egg-info zmqcy/*.c zmqcy/*.so zmqcy/*.pyi .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help build demo check test test-drafts lint types bench bench-guard soak fuzz faults sanitize coverage peer-suite programs
.PHONY: interop pyzmq-shim wheel sdist reproducible release stubs docs clean

# Rebuild the environment if PYTHON differs from its interpreter.
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
