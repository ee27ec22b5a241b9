"""The command ``python -m mxquant.compat``: runs a program with MXNet repaired, or checks what of MXNet works."""

from __future__ import annotations

import sys
from typing import List

from mxquant.compat.running import run_code, run_module, run_program
from mxquant.shown import say, show

USAGE = """\
usage: python -m mxquant.compat PROGRAM.py [ARGUMENT ...]
       python -m mxquant.compat -m MODULE [ARGUMENT ...]
       python -m mxquant.compat -c CODE [ARGUMENT ...]
       python -m mxquant.compat --check [--json]

Runs a program as Python does. MXNet, when the program imports it, is given what it misses in this Python and this
NumPy; in processes that multiprocessing starts too. Nothing else is changed.

--check   try the features of MXNet on this machine, one line each; the status is 1 if one fails
--json    print one JSON document instead"""


def main(arguments: List[str]) -> int:
    """Do what the command is asked for; return its status."""
    first, rest = arguments[0] if arguments else "", arguments[1:]
    if first in ("-h", "--help"):
        show(USAGE)
        return 0
    if first == "--check" and rest in ([], ["--json"]):
        from mxquant.compat.features.checking import check

        return check(show, as_json=bool(rest))
    if first in ("-m", "-c") and rest:
        (run_module if first == "-m" else run_code)(rest[0], rest[1:])
        return 0
    if first and not first.startswith("-"):
        run_program(first, rest)
        return 0
    say(USAGE, lines=True)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
