#!/usr/bin/env bash
# Known vulnerabilities in what .venv has installed, from PyPI's database; needs the network, and so is no part of .ci/run.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly DATABASE=https://pypi.org/pypi/pip/json
prepare dev,example
"$VENV/bin/python" -c "import urllib.request; urllib.request.urlopen('$DATABASE', timeout=20)" 2>/dev/null ||
    die "$DATABASE cannot be reached, and without it nothing is known of vulnerabilities"
# In an environment of its own, so that it changes nothing of what it looks at.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$VENV/bin/python" -m venv --without-pip "$tools/venv"
"$VENV/bin/python" -m pip --python "$tools/venv/bin/python" install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
say "pip-audit"
"$tools/venv/bin/python" -m pip_audit --progress-spinner off --skip-editable \
    --path "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$@"
