"""MXNet is repaired whenever it is imported, before mxquant, after it, or after a try that failed; nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from mxquant.compat import finder

ROOT = Path(__file__).resolve().parents[2]
# Scalars of NumPy in an attribute, a function that NumPy has moved, one that it has dropped.
WORKS = """
import numpy as np
assert mx.nd.ones((2, 3)).reshape((np.int64(3), 2)).shape == (3, 2)
assert mx.sym.zeros((np.int32(2), 3)).infer_shape()[1] == [(2, 3)]
assert mx.nd.moveaxis(mx.nd.ones((2, 3, 4)), 0, -1).shape == (3, 4, 2)
assert mx.recordio.unpack(mx.recordio.pack(mx.recordio.IRHeader(0, [1, 2], 0, 0), b"abc"))[1] == b"abc"
print("works")
"""


def run(code, *flags, path=()):
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(map(str, path)), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import mxquant.compat\nimport mxnet as mx",
        "import mxquant\nimport mxnet as mx",
        "import mxquant\nmxquant.quantize\nimport mxnet as mx",
        "import tests.mxnet_first\nimport mxquant\nimport mxnet as mx",
    ],
    ids=["compat first", "mxquant first", "by mxquant", "MXNet first"],
)
def test_mxnet_works(imports):
    done = run(imports + WORKS)
    assert (done.stdout, done.stderr, done.returncode) == ("works\n", "", 0)


def test_mxnet_works_after_a_try_that_failed():
    failing = """
import sys
import numpy
class Fails:
    def find_spec(self, name, path, target=None):
        if name == "mxnet.gluon":
            raise AttributeError("as NumPy 2 does")
sys.meta_path.insert(0, Fails())
try:
    import mxnet
except AttributeError:
    assert "mxnet.base" in sys.modules and "mxnet" not in sys.modules
del sys.meta_path[0]
import mxquant
import mxnet as mx
"""
    done = run(failing + WORKS, "-W", "ignore")
    assert (done.stdout, done.returncode) == ("works\n", 0), done.stderr


def test_importing_is_light_and_silent():
    code = """if True:
        import sys
        import mxquant.compat
        print({"mxnet", "numpy", "numba", "scipy", "onnx", "mxquant.runtime.mxnet"}.intersection(sys.modules))"""
    done = run(code, "-W", "error")
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("first", ["", "import sklearn.base; "])
def test_scikit_learn_is_not_imported_for_mxnet_alone(first, tmp_path):
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("")
    (tmp_path / "sklearn" / "base.py").write_text("class BaseEstimator: pass\n")
    code = f"{first}import sys, mxquant.compat, mxnet; print('sklearn' in sys.modules, mxnet.model.BASE_ESTIMATOR)"
    expected = "True <class 'sklearn.base.BaseEstimator'>" if first else "False <class 'object'>"
    assert run(code, path=[tmp_path]).stdout.strip() == expected


SCIPY = """
import sys
import numpy as np
found = {"scipy" in sys.modules}
values = np.eye(3, dtype="f")
assert mx.nd.array(values).asnumpy().sum() == mx.nd.array([1, 2]).asnumpy().sum() == 3
found.add("scipy" in sys.modules)
print(found)
taken = mx.nd.sparse.csr_matrix(([1.0], [2], [0, 1]), shape=(1, 3)).asscipy()
assert taken.toarray().tolist() == [[0, 0, 1]]
import scipy.sparse
matrix = scipy.sparse.csr_matrix(values)
for make in (mx.nd.array, mx.nd.sparse.array, mx.nd.sparse.csr_matrix):
    back = make(matrix)
    assert type(back) is mx.nd.sparse.CSRNDArray and back.asnumpy().tolist() == values.tolist(), make
assert isinstance(mx.nd.array(values), mx.nd.NDArray) and type(taken) is scipy.sparse.csr_matrix
buckets, probabilities = mx.test_utils.gen_buckets_probs_with_ppf(lambda x: mx.test_utils.ss.norm.ppf(x, 0, 1), 5)
assert len(buckets) == 5 and buckets[0][1] < -0.8
assert mx.test_utils.rand_ndarray((4, 5), "csr", 0.5).shape == (4, 5)
"""


@pytest.mark.parametrize(
    ("imports", "loaded"),
    [
        ("import mxquant.compat\nimport mxnet as mx", False),
        ("import scipy.sparse, mxquant.compat\nimport mxnet as mx", True),
        ("import tests.mxnet_first\nimport mxquant.compat\nimport mxnet as mx", True),
    ],
    ids=["compat first", "SciPy first", "MXNet first"],
)
def test_scipy_is_imported_when_something_of_it_is_used(imports, loaded):
    done = run(imports + SCIPY, "-W", "error:Please:DeprecationWarning")
    assert (done.stdout, done.returncode) == (f"{{{loaded}}}\n", 0), done.stderr


def test_without_scipy_mxnet_knows_that_at_once():
    code = """if True:
        import sys
        sys.modules["scipy"] = None
        import mxquant.compat, mxnet
        from mxnet.contrib import quantization
        print(mxnet.nd.sparse.spsp, mxnet.nd.utils.spsp, mxnet.test_utils.ss, quantization.stats)"""
    assert run(code).stdout == "None None None None\n"


def test_a_module_keeps_its_loader_and_source():
    code = """if True:
        import mxquant.compat, mxnet, inspect, importlib.machinery
        assert type(mxnet.base.__loader__) is importlib.machinery.SourceFileLoader
        assert "def c_str" in inspect.getsource(mxnet.base) and mxnet.base.c_array.__doc__
        assert mxnet.io.__builtins__["str"] is not str and __builtins__.str is str"""
    assert run(code).stderr == ""


@pytest.fixture
def old_package(tmp_path):
    """A package of MXNet's time."""
    (tmp_path / "oldtimer").mkdir()
    (tmp_path / "oldtimer" / "__init__.py").write_text("import numpy as np\nvalue = np.PINF\nfrom .part import late\n")
    (tmp_path / "oldtimer" / "part.py").write_text("def late(a):\n    import numpy\n    return numpy.msort(a)\n")
    return tmp_path


def test_other_packages_are_repaired_on_demand(old_package):
    code = "import mxquant.compat; mxquant.compat.repair('oldtimer'); import oldtimer; print(oldtimer.late([3, 1]))"
    assert run(code, path=[old_package]).stdout == "[1 3]\n"


def test_other_packages_are_left_alone(old_package):
    (old_package / "oldtimer" / "__init__.py").write_text(
        "import numpy\nprint('PINF' in vars(numpy), str, __builtins__['str'])"
    )
    assert run("import mxquant.compat, mxnet, oldtimer", path=[old_package]).stdout.endswith(
        "<class 'str'> <class 'str'>\n"
    )


def test_a_loader_of_several_modules_repairs_only_those_of_the_package(old_package):
    (old_package / "other.py").write_text("print(__builtins__['str'])")
    code = """if True:
        import sys, importlib.machinery
        class Shared(importlib.machinery.PathFinder):
            def find_spec(self, name, path, target=None):
                spec = super().find_spec(name, path, target)
                if name in ("oldtimer", "other"):
                    self.path, spec.loader = spec.origin, self
                return spec
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                exec(open(module.__spec__.origin).read(), module.__dict__)
        sys.meta_path.insert(0, Shared())
        import mxquant.compat
        mxquant.compat.repair("oldtimer")
        import oldtimer, other"""
    assert run(code, path=[old_package]).stdout == "<class 'str'>\n"


def test_a_package_that_is_not_there_is_not_found_either():
    finder.repair("no_such_package_of_that_name")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_that_name"):
        __import__("no_such_package_of_that_name")
    finder._FINDER.packages.remove("no_such_package_of_that_name")


def test_installing_twice_changes_nothing():
    before = list(sys.meta_path)
    finder.install()
    assert sys.meta_path == before and before.count(finder._FINDER) == 1


def test_the_context_of_the_import_is_entered_once():
    code = """if True:
        import mxquant.compat
        from contextlib import contextmanager
        @contextmanager
        def around():
            print("before")
            yield
            print("after")
        mxquant.compat.while_importing(around)
        import mxnet, mxnet.gluon, mxnet.onnx"""
    assert run(code).stdout == "before\nafter\n"
