"""Sound files of every format that mxquant reads, of one small network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Tuple

import cv2
import numpy as np
import onnx

import mxquant
from mxquant.plan import tables
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

SIDE = 16
DATA = images(2, 3, SIDE, SIDE)


def network() -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
    """Return a network with a BatchNorm, a residual addition, pooling, concatenation and a FullyConnected."""
    # Else what MXNet names would be named otherwise each time within a process.
    with mx.name.NameManager():
        data = mx.sym.var("data")
        first = relu(mx.sym.BatchNorm(conv(data, "conv1", no_bias=True), name="bn1", fix_gamma=False), "relu1")
        second = relu(conv(first, "conv2") + first, "relu2")
        pooled = mx.sym.Pooling(second, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
        joined = mx.sym.concat(pooled, conv(pooled, "conv3", num_group=2), dim=1, name="concat")
        symbol = mx.sym.softmax(dense(joined, "fc"), name="softmax")
    return (symbol, *random_params(symbol, data=DATA.shape))


def write_material(folder: Path) -> None:
    """Write a file of each format into a folder."""
    symbol, args, aux = network()
    params = {"arg_params": args, "aux_params": aux}
    mx.model.save_checkpoint(str(folder / "net"), 0, symbol, args, aux)
    _write_old_symbol(folder)
    statistics = mxquant.calibrate(symbol, DATA, **params)
    statistics.save(folder / "statistics.npz")
    model = mxquant.quantize(symbol, DATA, statistics=statistics, accuracy="fast", **params)
    model.save(folder / "int8")
    model.save(folder / "compact", compact=True)
    model.plan.save(folder / "plan.json")
    tables.write_tensorrt_cache(folder / "tensorrt.cache", model.plan)
    tables.write_onnxruntime_table(folder / "calibration.json", model.plan)
    exported = mxquant.export_onnx(symbol, folder / "net.onnx", input_shapes=DATA.shape, **params)
    onnx.save(
        exported.proto,
        str(folder / "external.onnx"),
        save_as_external_data=True,
        location="external.bin",
        size_threshold=0,
    )
    _write_images(folder)
    np.save(folder / "data.npy", DATA)
    np.savez_compressed(folder / "data.npz", data=DATA)


def _write_old_symbol(folder: Path) -> None:
    """Write the symbol as MXNet before 1.0 did."""
    document = json.loads((folder / "net-symbol.json").read_text())
    for node in document["nodes"]:
        node["attr"] = node.pop("attrs", {})
    document["attrs"] = {"mxnet_version": ["int", 904]}
    (folder / "old-symbol.json").write_text(json.dumps(document))


def _write_images(folder: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (24, 20, 3)).astype(np.uint8)
    for suffix in ("jpg", "png", "bmp", "webp", "tif"):
        cv2.imwrite(str(folder / f"image.{suffix}"), pixels)
    record = mx.recordio.MXRecordIO(str(folder / "images.rec"), "w")
    for number in range(3):
        label = np.float32([number, 1.0]) if number == 2 else float(number)
        record.write(mx.recordio.pack_img(mx.recordio.IRHeader(0, label, number, 0), pixels, img_fmt=".jpg"))
    record.close()
