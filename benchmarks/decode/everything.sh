#!/usr/bin/env bash
# Every measurement of the decoder, on an otherwise idle machine, and the page made from them:
#   benchmarks/decode/everything.sh [--emissions FOLDER] [--language-model FILE]
# The second thread comes first, for it needs both cores to itself; the others count processor time.
set -euo pipefail
cd "$(dirname "$0")/../.."
results=benchmarks/results
.venv/bin/python -m benchmarks.decode.threads "$@" --output $results/decode_threads.json
.venv/bin/python -m benchmarks.decode.options_cost "$@" --output $results/decode_options.json
benchmarks/bench.sh decode "$@" --fresh --output $results/decode.json
.venv/peers/bin/python -m benchmarks.decode.long_audio "$@" --output $results/decode_long.json
.venv/peers/bin/python -m benchmarks.decode.wide_alphabets --output $results/decode_wide.json
.venv/bin/python -m benchmarks.decode.report
