# `make` alone lists the commands. Everything runs in .venv, which the first command makes.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test sanitize bench-decode

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/installed ## make the virtual environment and install the package into it

.venv/installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## count what DeepSpeech2 spends on ten seconds of real speech
	$(BIN)/ds2 flops librispeech examples/clip_10s.flac

test: setup ## every check: lint, format, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

sanitize: setup ## fuzz the native core under the address and undefined-behaviour sanitizers
	$(BIN)/cmake -S . -B build/sanitize -DCTC_SANITIZE=ON -DCMAKE_BUILD_TYPE=None
	$(BIN)/cmake --build build/sanitize --parallel 2
	for simd in portable avx2 avx512; do DEEPSPEECH2_SIMD=$$simd build/sanitize/ctc_fuzz 300 || exit 1; done

bench-decode: setup ## compare the decoder with its peers, in one run (ARGS="--help" lists the options)
	@grep -v '^#' benchmarks/peers/ctc-requirements.txt | xargs -n 1 -t $(BIN)/pip install --quiet --no-deps || true
	$(BIN)/python -m benchmarks.decode.run $(ARGS)
