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
# As many processes as there are processors, with a thread each; what shares fixtures stays in one process.
parallel=(--numprocesses="$OMP_NUM_THREADS" --dist=loadfile)
if [[ " $* " == *" --all "* ]]; then
    OMP_NUM_THREADS=1 check pytest "${parallel[@]}" -m "not benchmark" "$@"
    check pytest -m benchmark
else
    OMP_NUM_THREADS=1 check pytest "${parallel[@]}" "$@"
fi
[ ${#failed[@]} -eq 0 ] || die "failed:$(printf ' [%s]' "${failed[@]}")"
say "all passed"
