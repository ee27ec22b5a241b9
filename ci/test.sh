#!/usr/bin/env bash
# Lint, types and tests, in .venv: all tests at the level of int8 instructions that this CPU has, and those of numbers at
# each lower level too. Arguments go to pytest and leave the lower levels out, but for --all: slow tests and benchmarks
# as well, and all tests at every level.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What int8 operators compute, and what is made of it.
readonly NUMBERS=(
    tests/lowering tests/families/test_small.py tests/families/test_recurrent.py tests/model/test_compact_recurrent.py
    tests/soak/test_random_networks.py
)
# These run every level by themselves, or none.
readonly AT_ANY_LEVEL=(test_saturation test_isa test_cudnn test_cudnn_cost test_onnx_limits test_quantized_params)
failed=()

check() {
    say "$*"
    "$VENV/bin/python" -m "$@" || failed+=("${DNNL_MAX_CPU_ISA:+$DNNL_MAX_CPU_ISA }$*")
}

prepare dev,example
check ruff check .
check ruff format --check --quiet .
check mypy
# As many processes as there are processors, with a thread each; what shares fixtures stays in one process.
parallel=(--numprocesses="$OMP_NUM_THREADS" --dist=loadfile)
mapfile -t levels < <("$VENV/bin/python" -m tests.levels)
ran=${levels[0]}
if [[ " $* " == *" --all "* ]]; then
    OMP_NUM_THREADS=1 check pytest "${parallel[@]}" -m "not benchmark" "$@"
    check pytest -m benchmark
    lower=("$@" -m "not benchmark")
else
    OMP_NUM_THREADS=1 check pytest "${parallel[@]}" "$@"
    ignored=("${AT_ANY_LEVEL[@]/#/--ignore=tests/lowering/}")
    lower=("${NUMBERS[@]}" "${ignored[@]/%/.py}")
fi
if [ $# -eq 0 ] || [[ " $* " == *" --all "* ]]; then
    for line in "${levels[@]:1}"; do
        read -r level cap <<<"$line"
        say "level $level"
        DNNL_MAX_CPU_ISA=$cap OMP_NUM_THREADS=1 check pytest "${parallel[@]}" "${lower[@]}"
        ran+=", $level"
    done
fi
[ ${#failed[@]} -eq 0 ] || die "failed:$(printf ' [%s]' "${failed[@]}")"
say "all passed; levels of int8 instructions: $ran"
