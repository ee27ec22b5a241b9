"""Imports MXNet as programs do that patch NumPy and Python themselves, for all: ``import tests.mxnet_first``.

NumPy gets its old names, by the table that mxquant has but not by mxquant.
"""

import builtins
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

TABLE = Path(__file__).resolve().parents[1] / "mxquant" / "compat" / "numpy_names.py"

spec = importlib.util.spec_from_file_location("table", TABLE)
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)
for name, value in vars(table.numpy_with_old_names()).items():
    if not name.startswith("__") and (name == "bool" or name not in vars(builtins)) and name not in vars(np):
        setattr(np, name, value)
if sys.version_info >= (3, 12):
    version = ModuleType("distutils.version")
    version.LooseVersion = version.StrictVersion = lambda text: tuple(map(int, text.split(".")[:2]))
    sys.modules.update({"distutils": ModuleType("distutils"), "distutils.version": version})
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet  # noqa: F401
assert "mxquant" not in sys.modules
