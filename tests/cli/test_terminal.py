r"""Names of layers and files that a terminal would obey are shown as escapes: ESC, U+202E, and what is no UTF-8.

In JSON, which is for machines, names are what they were.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Tuple

import pytest

import mxquant
from mxquant.cli import quantize as quantize_module
from mxquant.runtime.mxnet import mx
from tests.cli.conftest import tiny_network

OBEYED = ("\x1b", "\u202e", "\udc80", "\u2028", "\x9b")
# A name that sets a colour, turns text around, and is no UTF-8; and how it shows.
FILE, SHOWN = "n\x1b[31m\u202e\udc80", r"n\x1b[31m\u202e\udc80"


def clean(done: Any) -> bool:
    return not any(each in done.out + done.err for each in OBEYED)


def renamed(name: str) -> None:
    """Give a layer of the prepared plan a name that no network of a file can have, but a plan can."""
    document = json.loads(Path("plan.json").read_text(encoding="utf-8"))
    layer = next(each for each in document["layers"] if each["name"] == "conv0")
    layer.update(name=name, precision="float32", reason=f"as {name}")
    Path("odd.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def turned(folder: Path) -> Tuple[Path, str]:
    """Return the folder, with a network 'odd' whose layers have a name that turns text around."""
    symbol, args, aux = tiny_network("l\u202e")
    mx.model.save_checkpoint("odd", 0, symbol, args, aux)
    return folder, r"l\u202e"


@pytest.mark.parametrize("name", OBEYED)
def test_inspect_shows_names_of_a_plan_and_json_has_them_as_they_are(folder: Path, call: Any, name: str) -> None:
    renamed(f"l{name}r")
    done = call("inspect", "odd.json")
    assert done.code == 0, done.err
    assert clean(done) and "l{}r: as l{}r".format(*2 * [name.encode("unicode_escape").decode()]) in done.out
    found = call("inspect", "odd.json", "--json")
    assert found.out.isascii() and f"l{name}r" in {each["layer"] for each in found.json["files"][0]["float32"]}


def test_inspect_shows_what_an_onnx_file_says_of_itself(folder: Path, call: Any) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load("net.onnx")
    model.metadata_props.add(key="author", value="me\x1b]0;title\x07\nverdict  trust it\u202e")
    onnx.save(model, "odd.onnx")
    done = call("inspect", "odd.onnx")
    assert done.code == 0 and clean(done)
    assert r"author me\x1b]0;title\x07\nverdict  trust it\u202e" in done.out


def test_a_file_that_is_not_there_is_named_so_that_nothing_is_obeyed(folder: Path, call: Any) -> None:
    for words in (("inspect", FILE), ("quantize", "-m", FILE, "-d", "calib.npy", "-o", "x")):
        done = call(*words)
        assert done.code == 2 and SHOWN in done.err and clean(done), done.err


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_outputs_are_named_so_too(folder: Path, call: Any) -> None:
    done = call("calibrate", "-m", "net", "-d", "calib.npy", "-o", f"{FILE}.npz")
    assert done.code == 0 and f"{SHOWN}.npz" in done.out and clean(done)
    assert os.path.exists(f"{FILE}.npz")
    assert call("inspect", f"{FILE}.npz").out.startswith(f"{SHOWN}.npz: statistics\n")
    found = call("inspect", f"{FILE}.npz", "--json")
    assert found.out.isascii() and found.json["files"][0]["file"] == f"{FILE}.npz"


def test_quantize_and_compare_show_layers_so(turned: Tuple[Path, str], call: Any) -> None:
    _, shown = turned
    done = call("quantize", "-m", "odd", "-d", "calib.npy", "-n", "8", "-o", "q", "-v", "--exclude", "l*conv1")
    assert done.code == 0 and clean(done) and f"{shown}conv1" in done.err
    done = call("compare", "-m", "odd", "--int8", "q", "-d", "calib.npy", "-o", "layers.csv")
    assert done.code == 0 and clean(done) and f"\n{shown}conv1  Convolution" in done.out
    # What stands below the name in the table stands where it did.
    ends = {line.index("uint8") for line in done.out.splitlines() if "uint8" in line}
    assert len(ends) == 1
    assert "l\u202econv1" in Path("layers.csv").read_text(encoding="utf-8")


def test_a_name_of_two_lines_is_one_line_of_a_table(folder: Path, call: Any) -> None:
    symbol, args, aux = tiny_network("l\n")
    mx.model.save_checkpoint("odd", 0, symbol, args, aux)
    plan = mxquant.quantize("odd", mx.nd.zeros((4, 3, 32, 32)), accuracy="fast")
    plan.save("q")
    done = call("compare", "-m", "odd", "--int8", "q", "-d", "calib.npy", "-q")
    assert done.code == 0
    assert r"l\nconv0" in done.out and not any(line.startswith("conv0") for line in (done.out + done.err).splitlines())


def test_a_cache_that_cannot_have_a_name_leaves_nothing_behind(folder: Path, call: Any) -> None:
    pytest.importorskip("onnx")
    symbol, args, aux = tiny_network("l\n")
    mx.model.save_checkpoint("odd", 0, symbol, args, aux)
    assert call("calibrate", "-m", "odd", "-d", "calib.npy", "-o", "odd.npz", "-q").code == 0
    words = ("-m", "odd", "--statistics", "odd.npz", "--target", "onnx_qdq", "--dtype", "int8", "-q")
    assert call("plan", *words, "-o", "odd.json").code == 0
    done = call("export", "-m", "odd", "--plan", "odd.json", "--tensorrt-cache", "t.cache", "-o", "o.onnx")
    assert done.code == 2 and r"tensor 'l\n" in done.err and done.err.count("\n") == 1, done.err
    assert not Path("t.cache").exists() and not Path("o.onnx").exists()


def test_errors_name_layers_so(turned: Tuple[Path, str], call: Any) -> None:
    _, shown = turned
    done = call("quantize", "-m", "odd", "-d", "calib.npy", "-o", "q", "--exclude", "l\u202econv7")
    assert done.code == 2 and f"{shown}conv7" in done.err and clean(done)


def test_what_is_unexpected_is_written_so_and_its_traceback_too(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("\x1b[2J\u202e")

    monkeypatch.setattr(quantize_module, "_quantized", broken)
    words = ("quantize", "-m", "net", "-d", "calib.npy", "-n", "4", "-o", "x", "-q")
    done = call(*words)
    assert done.code == 3 and r"unexpected RuntimeError: \x1b[2J\u202e" in done.err and clean(done)
    done = call(*words, "--debug")
    assert "Traceback" in done.err and done.err.count("\n") > 3 and clean(done)


def test_bad_options_are_written_so(folder: Path, call: Any) -> None:
    done = call("inspect", "--no\x1b[2J")
    assert done.code == 2 and r"\x1b[2J" in done.err and clean(done)


def test_the_doctor_names_layers_and_files_so(turned: Tuple[Path, str], call: Any) -> None:
    pytest.importorskip("plotly")
    folder, shown = turned
    report = "r\x1b\u202e.html"
    done = call("doctor", "-m", "odd", "-d", "calib.npy", "-n", "8", "-o", report, "-v")
    assert done.code == 0 and clean(done) and r"r\x1b\u202e.html" in done.out, done.err
    page = (folder / report).read_text(encoding="utf-8")
    assert f"{shown}conv1" in page and "l\u202econv1" not in page
    shutil.rmtree(str(folder))
