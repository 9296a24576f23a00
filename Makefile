# demo: a model thinks, is stopped by tokens and by the clock, and answers each time
# test: all tests          lint: formatters, types, layers     docs: what the pages and examples say is run
# bench: the bars          debug: C++ tests under sanitizers, SANITIZE=thread for the other one
PYTHON ?= python3
SANITIZE ?= address,undefined
MODEL := smollm2-135m
QUESTION := Tom has 3 boxes with 4 apples each. He eats 2 apples. How many apples are left?

BIN := $(abspath .venv/bin)
export PATH := $(BIN):$(PATH)
SOURCES := pyproject.toml CMakeLists.txt $(shell find native -type f)
CONFIGURE := cmake -S . -G Ninja -DPython_EXECUTABLE=$(BIN)/python
FIND := from edgereason import bundle as b, hub; print(b.model_file(b.open_bundle(hub.resolve('$(MODEL)'))))

.PHONY: demo test lint bench docs debug

demo: .venv/app
	edgereason pull $(MODEL)
	edgereason run -m $(MODEL) "$(QUESTION)" --strategy think
	edgereason run -m $(MODEL) "$(QUESTION)" --strategy think --think-budget 32
	edgereason run -m $(MODEL) "$(QUESTION)" --strategy think --deadline-ms 1500

test: .venv/dev
	$(CONFIGURE) -B build/native && cmake --build build/native
	EDGEREASON_TEST_MODEL="$$(python -c "$(FIND)" 2>/dev/null)" ctest --test-dir build/native --output-on-failure
	pytest

lint: .venv/dev
	ruff check && ruff format --check
	mypy edgereason export bench && lint-imports
	stubtest edgereason._core --allowlist .ci/stubtest.allow
	git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
	python .ci/sizes.py

bench: .venv/dev
	python -m edgereason.bench.latency
	python -m edgereason.bench.deadline

docs: .venv/dev
	pytest tests/test_docs.py tests/test_examples.py

debug: .venv/dev
	$(CONFIGURE) -B build/debug -DCMAKE_BUILD_TYPE=Debug -DEDGEREASON_SANITIZE=$(SANITIZE)
	cmake --build build/debug
	ctest --test-dir build/debug --output-on-failure

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/app: .venv/bin/python $(SOURCES)
	@echo "installing; the first time on a machine llama.cpp is compiled, which takes some minutes"
	pip install --quiet -e .
	touch $@

# The first time in isolation; then with what is there, so that only what changed is compiled.
.venv/dev: .venv/bin/python $(SOURCES)
	@echo "installing; the first time on a machine llama.cpp is compiled, which takes some minutes"
	pip install --quiet $(if $(wildcard $@),--no-build-isolation) -e '.[dev]'
	touch .venv/app $@
