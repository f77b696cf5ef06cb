#!/usr/bin/env bash
# Builds the native cores with the address and undefined-behaviour sanitizers and fuzzes each instruction set.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/cmake -S . -B build/sanitize -DCTC_SANITIZE=ON -DCMAKE_BUILD_TYPE=None
.venv/bin/cmake --build build/sanitize --parallel 2
for simd in portable avx2 avx512; do
  DEEPSPEECH2_SIMD=$simd build/sanitize/ctc_fuzz 300
  DEEPSPEECH2_SIMD=$simd build/sanitize/recurrence_fuzz 300
done
