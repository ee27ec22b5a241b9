"""How this Python starts another one, with the packages that this one has and with nothing of the working folder.

``python -m`` looks for modules in the folder in which it is started first, so that a ``numpy.py`` or ``json.py`` that
lies there would be run. So the other Python is started in a folder of its own, and from Python 3.11 on with ``-P`` too,
which leaves that folder out.

It is not started with ``-I``, which leaves out ``PYTHONPATH`` and the packages in the user's home as well: MXNet may
have been found there, and the other process is to run the same. What ``PYTHONPATH`` names is kept, from the working
folder on where it is told so. Its empty entries are not: nobody means those of ``PYTHONPATH=$PYTHONPATH:/lib``, which
stand for the working folder where the variable was not set before.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import Dict, List, Mapping, Tuple

__all__ = ["started"]


def started(module: str, *arguments: str, **variables: str) -> Tuple[List[str], Dict[str, str]]:
    """Return the command line and the environment of a module that is run by another Python.

    Parameters
    ----------
    module : str
        Of this package.
    *arguments : str
        What follows in its ``sys.argv``.
    **variables : str
        What its environment has besides, or instead.

    Returns
    -------
    list of str, dict of str to str
        For :mod:`subprocess`, with a folder of its own as ``cwd``.
    """
    flags = ["-P"] if sys.version_info >= (3, 11) else []
    flags += ["-s"] if sys.flags.no_user_site else []
    environment = {**os.environ, **variables}
    folders = _folders({} if sys.flags.ignore_environment else os.environ)
    environment.pop("PYTHONPATH", None)
    if folders:
        environment["PYTHONPATH"] = os.pathsep.join(folders)
    return [sys.executable, *flags, "-m", module, *arguments], environment


def _folders(environment: Mapping[str, str]) -> List[str]:
    """Return where the other Python looks first: where this package lies, and what the user has named."""
    home = str(Path(__file__).resolve().parents[2])
    # Where packages are installed it looks last, and is not to find those before Python's own modules.
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    named = [os.path.abspath(each) for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    found = named if home in set(map(os.path.realpath, installed)) else [home, *named]
    return list(dict.fromkeys(found))
