#!/usr/bin/env bash
# Runs one benchmark: benchmarks/bench.sh flops|decode|inference [options]. Its peers go to .venv/peers, an environment
# that also sees all of .venv: what they ask for does not change what the tests run with.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
shift
peers=.venv/peers
if [ ! -e $peers/ready ]; then
  .venv/bin/python -m venv $peers
  site='import sysconfig; print(sysconfig.get_path("purelib"))'
  echo "import site; site.addsitedir('$(.venv/bin/python -c "$site")')" >"$($peers/bin/python -c "$site")/venv.pth"
  touch $peers/ready
fi
case "$name" in
  flops)
    $peers/bin/pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/flops-requirements.txt
    # A peer asks for torchvision, whose wheel does not load beside torch's CPU build; others then fail to import it.
    $peers/bin/pip uninstall --quiet --yes torchvision
    # thop and ultralytics-thop share a package name: this one goes to a folder of its own.
    $peers/bin/pip install --quiet --no-deps --upgrade --target benchmarks/peers/.thop thop
    ;;
  decode)
    # One by one and without dependencies: a peer that does not build leaves the others.
    grep -v '^#' benchmarks/peers/ctc-requirements.txt | xargs -n 1 -t $peers/bin/pip install --quiet --no-deps || true
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
exec $peers/bin/python -m "benchmarks.$name.run" "$@"
