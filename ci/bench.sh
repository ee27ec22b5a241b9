#!/usr/bin/env bash
# Speed comparisons, with their numbers, in .venv. Arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare dev,example
say "pytest -m benchmark -s tests/benchmark $*"
exec "$VENV/bin/python" -m pytest -m benchmark -s tests/benchmark "$@"
