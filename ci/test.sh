#!/usr/bin/env bash
# Makes or reuses .venv, installs mxquant with its development tools, and runs the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --editable '.[dev,example]'
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}"
.venv/bin/python -m pytest -q "$@"
