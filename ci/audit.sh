#!/usr/bin/env bash
# Known vulnerabilities in what .venv has installed and of the lower bounds of setup.py, from PyPI's database; needs the
# network, and so is no part of .ci/run, where a test compares the lower bounds with the list in ci/advisories.json.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A version with a vulnerability that is known: a mirror without the database would call everything sound.
readonly KNOWN=https://pypi.org/pypi/pip/23.0/json
prepare dev,example
say "lower bounds"
"$VENV/bin/python" ci/advisories.py || die "setup.py has lower bounds with vulnerabilities that are known; see above"
"$VENV/bin/python" -c "
import json, urllib.request
assert json.load(urllib.request.urlopen('$KNOWN', timeout=20))['vulnerabilities']
" 2>/dev/null || die "$KNOWN cannot be reached or tells of no vulnerability, so nothing would be found; try another network"
asked=0
say "lower bounds, asking PyPI"
"$VENV/bin/python" ci/advisories.py --ask || asked=$?
# In an environment of its own, so that it changes nothing of what it looks at.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$VENV/bin/python" -m venv --without-pip "$tools/venv"
"$VENV/bin/python" -m pip --python "$tools/venv/bin/python" install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
say "pip-audit"
"$tools/venv/bin/python" -m pip_audit --progress-spinner off --skip-editable \
    --path "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$@"
[ "$asked" = 0 ] || die "PyPI knows more of the lower bounds than ci/advisories.json; write it there, with the day"
