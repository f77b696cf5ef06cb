#!/usr/bin/env bash
# Installs the peers of one benchmark into .venv and runs it: benchmarks/bench.sh flops|decode|inference [options].
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
shift
case "$name" in
  flops)
    .venv/bin/pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/flops-requirements.txt
    # A peer asks for torchvision, whose wheel does not load beside torch's CPU build; others then fail to import it.
    .venv/bin/pip uninstall --quiet --yes torchvision
    # thop and ultralytics-thop share a package name: this one goes to a folder of its own.
    .venv/bin/pip install --quiet --no-deps --upgrade --target benchmarks/peers/.thop thop
    ;;
  decode)
    # One by one and without dependencies: a peer that does not build leaves the others.
    grep -v '^#' benchmarks/peers/ctc-requirements.txt | xargs -n 1 -t .venv/bin/pip install --quiet --no-deps || true
    ;;
  inference)
    # What it compares with comes with the development tools.
    .venv/bin/python -m benchmarks.inference.run "$@"
    exec .venv/bin/python docs/generators/speed.py
    ;;
  *)
    echo "unknown benchmark '$name': expected flops, decode or inference" >&2
    exit 2
    ;;
esac
exec .venv/bin/python -m "benchmarks.$name.run" "$@"
