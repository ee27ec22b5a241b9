#!/usr/bin/env bash
# Known vulnerabilities in what .venv has installed, from PyPI's database; needs the network, and so is no part of .ci/run.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A version with a vulnerability that is known: a mirror without the database would call everything sound.
readonly KNOWN=https://pypi.org/pypi/pip/23.0/json
prepare dev,example
"$VENV/bin/python" -c "
import json, urllib.request
assert json.load(urllib.request.urlopen('$KNOWN', timeout=20))['vulnerabilities']
" 2>/dev/null || die "$KNOWN cannot be reached or tells of no vulnerability, so nothing would be found; try another network"
# In an environment of its own, so that it changes nothing of what it looks at.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$VENV/bin/python" -m venv --without-pip "$tools/venv"
"$VENV/bin/python" -m pip --python "$tools/venv/bin/python" install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
say "pip-audit"
"$tools/venv/bin/python" -m pip_audit --progress-spinner off --skip-editable \
    --path "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$@"
