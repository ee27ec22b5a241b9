"""What is refused at import, how it is said, and what importing costs.

Versions that are not installed are stood for by small packages of the same name, in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mxquant.runtime import mxnet as _compat

ROOT = Path(__file__).resolve().parents[2]
NUMPY = "__version__ = '{}'\nbool_ = bool\n"
MXNET = "__version__ = '{}'\n"
INSTALLING = "pip install 'mxnet>=1.9.1,<1.10'" if sys.version_info < (3, 13) else "pip install --no-deps mxnet==1.9.1"


def python(*args, path=()):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    return subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True, timeout=120)


def import_error(tmp_path, *flags, **modules):
    """Import mxquant where `modules` stand for the installed ones; return the last line of what is said."""
    for name, source in modules.items():
        (tmp_path / f"{name}.py").write_text(source)
    done = python(*flags, "-c", "import mxquant.runtime.mxnet", path=[tmp_path])
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("version", ["1.20.0", "1.23.5", "1.26.4", "1.25.0rc1", "2.0.0", "2.0.0rc1", "2.5.5"])
def test_numpy_that_works(version):
    _compat.check_numpy(version)


@pytest.mark.parametrize("version", ["1.19.5", "3.0.0", "3.0.0rc1", "10.0"])
def test_numpy_that_does_not_work(version):
    with pytest.raises(ImportError, match=rf"NumPy 1.20 to 2.x, found {version}; pip install 'numpy>=1.20,<3'"):
        _compat.check_numpy(version)


@pytest.mark.parametrize("version", ["1.7.0", "1.8.0.post0", "1.9.1", "1.9.2b20220101"])
def test_mxnet_that_works(version):
    _compat.check_mxnet(version)


@pytest.mark.parametrize("version", ["1.6.0", "1.10.0", "2.0.0b1", "0.12.1"])
def test_mxnet_that_does_not_work(version):
    with pytest.raises(ImportError, match=rf"MXNet 1.7 to 1.9, found {version}; {INSTALLING}"):
        _compat.check_mxnet(version)


@pytest.mark.parametrize("check", [_compat.check_numpy, _compat.check_mxnet])
def test_a_version_that_is_not_one(check):
    with pytest.raises(ImportError, match="version 'unknown' is not understood"):
        check("unknown")


@pytest.mark.parametrize("library, package", [("libgomp.so.1", "libgomp1"), ("libquadmath.so.0", "libquadmath0")])
def test_a_missing_system_library_is_named_with_its_package(library, package):
    error = OSError(f"{library}: cannot open shared object file: No such file or directory")
    assert _compat.explain_loader_error(error).endswith(f"apt-get install {package}")


@pytest.mark.parametrize("library", ["libarmpl_lp64_mp", "libamath", "libastring"])
def test_where_arm_performance_libraries_are_missing_they_are_explained(library):
    told = _compat.explain_loader_error(OSError(f"{library}.so: cannot open shared object file: No such file"))
    assert told.startswith(f"MXNet for 64-bit ARM needs {library}, one of Arm Performance Libraries, Arm's BLAS")
    assert "install them, and put their folder into LD_LIBRARY_PATH" in told and "apt-get" not in told


def test_any_other_loader_error_is_told_in_its_own_words():
    told = _compat.explain_loader_error(OSError("libcuda.so.1: cannot open shared object file"))
    assert told == "MXNet's library cannot be loaded: libcuda.so.1: cannot open shared object file"


def test_numpy_3_is_refused_before_mxnet_is_imported(tmp_path):
    told = import_error(tmp_path, numpy=NUMPY.format("3.1.0"), mxnet="raise SystemExit('imported')")
    assert told == "ImportError: mxquant needs NumPy 1.20 to 2.x, found 3.1.0; pip install 'numpy>=1.20,<3'"


def test_another_mxnet_is_refused(tmp_path):
    told = import_error(tmp_path, mxnet=MXNET.format("2.0.0"))
    assert told == "ImportError: mxquant needs MXNet 1.7 to 1.9, found 2.0.0; " + INSTALLING


def test_a_library_that_the_loader_misses_is_explained(tmp_path):
    told = import_error(tmp_path, mxnet="raise OSError('libgomp.so.1: cannot open shared object file')")
    assert told == "ImportError: MXNet needs the system library libgomp; apt-get install libgomp1"


def test_importing_without_arm_performance_libraries_says_what_to_install(tmp_path):
    told = import_error(tmp_path, mxnet="raise OSError('libarmpl_lp64_mp.so: cannot open shared object file')")
    assert told.startswith("ImportError: MXNet for 64-bit ARM needs libarmpl_lp64_mp, one of Arm Performance Libraries")


def test_missing_mxnet_is_named(tmp_path):
    told = import_error(tmp_path, "-S", numpy=NUMPY.format("1.26.4"))  # -S: nothing that pip installed
    assert told == f"ImportError: mxquant needs MXNet; {INSTALLING}"


def test_without_mxnet_it_is_the_first_use_that_says_so():
    code = "import sys; sys.modules['mxnet'] = None; import mxquant; mxquant.errors; from mxquant import quantize"
    assert python("-c", code).stderr.splitlines()[-1] == f"ImportError: mxquant needs MXNet; {INSTALLING}"


def test_a_module_that_mxnet_itself_misses_is_not_taken_for_mxnet(tmp_path):
    told = import_error(tmp_path, mxnet="import requests_that_is_not_there")
    assert told == "ModuleNotFoundError: No module named 'requests_that_is_not_there'"


def test_a_python_without_a_wheel_of_mxnet_s_numpy_is_told_how_to_do_without(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    with pytest.raises(ImportError, match=r"; pip install 'mxnet>=1.9.1,<1.10'$"):
        _compat.check_mxnet("1.6.0")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(ImportError, match=r"; pip install --no-deps mxnet==1.9.1$"):
        _compat.check_mxnet("1.6.0")


def test_importing_mxquant_is_quick_and_takes_no_mxnet_yet():
    code = "import sys, mxquant; print({'mxnet', 'numpy', 'numba'}.intersection(sys.modules))"
    assert python("-c", code).stdout == "set()\n"


def test_importing_warns_of_nothing_and_says_nothing():
    done = python("-W", "error", "-c", "from mxquant import quantize")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_filters_of_warnings_are_left_as_they_were():
    before = "import numpy, warnings; before = list(warnings.filters)"
    done = python("-c", f"{before}; from mxquant import quantize; assert warnings.filters == before")
    assert done.returncode == 0, done.stderr


def test_importing_costs_little_more_than_importing_mxnet():
    code = """if True:
        import tests.mxnet_first
        import time
        start = time.perf_counter()
        import mxquant
        print(time.perf_counter() - start)"""
    # The least of some runs: whatever else the machine does can only add to it.
    seconds = min(float(python("-c", code).stdout) for _ in range(3))
    assert seconds < 0.05
