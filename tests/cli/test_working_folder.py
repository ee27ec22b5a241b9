"""What lies in the working folder is run where the user names it, and not because it is called as a library is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from mxquant.cli.data import DataOptions
from mxquant.cli.network import NetworkOptions
from mxquant.cli.own_code import called, function_of
from mxquant.errors import InputError
from tests.compat.test_starting import lay


def command(words: str, environment: Dict[str, str]) -> Any:
    """Call the command as its script does: the working folder is not on the path."""
    text = "import sys; sys.path.remove(''); from mxquant.cli import main; main()"
    line = [sys.executable, "-c", text, *words.split()]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=180, check=False)


def test_bench_with_threads_imports_nothing_from_it(folder: Path, environment: Dict[str, str]) -> None:
    mark = lay(folder)
    words = "bench -m net --int8 net-int8 --image-size 32 --rounds 1 -t 3 --json"
    done = command(words, environment)
    assert done.returncode == 0, done.stderr
    assert '"threads": 3' in done.stdout and not mark.exists()


def test_a_function_of_the_users_is_imported_and_nothing_else(folder: Path, environment: Dict[str, str]) -> None:
    mark = lay(folder)
    Path("beside.py").write_text("COUNT = 4\n", encoding="utf-8")
    Path("mine.py").write_text(
        "import statistics, csv, numpy as np\nfrom beside import COUNT\n"
        "def load():\n    return np.load('calib.npy')[:COUNT]\n",
        encoding="utf-8",
    )
    done = command("calibrate -m net -d mine:load -o s.npz", environment)
    assert done.returncode == 0, done.stderr
    assert "4 examples" in done.stdout and not mark.exists()


GENERATOR = "def load():\n    from beside import COUNT\n    for _ in range(COUNT):\n        yield X\n"
ITERABLE = """
class Batches:
    def __init__(self):
        self.left = 2
    def __iter__(self):
        import beside
        return self
    def __next__(self):
        import later_beside
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return X
def load():
    return Batches()
"""


@pytest.mark.parametrize("text", [GENERATOR, ITERABLE], ids=["generator", "iterator"])
def test_what_makes_batches_imports_what_lies_beside_it(text: str, folder: Path, environment: Dict[str, str]) -> None:
    Path("beside.py").write_text("COUNT = 2\n", encoding="utf-8")
    Path("later_beside.py").write_text("", encoding="utf-8")
    Path("mine.py").write_text(f"import numpy as np\nX = np.load('calib.npy')[:4]\n{text}", encoding="utf-8")
    done = command("calibrate -m net -d mine:load -o s.npz", environment)
    assert done.returncode == 0, done.stderr
    assert "8 examples" in done.stdout


def test_between_batches_it_is_not_on_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(folder))])
    Path("steps_of_mine.py").write_text(
        "import sys\nimport numpy as np\nSEEN = []\n"
        "def load():\n    for begin in range(0, 24, 8):\n        SEEN.append(list(sys.path))\n"
        "        yield np.load('calib.npy')[begin : begin + 8]\n",
        encoding="utf-8",
    )
    network = NetworkOptions(model="net")
    data = DataOptions(data="steps_of_mine:load").open(network.load(), network)
    before, between = list(sys.path), []
    for _ in data:
        between.append(list(sys.path))
    assert between == [before] * 3
    seen = sys.modules.pop("steps_of_mine").SEEN
    assert seen == [[*before, os.getcwd()]] * 3


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder that is not on the path."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_it_is_on_the_path_for_the_import_and_the_call_alone_and_last(work: Path) -> None:
    Path("path_of_mine.py").write_text(
        "import sys\nDURING = list(sys.path)\n"
        "def load():\n    import later_of_mine\n    return DURING, list(sys.path)\n",
        encoding="utf-8",
    )
    Path("later_of_mine.py").write_text("", encoding="utf-8")
    before = list(sys.path)
    function = function_of("path_of_mine", "load")
    assert sys.path == before
    assert called(function, "path_of_mine:load") == ([*before, os.getcwd()], [*before, os.getcwd()])
    assert sys.path == before


def test_the_module_of_the_users_own_is_meant_where_there_is_another(work: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "loader_of_mine.py").write_text("def load():\n    return 'other'\n", encoding="utf-8")
    sys.path.insert(0, str(other))
    Path("loader_of_mine.py").write_text("def load():\n    return 'own'\n", encoding="utf-8")
    assert function_of("loader_of_mine", "load")() == "own"


def test_packages_and_folders_are_found(work: Path) -> None:
    for name, lines in (("pack", ""), ("plain", None)):
        Path(name).mkdir()
        if lines is not None:
            Path(name, "__init__.py").write_text(lines, encoding="utf-8")
        Path(name, "inner.py").write_text("def load():\n    return __name__\n", encoding="utf-8")
        assert function_of(f"{name}.inner", "load")() == f"{name}.inner"


def test_a_module_that_fails_is_not_kept(work: Path) -> None:
    Path("broken_of_mine.py").write_text("raise KeyError('x')\n", encoding="utf-8")
    before = list(sys.path)
    for _ in range(2):
        with pytest.raises(InputError, match="--data: cannot import 'broken_of_mine': KeyError: 'x'"):
            function_of("broken_of_mine", "load")
    assert "broken_of_mine" not in sys.modules and sys.path == before
    with pytest.raises(InputError, match="has no function 'load'"):
        Path("broken_of_mine.py").write_text("load = 3\n", encoding="utf-8")
        function_of("broken_of_mine", "load")
