#!/usr/bin/env bash
# Speed beside other tools, in .venv: the comparisons that have a limit, where the time goes, then all of them as a
# table. Arguments go to python -m tests.benchmark.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare dev,example,bench
say "pytest -m benchmark -s tests/benchmark"
"$VENV/bin/python" -m pytest -m benchmark -s tests/benchmark
say "python -m tests.benchmark.profile"
"$VENV/bin/python" -m tests.benchmark.profile
say "python -m tests.benchmark $*"
exec "$VENV/bin/python" -m tests.benchmark "$@"
