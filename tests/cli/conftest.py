"""A folder with a tiny network, data of every kind, and what commands make of them; and a way to call the command."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

CLASSES = 5


@dataclass(frozen=True)
class Outcome:
    """What a call of the command has returned and written."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Dict[str, Any]:
        """The document on standard output."""
        return json.loads(self.out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def tiny_network(prefix: str = "", softmax: bool = False) -> Any:
    """Return a small residual classifier for square RGB images of any size, with its parameters."""
    x = relu(conv(mx.sym.var("data"), f"{prefix}conv0", 8, stride=(4, 4)), f"{prefix}relu0")
    x = relu(conv(x, f"{prefix}conv1", 8) + x, f"{prefix}relu1")
    x = mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", name=f"{prefix}pool")
    symbol = dense(mx.sym.Flatten(x), f"{prefix}fc", CLASSES)
    if softmax:
        symbol = mx.sym.SoftmaxOutput(symbol, name="softmax")
    shapes = {"softmax_label": (2,)} if softmax else {}
    return (symbol, *random_params(symbol, data=(2, 3, 32, 32), **shapes))


def write_image(path: Path, seed: int) -> None:
    """Write an image of 50 x 40 pixels, most of them of one colour."""
    rng = np.random.RandomState(seed)
    pixels = np.clip(rng.randint(0, 255, 3) + rng.randint(-40, 40, (40, 50, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A bitmap needs no encoder: rows from the bottom to the top, each filled up to a multiple of four bytes.
    rows = np.zeros((40, 152), np.uint8)
    rows[:, :150] = pixels[::-1, :, ::-1].reshape(40, 150)
    size = 54 + rows.nbytes
    head = b"BM" + np.array([size, 0, 54, 40, 50, 40], "<u4").tobytes() + np.array([1, 24], "<u2").tobytes()
    path.write_bytes(head + np.array([0, rows.nbytes, 2835, 2835, 0, 0], "<u4").tobytes() + rows.tobytes())


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything that commands read."""
    folder = tmp_path_factory.mktemp("prepared")
    symbol, args, aux = tiny_network()
    params = {"arg_params": args, "aux_params": aux}
    mx.model.save_checkpoint(str(folder / "net"), 0, symbol, args, aux)
    data = images(24, 3, 32, 32)
    np.save(folder / "calib.npy", data)
    for number in range(10):
        write_image(folder / "images" / "ab"[number % 2] / f"{number:02d}.bmp", number)
    (folder / "names.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    record = mx.recordio.MXIndexedRecordIO(str(folder / "val.idx"), str(folder / "val.rec"), "w")
    for number, path in enumerate(sorted((folder / "images").glob("*/*.bmp"))):
        header = mx.recordio.IRHeader(0, float("ab".index(path.parent.name)), number, 0)
        record.write_idx(number, mx.recordio.pack(header, path.read_bytes()))
    record.close()
    statistics = mxquant.calibrate(symbol, data, **params)
    statistics.save(folder / "stats.npz")
    mxquant.make_plan(symbol, statistics, **params).save(folder / "plan.json")
    mxquant.make_plan(symbol, statistics, target="onnx_qdq", **params).save(folder / "qdq.json")
    mxquant.quantize(symbol, data, accuracy="fast", **params).save(folder / "net-int8")
    mxquant.export_onnx(symbol, folder / "net.onnx", input_shapes=(1, 3, 32, 32), **params)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the prepared folder, which is the working folder."""
    copy = tmp_path / "work"
    shutil.copytree(str(prepared), str(copy))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("COLUMNS", "100")
    return copy


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that calls the command in this process."""

    def called(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return called


@pytest.fixture
def environment() -> Dict[str, str]:
    """Return the environment of the command in a process of its own, which finds this checkout."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
