# `make` alone lists the commands. Everything runs in .venv, which the first command makes.
PYTHON ?= python3
BIN := .venv/bin
# Files of tests run side by side; threads that wait leave the cores to the others.
TESTS := OMP_WAIT_POLICY=passive $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile
.PHONY: help setup demo test sanitize bench-flops bench-decode bench-inference

help: ## list the commands
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/installed ## make the virtual environment and install the package into it
.venv/installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/* native/*/*)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## recognise ten seconds of real speech, and count what that and the published model spend on it
	$(BIN)/ds2 transcribe examples/clip_10s.flac --decoder greedy
	$(BIN)/ds2 transcribe examples/clip_10s.flac
	$(BIN)/ds2 flops small examples/clip_10s.flac
	$(BIN)/ds2 flops librispeech examples/clip_10s.flac

test: setup ## every check: lint, format, types, tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy & types=$$!; $(TESTS); tests=$$?; wait $$types && exit $$tests

sanitize: setup ## fuzz the native core under the address and undefined-behaviour sanitizers
	native/sanitize.sh

bench-flops bench-decode bench-inference: setup ## compare with the peers (ARGS="--help" lists the options)
	benchmarks/bench.sh $(@:bench-%=%) $(ARGS)
