"""Programs run by ``python -m mxquant.compat`` as by Python itself; MXNet is repaired for them and their workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Mapping

import numpy as np
import pytest

import mxquant

ROOT = Path(mxquant.__file__).parents[1]

# Prints what a program can see of how it was started.
LOOK = """\
import sys
print(sys.argv, __name__, __package__, __doc__, sys.path[0], type(__builtins__).__name__)
print(globals().get("__file__"), sys.modules["__main__"].__dict__ is globals())
"""
FAILS = """\
def inner():
    return 1 / 0

try:
    inner()
except ZeroDivisionError as error:
    raise KeyError("given") from error
"""
OWN_HOOK = """\
import sys, traceback
def show(kind, value, tb):
    print("mine:", kind.__name__, [frame.name for frame in traceback.extract_tb(tb)])
sys.excepthook = show
def inner():
    raise ValueError("x")
inner()
"""
AT_EXIT = """\
import atexit, sys, threading, time
atexit.register(print, "at the end")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread", sys.modules["__main__"].value))).start()
value = 5
"""
PROGRAMS: Mapping[str, str] = {
    "looks": LOOK,
    "ends with a status": "import sys\nprint('x')\nsys.exit(7)\n",
    "ends with a text": "raise SystemExit('that is why')\n",
    "fails": FAILS,
    "is interrupted": "raise KeyboardInterrupt\n",
    "has no syntax": "def f(:\n",
    "has a hook of its own": OWN_HOOK,
    "does something at the end": AT_EXIT,
    "imports relatively": "from . import other\n",
    "imports a neighbour": "import neighbour\nprint(neighbour.__file__)\n",
    "pickles": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)\n",
    "is in another encoding": "# coding: latin-1\nprint(ascii('\xe4'))\n",
}


def started(folder: Path, *arguments: str, **variables: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def same_as_python(folder: Path, *arguments: str) -> Any:
    """Run something by Python and by the command, and compare all that they say."""
    right = started(folder, *arguments)
    found = started(folder, "-m", "mxquant.compat", *arguments)
    assert (found.returncode, found.stdout, found.stderr) == (right.returncode, right.stdout, right.stderr)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "other.py"):
        (package / name).write_text("")
    (package / "module.py").write_text("from . import other\n" + LOOK)
    (package / "inner" / "__main__.py").write_text("from .. import other\n" + LOOK)
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "look.py").write_text(LOOK)
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_by_python(name: str, folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAMS[name], encoding="latin-1")
    found = same_as_python(folder, "program.py", "-x", "--check")
    assert found.stdout or found.stderr


def test_a_program_elsewhere_behind_a_link(folder: Path) -> None:
    (folder / "far").mkdir()
    (folder / "far" / "link.py").symlink_to(folder / "look.py")
    assert str(folder) in same_as_python(folder, "far/link.py").stdout


@pytest.mark.parametrize("name", ["package.module", "package.inner", "package", "no_such", "no_such.module", "look"])
def test_a_module_runs_as_by_python(name: str, folder: Path) -> None:
    same_as_python(folder, "-m", name, "-x")


def test_code_runs_as_by_python(folder: Path) -> None:
    found = same_as_python(folder, "-c", LOOK + "sys.exit(3)", "a", "-b")
    assert found.returncode == 3 and "['-c', 'a', '-b']" in found.stdout


def test_a_folder_runs_as_by_python(folder: Path) -> None:
    (folder / "package" / "inner" / "__main__.py").write_text(LOOK)
    assert "__main__" in same_as_python(folder, "package/inner", "x").stdout
    same_as_python(folder, "package")


def test_a_file_that_is_not_there(folder: Path) -> None:
    found = started(folder, "-m", "mxquant.compat", "missing.py")
    assert found.returncode == 2 and found.stdout == ""
    assert (
        found.stderr
        == f"{sys.executable}: can't open file '{folder}/missing.py': [Errno 2] No such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [[], ["-x"], ["-m"], ["--json"], ["--check", "more"]])
def test_what_cannot_be_meant_shows_how_to_use_it(arguments: List[str], folder: Path) -> None:
    found = started(folder, "-m", "mxquant.compat", *arguments)
    assert found.returncode == 2 and found.stdout == "" and found.stderr.startswith("usage: python -m mxquant.compat ")


def test_help(folder: Path) -> None:
    found = started(folder, "-m", "mxquant.compat", "--help")
    assert found.returncode == 0 and "--check" in found.stdout and found.stderr == ""


WORKERS = """\
import multiprocessing
import sys

import numpy as np

repaired = "mxquant.compat" in sys.modules  # before anything of MXNet's
import mxnet as mx
from mxnet import gluon


class Squares(gluon.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return np.full(2, index * index, "float32"), np.int64(__name__ == "__main__"), np.int64(repaired)


def grandchild():
    print("grandchild", repaired, __name__, flush=True)


def child():
    print("child", repaired, __name__, mx.nd.ones((np.int64(2), 1)).shape, flush=True)
    process = multiprocessing.get_context("spawn").Process(target=grandchild)
    process.start()
    process.join()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    for squares, main, also in gluon.data.DataLoader(Squares(), 3, num_workers=2):
        print(squares.asnumpy()[:, 0].tolist(), main.asnumpy().sum(), also.asnumpy().sum(), flush=True)
    process = multiprocessing.Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
"""
SAID = """\
[0.0, 1.0, 4.0] {main} 3
[9.0, 16.0, 25.0] {main} 3
child True {name} (2, 1)
grandchild True __mp_main__
0
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [["program.py"], ["-m", "program"]])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_are_repaired_before_they_import_the_program(method: str, kind: List[str], folder: Path) -> None:
    (folder / "program.py").write_text(WORKERS)
    found = started(folder, "-m", "mxquant.compat", *kind, method)
    assert found.stdout == SAID.format(main=0, name="__mp_main__"), found.stderr
    assert found.returncode == 0


def test_forked_workers_are_repaired(folder: Path) -> None:
    (folder / "program.py").write_text(WORKERS)
    found = started(folder, "-m", "mxquant.compat", "program.py", "fork")
    assert found.stdout == SAID.format(main=3, name="__main__"), found.stderr


def test_a_data_set_of_the_program_in_a_spawned_worker(folder: Path) -> None:
    lines = WORKERS.splitlines()
    end = lines.index("    process = multiprocessing.Process(target=child)")
    (folder / "program.py").write_text("\n".join(lines[:end]).replace("num_workers=2", "num_workers=1"))
    found = started(folder, "-m", "mxquant.compat", "program.py", "spawn")
    assert found.stdout == "".join(SAID.format(main=0, name="").splitlines(True)[:2]), found.stderr


def test_code_starts_repaired_workers(folder: Path) -> None:
    (folder / "work.py").write_text("import sys\ndef work():\n    print('mxquant.compat' in sys.modules)\n")
    code = (
        "import multiprocessing as m, work; p = m.get_context('spawn').Process(target=work.work); p.start(); p.join()"
    )
    assert started(folder, "-c", code).stdout == "False\n"
    assert started(folder, "-m", "mxquant.compat", "-c", code).stdout == "True\n"


def test_workers_find_the_package_that_lies_where_python_was_started(folder: Path) -> None:
    lines = (
        "import multiprocessing, mxquant",
        "print(mxquant.__file__, flush=True)",
        "if __name__ == '__main__':",
        "    process = multiprocessing.get_context('spawn').Process(target=print, args=('here',))",
        "    process.start()",
        "    process.join()",
    )
    (folder / "program.py").write_text("\n".join(lines))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "mxquant.compat", str(folder / "program.py")]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert found.stdout.splitlines() == [mxquant.__file__, mxquant.__file__, "here"], found.stderr


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0", reason="MXNet runs on this NumPy by itself")
def test_without_the_command_the_program_does_not_run(folder: Path) -> None:
    (folder / "program.py").write_text(WORKERS)
    assert started(folder, "program.py", "fork").returncode == 1
