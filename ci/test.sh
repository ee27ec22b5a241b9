#!/usr/bin/env bash
# Lint, types and tests, in .venv. Arguments go to pytest: --all runs slow tests and benchmarks too.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failed=()

check() {
    say "$*"
    "$VENV/bin/python" -m "$@" || failed+=("$*")
}

prepare dev,example
check ruff check .
check ruff format --check --quiet .
check mypy
check pytest "$@"
[ ${#failed[@]} -eq 0 ] || die "failed:$(printf ' [%s]' "${failed[@]}")"
say "all passed"
