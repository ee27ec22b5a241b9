"""``mxquant export``: ONNX in fp32 or with the int8 tensors of a plan, and calibration caches for TensorRT.

``--json``: ``files`` (a list), ``int8_layers`` (a number, 0 in fp32), ``input_shapes`` (by name).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from mxquant.cli.command import Result, command
from mxquant.cli.files import the_file
from mxquant.cli.int8 import plan_of, statistics_of
from mxquant.cli.network import NetworkOptions
from mxquant.cli.options import Common, option
from mxquant.cli.outputs import check_output
from mxquant.cli.shapes import input_shapes
from mxquant.cli.text import facts
from mxquant.errors import InputError
from mxquant.files.replacing import write_text

__all__ = ["EXAMPLES", "ExportOptions", "export"]

EXAMPLES = (
    "mxquant export -m net --input-shape 1,3,224,224 -o net.onnx",
    "mxquant plan -m net --statistics stats.npz --target onnx_qdq --dtype int8 -o qdq.json",
    "mxquant export -m net --input-shape 1,3,224,224 -o qdq.onnx --plan qdq.json",
    "mxquant export -m net --plan qdq.json --tensorrt-cache net.cache",
)


@dataclass(frozen=True)
class ExportOptions:
    """What is written."""

    out: Optional[Path] = field(
        default=None, metadata=option("--out", "-o", metavar="FILE", help="The ONNX file.", writes=the_file)
    )
    input_shape: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--input-shape",
            metavar="1,3,224,224",
            help="Shape of the input, the batch first, which stays free; NAME=SHAPE for each of several inputs.",
        ),
    )
    plan: Optional[Path] = field(
        default=None,
        metadata=option(
            "--plan", metavar="FILE", help="A plan for the target onnx_qdq. Default: write fp32.", reads=the_file
        ),
    )
    statistics: Optional[Path] = field(
        default=None,
        metadata=option(
            "--statistics",
            metavar="FILE",
            help="What the plan was made from: biases take back what rounding adds.",
            reads=the_file,
        ),
    )
    tensorrt_cache: Optional[Path] = field(
        default=None,
        metadata=option(
            "--tensorrt-cache", metavar="FILE", help="Write the thresholds of the plan for TensorRT.", writes=the_file
        ),
    )


@command
def export(network: NetworkOptions, own: ExportOptions, common: Common) -> Result:
    """Write the network as ONNX, and thresholds for TensorRT."""
    from mxquant.onnx_export.export import export_onnx
    from mxquant.plan.tables import tensorrt_cache
    from mxquant.planning.loaded import check_plan

    if own.out is None and own.tensorrt_cache is None:
        raise InputError("expected --out, --tensorrt-cache, or both, but none is given")
    if own.plan is None and (own.tensorrt_cache is not None or own.statistics is not None):
        name = "tensorrt-cache" if own.tensorrt_cache is not None else "statistics"
        raise InputError(f"--{name} needs --plan, which 'mxquant plan --target onnx_qdq' writes")
    check_output(own.out)
    check_output(own.tensorrt_cache, "--tensorrt-cache")
    net = network.load()
    plan = None if own.plan is None else plan_of(own.plan)
    statistics = None if own.statistics is None else statistics_of(net, own.statistics)
    cache = ""
    if own.tensorrt_cache is not None:
        from mxquant.model import load

        # Before anything is written: its lines cannot have all names.
        assert plan is not None
        check_plan(load(net.symbol, net.arg_params, net.aux_params), plan)
        cache = tensorrt_cache(plan)
    shapes = {}
    if own.out is not None:
        shapes = input_shapes(own.input_shape, net.inputs)
        export_onnx(net.symbol, own.out, input_shapes=shapes, plan=plan, statistics=statistics, **net.params)
    if own.tensorrt_cache is not None:
        write_text(own.tensorrt_cache, cache)
    files = [path for path in (own.out, own.tensorrt_cache) if path is not None]
    int8 = 0 if plan is None else sum(layer.precision == "int8" for layer in plan.layers.values())
    document = {"files": files, "int8_layers": int8, "input_shapes": shapes}
    kind = "fp32" if plan is None else f"{int8} of {len(plan.layers)} layers in int8"
    return Result(document, facts([("network", kind), ("wrote", ", ".join(map(str, files)))]))
