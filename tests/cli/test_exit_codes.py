"""Exit codes, one sentence on standard error, and JSON alone on standard output."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict

import pytest

import mxquant
from mxquant.cli import quantize as quantize_module
from mxquant.cli.text import plain

COMMAND = [sys.executable, "-m", "mxquant.cli"]
JSON = {
    "quantize": ("-m net -d images --image-size 32 -n 4 -o new", {"files", "quality", "isa", "float32", "unmet"}),
    "calibrate": ("-m net -d calib.npy -o new.npz", {"statistics", "network", "examples", "batches", "tensors"}),
    "plan": ("-m net --statistics stats.npz -o p.json", {"plan", "target", "isa", "layers", "int8_layers", "float32"}),
    "score": ("-m net --int8 net-int8 -d val.rec --image-size 32", {"fp32", "int8", "sqnr", "agreement", "examples"}),
    "compare": ("-m net --plan plan.json -d calib.npy", {"comparison", "sqnr", "unmet", "out"}),
    "sensitivity": ("-m net -d calib.npy", {"all", "layers", "out"}),
    "export": ("-m net --input-shape 1,3,32,32 -o new.onnx", {"files", "int8_layers", "input_shapes"}),
    "inspect": ("stats.npz plan.json net net-int8 net.onnx", {"files"}),
    "bench": ("-m net --image-size 32 --rounds 2 --int8 net-int8", {"cpu", "rows"}),
}


@pytest.mark.parametrize("name", JSON)
def test_with_json_one_document_is_all_there_is_on_stdout(folder: Path, call: Any, name: str) -> None:
    words, keys = JSON[name]
    done = call(name, *words.split(), "--json")
    assert done.code == 0, done.err
    assert done.json["command"] == name and done.json["mxquant"] == mxquant.__version__
    assert keys <= set(done.json)


@pytest.mark.parametrize("name", JSON)
def test_a_quiet_command_says_nothing_on_stderr(folder: Path, call: Any, name: str) -> None:
    done = call(name, *JSON[name][0].split(), "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()


def test_numbers_that_json_does_not_have_become_text() -> None:
    found = plain({"a": [float("inf"), float("nan")], 1: (True, None, Path("x"))})
    assert json.dumps(found, allow_nan=False) == '{"a": ["inf", "nan"], "1": [true, null, "x"]}'


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["plan", "-m", "net"],
        ["plan", "-m", "net", "--statistics", "stats.npz", "-o", "p.json", "--isa", "sse"],
        ["score", "-m", "net", "-d", "val.rec", "-b", "0"],
        ["inspect", "nothing.npz"],
        ["plan", "-m", "net", "--statistics", "calib.npy", "-o", "p.json"],
        ["quantize", "-m", "net", "-d", "calib.npy", "-o", "x", "--exclude", "no_such_layer"],
    ],
)
def test_bad_usage_and_input_exit_with_2_and_one_sentence(folder: Path, call: Any, words: Any) -> None:
    done = call(*words, *(["-q"] if len(words) > 1 else []))
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", done.err), done.err
    assert not list(folder.glob("x*"))


@pytest.mark.parametrize(
    "words",
    [
        "quantize -m net -d calib.npy -o {}",
        "calibrate -m net -d calib.npy -o {}",
        "plan -m net --statistics stats.npz -o {}",
        "sensitivity -m net -d calib.npy -o {}",
        "compare -m net --plan plan.json -d calib.npy -o {}",
        "doctor -m net -d calib.npy -o {}",
        "export -m net --input-shape 1,3,32,32 -o {}",
        "export -m net --plan qdq.json --tensorrt-cache {}",
    ],
)
@pytest.mark.parametrize("out", ["nowhere/x", "images/"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    folder: Path, call: Any, words: str, out: str
) -> None:
    before = sorted(folder.rglob("*"))
    done = call(*words.format(out).split())
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "there is no folder 'nowhere'" in done.err or "is a folder, expected a file" in done.err
    assert sorted(folder.rglob("*")) == before


def test_debug_shows_where_an_error_comes_from(folder: Path, call: Any) -> None:
    words = ("plan", "-m", "net", "--statistics", "calib.npy", "-o", "p.json")
    assert "Traceback" not in call(*words).err
    done = call(*words, "--debug")
    assert done.code == 2 and "Traceback" in done.err and done.err.splitlines()[-1].startswith("error: ")


def test_what_should_not_happen_exits_with_3(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("division by zero\nmore")

    monkeypatch.setattr(quantize_module, "_quantized", broken)
    done = call("quantize", "-m", "net", "-d", "calib.npy", "-n", "4", "-o", "x", "-q")
    assert (done.code, done.out) == (3, "")
    assert done.err == "error: unexpected ZeroDivisionError: division by zero; run with --debug\n"


def test_verbose_tells_every_decision(folder: Path, call: Any) -> None:
    words = ("plan", "-m", "net", "--statistics", "stats.npz", "-o", "p.json")
    silent, loud = call(*words), call(*words, "-v")
    assert "layer 'conv0' (Convolution): int8" in loud.err and "layer 'conv0'" not in silent.err
    assert silent.out == loud.out
    # Nothing stays behind.
    assert logging.getLogger("mxquant").handlers == [] and logging.getLogger("mxquant").level == logging.NOTSET


def test_in_a_process_of_its_own_it_is_the_same(folder: Path, environment: Dict[str, str]) -> None:
    def run(*words: str) -> Any:
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)

    compare = ["compare", "-m", "net", "--plan", "plan.json", "-d", "calib.npy", "--json", "--require", "sqnr>=90"]
    # A reader that goes away is no error.
    piped = " ".join(f"'{word}'" for word in [*COMMAND, "inspect", *["plan.json"] * 400]) + " | head -n 1"
    with ThreadPoolExecutor() as pool:
        unmet, bad, head = pool.map(
            lambda words: run(*words), ([*COMMAND, *compare], [*COMMAND, "inspect", "no.npz"], ["bash", "-c", piped])
        )
    assert unmet.returncode == 1
    document = json.loads(unmet.stdout)
    assert document["unmet"] and f"not reached: {document['unmet'][0]}" in unmet.stderr
    # Progress in a pipe: lines with a rate, no control characters.
    assert re.search(r"^comparing layers: \d+/\d+, [\d.]+(e\+\d+)?/s$", unmet.stderr, re.M)
    assert "\x1b" not in unmet.stderr
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)
    assert (head.stdout, head.stderr) == ("plan.json: plan\n", "")


def test_the_version(call: Any) -> None:
    assert call("--version").out == f"mxquant {mxquant.__version__}\n"
