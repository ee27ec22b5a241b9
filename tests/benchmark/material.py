"""What the tools of the accuracy benchmark are given: images, and every network as MXNet and as ONNX."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from mxquant import export_onnx
from mxquant.runtime.mxnet import mx
from tests import networks

sys.path.insert(0, str(Path(__file__).parents[2] / "example"))

import efficientnet_lite0
from imagenet_data import Preprocessing, embedded

__all__ = ["LITE0", "NETWORKS", "lite0", "prepare"]

LITE0 = "efficientnet_lite0"
NETWORKS = (LITE0, "resnet18_v1", "resnet50_v1", "mobilenetv2_1.0")
CALIBRATION = 10
HERE = Path(__file__).parent


def prepare(names: Sequence[str], folder: Path, peers_python: str, crops: int) -> None:
    """Write networks and images into a folder.

    Parameters
    ----------
    names : sequence of str
        Some of :data:`NETWORKS`.
    folder : Path
        Gets data.npz, crops.npz unless `crops` is 0, and for each network NAME-symbol.json, NAME-0000.params,
        NAME.onnx, and MXNet's fp32 logits of the evaluation images as NAME-fp32.npy.
    peers_python : str
        Interpreter of the peers' environment.
    crops : int
        Crops per photograph.
    """
    images = embedded(Preprocessing(mean=(127,) * 3, std=(128,) * 3)).images
    calibration, evaluation = images[:CALIBRATION], images[CALIBRATION:]
    np.savez(folder / "data.npz", calibration=calibration, evaluation=evaluation)
    if crops and LITE0 in names:
        photos = _photos()[CALIBRATION:]
        command = [str(HERE / "crops.py"), "--out", str(folder / "crops.npz"), "--per-photo", str(crops), *photos]
        subprocess.run([peers_python, *command], check=True)
    for name in names:
        net = lite0() if name == LITE0 else networks.zoo_network(name, evaluation)
        prefix = folder / name
        mx.model.save_checkpoint(str(prefix), 0, *net)
        np.save(f"{prefix}-fp32.npy", networks.forward(*net, data=evaluation)[0])
        symbol, args, aux = net
        export_onnx(symbol, f"{prefix}.onnx", input_shapes=evaluation.shape, arg_params=args, aux_params=aux)


def _photos() -> Sequence[str]:
    spec = find_spec("foolbox")
    assert spec and spec.submodule_search_locations
    return [str(path) for path in sorted(Path(spec.submodule_search_locations[0], "data").glob("imagenet_*_*.jpg"))]


def lite0() -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
    block = efficientnet_lite0.load()
    symbol = block(mx.sym.var("data"))
    values = {name: parameter.data() for name, parameter in block.collect_params().items()}
    aux = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    return symbol, values, aux
