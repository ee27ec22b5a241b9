#!/usr/bin/env bash
# Builds the sdist and the wheel into dist/ or the folder that is given, checks them, and quantizes a network in a fresh
# environment that has nothing but the wheel and what it asks for.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly DIST=${1:-dist}
readonly QUANTIZATION='
import mxquant, mxnet as mx, numpy as np
net = mx.gluon.model_zoo.vision.mobilenet0_25(); net.initialize(mx.init.MSRAPrelu())
plan = mxquant.quantize(net, np.random.RandomState(0).randn(2, 3, 64, 64).astype("f"), accuracy="fast").plan
int8 = [layer.name for layer in plan.layers.values() if layer.precision == "int8"]
assert len(int8) > 20, plan; print(len(int8), "layers in int8")
'

# Empties the folder of what an earlier build has left there, and of nothing else.
build() {
    say "python -m build --outdir $DIST"
    rm -f "$DIST"/mxquant-*.whl "$DIST"/mxquant-*.tar.gz
    "$VENV/bin/python" -m build --outdir "$DIST" >"$FRESH/build.log" 2>&1 || {
        tail -n 20 "$FRESH/build.log" >&2
        die "python -m build failed; its last lines are above"
    }
    say "twine check"
    "$VENV/bin/python" -m twine check --strict "$DIST"/mxquant-*
}

# try_wheel FILE: installs it where nothing else is, away from this folder, which Python would import mxquant from.
try_wheel() {
    local python=$FRESH/venv/bin/python
    say "installing $(basename "$1") into a fresh environment"
    make_venv "$VENV/bin/python" "$FRESH/venv"
    pip_install "$python" "$1"
    install_mxnet "$python"
    cd "$FRESH"
    say "mxquant --version"
    "$FRESH/venv/bin/mxquant" --version
    say "a quantization"
    "$python" -c "$QUANTIZATION"
}

python=$(find_python)
check_system_libraries "$python"
make_venv "$python" "$VENV"
pip_install "$VENV/bin/python" build twine
FRESH=$(mktemp -d)
trap 'rm -rf "$FRESH"' EXIT
build
wheels=("$DIST"/mxquant-*.whl)
try_wheel "$(realpath "${wheels[0]}")"
say "$(cd "$OLDPWD" && ls "$DIST" | grep '^mxquant-' | tr '\n' ' ')can be published"
