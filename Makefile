# demo: the nano family side by side, in seconds
# demo-smollm2: a larger model thinks, is stopped by tokens and by the clock, and answers each time
# test: all tests          lint: formatters, types, layers     docs: what the pages and examples say is run
# bench: the bars          debug: C++ tests under sanitizers, SANITIZE=thread for the other one
# fuzz: damaged files of every kind for FUZZ_SECONDS; what should not have happened is told at the end
# fuzz-native: random commands for the scheduler under sanitizers, ten minutes
# c: the C library and its tests; c-checks: that under valgrind and sanitizers; aarch64: for ARM, under qemu-user
# bench-variants: the nano family, half an hour; needs the extra `recipes`
PYTHON ?= python3
SANITIZE ?= address,undefined
MODEL := smollm2-135m
FUZZ_SECONDS ?= 600
QUESTION := Tom has 3 boxes with 4 apples each. He eats 2 apples. How many apples are left?

NANO := python -m edgereason.training.nano
PREFIXES = $(wildcard edgereason/models/nano/prefixes/operator-*.safetensors)
SAVED := --save bench/results

BIN := $(abspath .venv/bin)
export PATH := $(BIN):$(PATH)
# Tests start hundreds of interpreters: what one has compiled the next need not.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := pyproject.toml CMakeLists.txt $(shell find native -type f)
# Tests that measure the machine, which qemu is not.
BY_THE_CLOCK := threads
CONFIGURE := cmake -S . -G Ninja -DPython_EXECUTABLE=$(BIN)/python
FIND := from edgereason.models import bundle as b, hub; print(b.model_file(b.open_bundle(hub.resolve('$(MODEL)'))))

.PHONY: demo demo-smollm2 test lint bench bench-variants docs debug fuzz fuzz-native c c-checks aarch64

demo: .venv/app
	python examples/nano_family.py

demo-smollm2: .venv/app
	edgereason pull $(MODEL)
	edgereason run -m $(MODEL) "$(QUESTION)" --strategy think
	edgereason run -m $(MODEL) "$(QUESTION)" --strategy think --think-budget 32
	edgereason run -m $(MODEL) "Explain why ships float." --strategy think --deadline-ms 1500 --answer-budget 24

test: .venv/dev
	$(CONFIGURE) -B build/native -DEDGEREASON_POLICIES=ON && cmake --build build/native
	EDGEREASON_TEST_MODEL="$$(python -c "$(FIND)" 2>/dev/null)" ctest --test-dir build/native --output-on-failure
	pytest

lint: .venv/dev
	ruff check && ruff format --check
	mypy edgereason export training bench && lint-imports
	stubtest edgereason._core --allowlist .ci/stubtest.allow
	git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
	python .ci/sizes.py

bench: .venv/dev
	python -m edgereason.bench latency
	python -m edgereason.bench deadline

bench-variants: .venv/dev build/nano-lora
	$(NANO) demos --split test --out build/tests.jsonl
	python -m edgereason.bench variants --trained build/nano-lora $(SAVED)
	python -m edgereason.bench variant_engines $(SAVED)
	python -m edgereason.bench sawtooth --model nano-infty --plain nano $(SAVED)
	python -m edgereason.bench prefix --model nano --strategy think --context 512 $(SAVED) \
	    --demos build/demos.jsonl --problems build/tests.jsonl $(PREFIXES:%=--prefix %)
	python -m edgereason.bench latent --model nano-coconut $(SAVED)

build/nano-lora: | .venv/dev
	mkdir -p build && $(NANO) demos --out build/demos.jsonl
	$(NANO) lora --start nano --demos build/demos.jsonl --steps 400 --out build/lora
	edgereason export build/lora --to gguf --quant f16 --out $@

docs: .venv/dev
	pytest tests/test_docs.py tests/test_examples.py

fuzz: .venv/dev
	PYTHONPATH=tests python -m fuzz --seconds $(FUZZ_SECONDS)

fuzz-native: .venv/dev
	$(CONFIGURE) -B build/debug -DCMAKE_BUILD_TYPE=Debug -DEDGEREASON_SANITIZE=$(SANITIZE)
	cmake --build build/debug --target fuzz_scheduler
	build/debug/native/tests/fuzz_scheduler $(FUZZ_SECONDS)

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

# The C library, in build/c/install.
c: .venv/dev
	cmake --preset c -DPython_EXECUTABLE=$(BIN)/python
	cmake --build --preset c
	ctest --preset c -R "conversation|event|request|thread_options"
	cmake --install build/c --component c --prefix build/c/install

# llama.cpp as the Python package has it: for ARM, and for tools that do not know this processor's newest instructions.
LLAMA_CPP := build/llama.cpp
$(LLAMA_CPP)/pyproject.toml: | .venv/dev
	mkdir -p $(LLAMA_CPP)
	pip download --quiet --no-deps --no-build-isolation --no-binary :all: --dest build \
	    "$$(sed -n 's/.*"\(llama-cpp-python==[0-9.]*\)".*/\1/p' pyproject.toml | head -n 1)"
	tar -xzf build/llama_cpp_python-*.tar.gz -C $(LLAMA_CPP) --strip-components=1 --touch

TOOLS_aarch64 := -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/native/cmake/aarch64-linux-gnu.cmake
build/%-llama/lib/libllama.so: $(LLAMA_CPP)/pyproject.toml
	cmake -S $(LLAMA_CPP)/vendor/llama.cpp -B build/$*-llama/build -G Ninja $(TOOLS_$*) \
	    -DCMAKE_INSTALL_PREFIX=$(CURDIR)/build/$*-llama -DCMAKE_INSTALL_LIBDIR=lib \
	    -DCMAKE_INSTALL_RPATH='$$ORIGIN' -DGGML_NATIVE=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_APP=OFF \
	    -DLLAMA_OPENSSL=OFF
	cmake --build build/$*-llama/build
	cmake --install build/$*-llama/build

# The C library under valgrind and sanitizers.
c-checks: build/plain-llama/lib/libllama.so
	EDGEREASON_TEST_LLAMA=$(CURDIR)/build/plain-llama pytest tests/capi -k "valgrind or sanitizers"

# The C++ tests and the C library for 64-bit ARM Linux, run by qemu-user.
aarch64: build/aarch64-llama/lib/libllama.so
	cmake --preset aarch64
	cmake --build --preset aarch64
	EDGEREASON_TEST_MODEL="$$(python -c "$(FIND)" 2>/dev/null)" ctest --preset aarch64 -E "$(BY_THE_CLOCK)"
	cmake --install build/aarch64 --component c --prefix build/aarch64/install
