"""What the user's data, a full disk, or a reader that has gone does is told as what it is, or is no error at all."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest

from mxquant.cli import quantize as quantize_module
from mxquant.cli.examples import Data
from mxquant.runtime.mxnet import mx

OWN = """
import numpy as np
def late():
    yield np.zeros((4, 3, 32, 32), "float32")
    raise KeyError("late")
def at_once():
    raise SystemExit(3)
def texts():
    yield np.array(["a", "b"])
def ragged():
    yield ([[1.0, 2.0], [3.0]], 1)
def stops():
    yield np.zeros((4, 3, 32, 32), "float32")
    raise SystemExit
class Odd:
    def __iter__(self):
        raise OSError("no disk")
def odd():
    return Odd()
def wrong():
    yield np.zeros((4, 3, 32, 32), "float32")
    yield np.zeros((4, 5), "float32")
"""


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    Path("own.py").write_text(OWN, encoding="utf-8")
    Path("ends.py").write_text("import sys\nsys.exit('usage: ends')\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "data, sentence",
    [
        ("own:late", "'own:late' raised KeyError after 1 batches: 'late'"),
        ("own:at_once", "'own:at_once' raised SystemExit: 3"),
        ("own:stops", "'own:stops' raised SystemExit after 1 batches"),
        ("own:odd", "'own:odd' raised OSError: no disk"),
        ("own:ragged", "'own:ragged' raised ValueError"),
        ("own:texts", "holds <U1, expected numbers"),
        ("own:wrong", "the network does not take batches of 'own:wrong' with shape (4, 5) for 'data'"),
        ("ends:load", "cannot import 'ends': SystemExit: usage: ends"),
    ],
)
def test_what_the_users_own_code_does_is_an_error_of_the_data(own: Path, call: Any, data: str, sentence: str) -> None:
    for command in ("calibrate -m net -o s.npz", "score -m net", "compare -m net --plan plan.json -n 6"):
        done = call(*command.split(), "-d", data, "-q")
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert sentence in done.err


@pytest.mark.parametrize(
    "command",
    [
        "calibrate -o s.npz",
        "quantize -o x",
        "score --int8 net-int8",
        "compare --int8 net-int8",
        "compare --plan plan.json",
        "sensitivity",
        "doctor -o r.html",
    ],
)
def test_arrays_that_do_not_fit_are_an_error_of_the_data(folder: Path, call: Any, command: str) -> None:
    np.save("flat.npy", np.load("calib.npy").reshape(24, -1))
    done = call(*command.split(), "-m", "net", "-d", "flat.npy", "-q")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert "the network does not take batches of 'flat.npy' with shape (24, 3072) for 'data': " in done.err
    assert "conv0" in done.err and "../src" not in done.err


@pytest.mark.parametrize("data", ["calib.npy", "images/a"])
def test_a_network_that_takes_one_batch_only_gets_it(
    folder: Path, call: Any, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbol, args, aux = mx.model.load_checkpoint("net", 0)
    one = mx.sym.elemwise_add(symbol, mx.sym.var("one", shape=(1, 5)), name="same")
    mx.model.save_checkpoint("one", 0, one, {**args, "one": mx.nd.zeros((1, 5))}, aux)
    done = call("score", "-m", "one", "-d", data, "--image-size", "32")
    assert done.code == 0 and "batches are of 1, since the network takes none of 32" in done.err, done.err
    monkeypatch.syspath_prepend(str(folder))
    Path("whole.py").write_text("import numpy as np\ndef load():\n    yield np.load('calib.npy')\n", encoding="utf-8")
    done = call("score", "-m", "one", "-d", "whole:load", "-q")
    assert done.code == 2 and "; it takes one example at once" in done.err


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64", "float16", "bool"])
def test_images_of_any_numbers_are_taken_as_a_network_of_floats_takes_them(folder: Path, call: Any, dtype: str) -> None:
    values = (np.load("calib.npy") * 20).astype(dtype)
    np.save("numbers.npy", values)
    np.save("floats.npy", values.astype(np.float32))
    found = [
        call("calibrate", "-m", "net", "-d", f"{name}.npy", "-o", f"{name}.npz", "-q").code
        for name in ("numbers", "floats")
    ]
    assert found == [0, 0]
    assert Path("numbers.npz").read_bytes() == Path("floats.npz").read_bytes()


# A part of a pipe that ends without reading anything, however early.
GONE = "(exec <&-; sleep 0.01)"
LINES = {
    f"$M inspect net plan.json | {GONE}": [141, 0],
    f"$M inspect net --json | {GONE}": [141, 0],
    f"$M --help | {GONE}": [141, 0],
    f"$M plan --help | {GONE}": [141, 0],
    f"$M --version | {GONE}": [141, 0],
    f"$M inspect nothing 2>&1 >/dev/null | {GONE}": [141, 0],
    f"$M calibrate -m net -d calib.npy -o s.npz 2>&1 | {GONE}": [141, 0],
    "$M inspect net | cat >/dev/null": [0, 0],
    "$M inspect net >&-": [0],
    "$M inspect net >&- 2>&- <&-": [0],
    "$M inspect nothing 2>&-": [2],
    "$M inspect net >/dev/full": [2],
    "$M --help >/dev/full": [2],
}
FULL = "error: cannot write to standard output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one(folder: Path, environment: Dict[str, str]) -> None:
    def run(line: str) -> Tuple[str, str]:
        told = {**environment, "M": f"{sys.executable} -m mxquant.cli"}
        text = f'{line}\necho "${{PIPESTATUS[@]}}" >codes.{abs(hash(line))}'
        done = subprocess.run(["bash", "-c", text], env=told, capture_output=True, text=True, timeout=120, check=False)
        return Path(f"codes.{abs(hash(line))}").read_text(encoding="utf-8").strip(), done.stderr

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(LINES, pool.map(run, LINES)))
    assert {line: codes for line, (codes, _) in found.items()} == {
        line: " ".join(map(str, codes)) for line, codes in LINES.items()
    }
    for line, (_, err) in found.items():
        assert err == ("" if "full" not in line else FULL if "inspect" in line else err), line
        assert "Traceback" not in err and "ignored" not in err and err.count("\n") <= 1, line
    assert not Path("s.npz").exists() and not Path("s.npz.partial").exists()


def test_what_the_machine_refuses_is_told_without_a_word_of_debugging(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("quantize", "-m", "net", "-d", "calib.npy", "-n", "4", "-o", "x", "-q")
    for error, sentence in (
        (PermissionError(13, "Permission denied", "/x"), "error: '/x': Permission denied\n"),
        (MemoryError(), "error: the memory of this machine is not enough; a smaller --batch-size takes less\n"),
    ):

        def broken(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(quantize_module, "_quantized", broken)
        done = call(*words)
        assert (done.code, done.out, done.err) == (2, "", sentence)


def test_what_the_consumer_raises_is_not_blamed_on_the_data() -> None:
    data = Data(lambda: iter([np.zeros((2, 3), np.float32)]), ("data",), "mine")
    with pytest.raises(ZeroDivisionError):
        for _ in data.labelled():
            raise ZeroDivisionError


def test_examples_along_another_axis_are_cut_there_and_keep_their_labels(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # (time, examples, features) beside lengths: the last of each sequence is scored.
    last = mx.sym.SequenceLast(mx.sym.var("data"), mx.sym.var("lengths"), use_sequence_length=True)
    symbol = mx.sym.FullyConnected(last, num_hidden=3, no_bias=True, name="fc")
    mx.model.save_checkpoint("net", 0, symbol, {"fc_weight": mx.nd.array(np.eye(3, 4))}, {})
    source = """
import numpy as np
def load():
    rng = np.random.RandomState(0)
    for size in (6, 6, 3):
        data = rng.randn(5, size, 4).astype("float32")
        lengths = rng.randint(1, 6, size).astype("float32")
        ends = data[lengths.astype(int) - 1, np.arange(size)]
        yield data, lengths, ends[:, :3].argmax(axis=1)
"""
    Path("times.py").write_text(source, encoding="utf-8")
    for words, count in (((), 15), (("-n", "8"), 8), (("--skip", "4"), 11), (("--skip", "13"), 2)):
        found = call("score", "-m", "net", "-d", "times:load", "--json", *words).json
        assert (found["examples"], found["fp32"]["top1"]) == (count, 1.0)
