"""Detectors, segmentation, poses, video, faces and mobile networks: all multiplications in int8, outputs as in fp32."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import pytest

import mxquant
from mxquant.doctor.remedies import remedy
from mxquant.graph.heads import Heads
from mxquant.graph.passes import canonicalize
from mxquant.lowering.isa import detect, saturates
from mxquant.quantization import quantize_model
from tests.families.boxes import detections, found_again
from tests.families.small import SMALL, built
from tests.networks import forward, network_of

# What 8 bits give; EfficientNet multiplies in float32 what is rounded twice.
RIGHT_DB = 26.0
# The integer simulation is exact but for layers that are computed on real values.
SAME_DB = 40.0
# Random weights leave many scores next to one another.
LEAST_FOUND = 0.6
DETECTORS = [name for name, small in SMALL.items() if small.detects]


@pytest.fixture(scope="module")
def cache() -> Dict[str, Any]:
    return {}


def quantized(name: str, cache: Dict[str, Any], isa: Optional[str] = None) -> Tuple[Any, ...]:
    """Return a small network, its parameters, data, and its int8 form, for this CPU unless a level is given."""
    key = name, isa or detect()
    if key not in cache:
        symbol, args, aux, data = built(name)
        params = {"arg_params": args, "aux_params": aux}
        cache[key] = symbol, params, data, mxquant.quantize(symbol, data, accuracy="fast", isa=isa, **params)
    return cache[key]


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("name", SMALL)
def test_every_head_is_as_good_as_8_bits_are(name: str, isa: str, cache: Any) -> None:
    symbol, params, data, model = quantized(name, cache, isa)
    found = mxquant.compare(symbol, model, data, **params)
    assert found.int8_macs == 1.0 and found.isa == isa
    # By the simulation, which computes the same on every CPU.
    assert all(head.sqnr > RIGHT_DB for head in found.outputs), found.outputs


@pytest.mark.parametrize("name", SMALL)
def test_this_cpu_returns_what_the_simulation_of_a_plan_for_it_does(name: str, cache: Any) -> None:
    symbol, params, data, model = quantized(name, cache)
    found = mxquant.compare(symbol, model, data, **params)
    for head in found.outputs:
        assert head.int8_sqnr is not None and head.int8_sqnr > RIGHT_DB, head
        assert head.int8_simulated is not None and head.int8_simulated > SAME_DB, head
    # Where nothing saturates here, layers may still be named that would on other CPUs.
    elsewhere = [each for each in found.warnings if "on CPUs without VNNI sums of products can saturate" in each]
    assert list(found.warnings) == ([] if saturates(detect()) else elsewhere)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_keep_shape_and_type(name: str, cache: Any) -> None:
    symbol, params, data, model = quantized(name, cache)
    fp32 = forward(symbol, params["arg_params"], params["aux_params"], data=data)
    int8 = forward(model.symbol, model.arg_params, model.aux_params, data=data)
    assert model.symbol.list_outputs() == symbol.list_outputs()
    assert [(each.shape, each.dtype) for each in int8] == [(each.shape, each.dtype) for each in fp32]


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("name", SMALL)
def test_what_stays_float32_has_a_reason_with_a_remedy(name: str, isa: str, cache: Any) -> None:
    layers = quantized(name, cache, isa)[3].plan.layers.values()
    assert [layer.reason for layer in layers if layer.precision == "float32" and not remedy(layer.reason)] == []


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_is_rounded_between_the_last_convolution_and_a_decision(name: str) -> None:
    symbol, args, aux, data = built(name)
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast", mode="full")
    heads = Heads.of(canonicalize(network_of(symbol, args, aux)).network)
    float32 = {layer.name for layer in model.plan.layers.values() if layer.precision == "float32"}
    assert {edge.reader for edge in heads.edges if edge.reader} <= float32
    reasons = [layer.reason for layer in model.plan.layers.values()]
    assert any(reason.startswith("it prepares what ") for reason in reasons)


@pytest.mark.parametrize("mode", ["smart", "full"])
@pytest.mark.parametrize("name", ["SSD, anchors as parameters", "SSD, MultiBox", "YOLOv3"])
def test_int8_finds_the_boxes_of_fp32(name: str, mode: str) -> None:
    symbol, args, aux, data = built(name)
    model = quantize_model(
        symbol, args, aux, calib_data=data, calib_mode="naive", quantize_mode=mode, quantized_dtype="auto"
    )
    sides = [detections(forward(*each, data=data)) for each in ((symbol, args, aux), model)]
    found = found_again(*sides, surest=10)
    assert found.looked_for == 10 * len(data)
    assert min(found[:2]) >= LEAST_FOUND * found.looked_for, found


def test_the_default_accuracy_judges_a_detector_by_its_heads() -> None:
    symbol, args, aux, data = built("SSD, anchors as parameters")
    params = {"arg_params": args, "aux_params": aux}
    levels = {}
    for accuracy in ("fast", "balanced"):
        model = mxquant.quantize(symbol, data, accuracy=accuracy, **params)
        levels[accuracy] = min(head.sqnr for head in mxquant.compare(symbol, model, data, **params).outputs)
    assert levels["balanced"] > levels["fast"] - 1
    model = mxquant.quantize(symbol, data, accuracy="fast", metric="sqnr>=20 dB", **params)
    assert model.mixed_precision.met and model.mixed_precision.value > 20


def test_the_sensitivity_of_a_detectors_layers_is_that_of_its_heads() -> None:
    symbol, args, aux, data = built("YOLOv3")
    found = mxquant.sensitivity(symbol, data, arg_params=args, aux_params=aux)
    assert len(found.layers) > 8 and all(RIGHT_DB < row.both < 200 for row in found.layers)


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("name", ["MobileNetV3", "EfficientNet"])
def test_products_with_what_is_computed_in_float32_stay_float32(name: str, isa: str, cache: Any) -> None:
    symbol, params, data, model = quantized(name, cache, isa)
    products = [layer for layer in model.plan.layers.values() if layer.op == "elemwise_mul"]
    assert products and all(layer.reason.startswith("one of its operands is float32") for layer in products)
    full = mxquant.quantize(symbol, data, accuracy="fast", mode="full", isa=isa, **params)
    levels = [mxquant.compare(symbol, each, data, **params).outputs[0].sqnr for each in (model, full)]
    assert levels[0] > levels[1] + 1
