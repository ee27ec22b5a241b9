#!/usr/bin/env bash
# Runs that take hours: damaged files, faults, ten thousand batches, random ONNX, random networks. docs/reliability.md has the figures.
# SOAK=0.01 ci/soak.sh does a hundredth of it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare dev,example
part() { "$VENV/bin/python" -c "print(max($2, round($1 * ${SOAK:-1})))"; }
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=()

soak() {
    local module=$1
    shift
    say "python -m tests.soak.$module $*"
    OMP_NUM_THREADS=1 "$VENV/bin/python" -W ignore -m "tests.soak.$module" "$@" --json "$results/$module.json" ||
        failed+=("$module")
}

soak hostile_files --count "$(part 20000 100)" --seed 0
soak faults --kills "$(part 60 2)" --seed 0
soak long_run --batches "$(part 10000 100)"
soak random_onnx --count "$(part 20000 100)" --seed 0 --processes 2
say "python -m tests.soak.random_networks"
"$VENV/bin/python" -m tests.soak.random_networks --count "$(part 2000 10)" --seed 1 |
    tee "$results/random_networks.json" || failed+=(random_networks)
say "all figures"
"$VENV/bin/python" -m tests.soak.figures "$results"
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
