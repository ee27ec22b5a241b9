#!/usr/bin/env bash
# A core of the tests on every other supported Python that is found, each with its own environment: .venv-3.8, ...
# MXNet and NumPy are those that a user gets there.
#
#   ci/pythons.sh --only 3.13    this one alone, whichever .venv has
#   ci/pythons.sh --ends         the oldest and the newest alone: those between get the NumPy of one of them, or of .venv
#
# Other arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What Python and NumPy can break: each stage of the way to an int8 network, its files, and what MXNet is given. Each has
# to take few seconds: the features of MXNet, which take a minute, are in the table of docs/compat.md.
readonly CORE=(
    tests/compat/test_functions.py tests/compat/test_names.py tests/compat/test_starting.py
    "tests/compat/test_finder.py::test_mxnet_works" tests/files tests/graph/rules/test_small_rules.py
    tests/graph/rules/test_fold_batch_norm.py tests/graph/rules/test_relu_forms.py tests/stats/test_histogram.py
    tests/thresholds tests/lowering/test_simulate.py tests/onnx_export/test_translations.py
    tests/onnx_import/test_forms.py tests/test_quantization.py
)
readonly LEFT_OUT=(--ignore=tests/files/test_growth.py)
readonly AT_LEAST=300 # tests pass, or something is wrong with the list above
LOGS=$(mktemp -d)
trap 'rm -rf "$LOGS"' EXIT

# python_of VERSION: one of this version that works.
python_of() {
    local own candidate
    mapfile -t own < <(pyenv_pythons "$1")
    for candidate in "python$1" python3 python "${own[@]}"; do
        if works "$candidate" && [ "$(version_of "$candidate")" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

version_of() { "$1" -c 'import sys; print("{}.{}".format(*sys.version_info))'; }

numpy_of() { ".venv-$1/bin/python" -c 'import numpy; print(numpy.__version__)'; }

# What setup.py asks for, with the extra 'tests': the tests run in the checkout, so mxquant itself is not installed.
requirements() {
    "$1" -c "
import runpy, sys, types
told = {}
sys.modules['setuptools'] = types.SimpleNamespace(find_packages=lambda **options: [], setup=told.update)
runpy.run_path('setup.py')
print(*told['install_requires'], *told['extras_require']['tests'], sep='\n')"
}

# fill VERSION PYTHON: its environment, unless it is as it should be.
fill() {
    local venv=.venv-$1 python=.venv-$1/bin/python stamp=.venv-$1/.mxquant-tests wanted
    make_venv "$2" "$venv"
    wanted=$({ pwd; "$python" --version; cat setup.py; } | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    rm -f "$stamp"
    say "filling $venv"
    requirements "$python" >"$LOGS/$1.txt"
    pip_install "$python" --no-compile -r "$LOGS/$1.txt"
    install_mxnet "$python"
    echo "$wanted" >"$stamp"
}

# try VERSION ARGUMENTS...: the tests in its environment. One line, or what pytest says if it fails.
try() {
    local version=$1 log=$LOGS/$1.log result status=0 passed
    shift
    PYTHONPATH=$PWD OMP_NUM_THREADS=1 ".venv-$version/bin/python" -m pytest --quiet -p no:cacheprovider \
        --numprocesses="$PROCESSES" --dist=loadfile "${CORE[@]}" "${LEFT_OUT[@]}" "$@" >"$log" 2>&1 || status=$?
    result=$(tail -n 1 "$log")
    passed=$(grep -oE '[0-9]+ passed' <<<"$result" | cut -d ' ' -f 1)
    if [ "$status" -ne 0 ]; then
        cat "$log"
    elif [ $# -eq 0 ] && [ "${passed:-0}" -lt "$AT_LEAST" ]; then
        result+=", expected $AT_LEAST at least"
        status=1
    fi
    say "Python $version, NumPy $(numpy_of "$version"): $result"
    return "$status"
}

only=
ends=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --only)
        [ $# -gt 1 ] || die "--only needs a version, such as 3.13"
        only=$2
        shift
        ;;
    --only=*) only=${1#*=} ;;
    --ends) ends=yes ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
[[ -z $only || " ${VERSIONS[*]} " == *" $only "* ]] || die "--only $only is none of ${VERSIONS[*]}"

PROCESSES=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
main=$(find_python)
check_system_libraries "$main"
[ ! -x "$VENV/bin/python" ] || main=$VENV/bin/python
main=$(version_of "$main")
declare -A pythons
found=() # newest first
for version in "${VERSIONS[@]}"; do
    [ "$version" = "$only" ] || [[ -z $only && $version != "$main" ]] || continue
    python=$(python_of "$version") || continue
    pythons[$version]=$python
    found+=("$version")
done
if [ -n "$ends" ] && [ ${#found[@]} -gt 2 ]; then
    found=("${found[0]}" "${found[-1]}")
fi
[ -z "$only" ] || [ ${#found[@]} -eq 1 ] || die "no Python $only that works is on the PATH or among pyenv's"

started=0
for version in "${found[@]}"; do
    fill "$version" "${pythons[$version]}" &
    [ $((++started % 2)) -eq 1 ] || wait # two at a time: pip computes on one processor
done
wait
failed=()
ran=()
for version in "${found[@]}"; do
    if [ ! -e ".venv-$version/.mxquant-tests" ]; then
        failed+=("$version (its environment)")
    elif try "$version" "${arguments[@]}"; then
        ran+=("$version (NumPy $(numpy_of "$version"))")
    else
        failed+=("$version")
    fi
done
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
[ ${#ran[@]} -gt 0 ] || {
    say "no Python from 3.8 to 3.14 is found but $main, which ci/test.sh is for"
    exit
}
printf -v list ', %s' "${ran[@]}"
say "all passed on ${list:2}"
