"""BERT, by interleaved attention and by batch_dot: its layers with weights run in int8, the rest is float32 by rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.doctor import diagnose
from mxquant.quantization import quantize_net
from mxquant.runtime.mxnet import mx
from tests.benchmark.smoothing import HEADS
from tests.benchmark.smoothing import levels as levels_of
from tests.families.text_networks import BASE, SMALL, TINY, BertSize, bert, tokens
from tests.networks import sqnr
from tests.onnx_export.runtimes import in_onnxruntime

# What 8 bits keep of the four outputs of two layers: a CPU without VNNI gives up a bit of the weights.
FLOORS = {"vnni": (33, 31, 27, 29), "avx2": (31, 29, 24, 23)}
INPUTS = ("data0", "data1", "data2")
FEW = tokens(TINY, 32, 16)
OTHERS = tokens(TINY, 16, 16, seed=9)

Arrays = Tuple[np.ndarray, ...]


def levels(net: Any, block: Any, data: Arrays) -> List[float]:
    """Return the SQNR of each head of an int8 network."""
    exact, found = (each(*map(mx.nd.array, data)) for each in (net, block))
    return [sqnr(one.asnumpy(), other.asnumpy()) for one, other in zip(exact, found)]


def simulated(net: Any, data: Arrays, **options: Any) -> List[float]:
    """Return the SQNR of each head of the simulation, which is the same on every CPU."""
    plan = mxquant.make_plan(net, mxquant.calibrate(net, [FEW]), data_names=INPUTS, **options)
    return levels(net, mxquant.lower(net, plan, target="simulate", data_names=INPUTS).as_block(), data)


def assert_at_least(found: List[float], floors: Tuple[int, ...]) -> None:
    assert len(found) == len(floors)
    low = {head: level for head, level, floor in zip(HEADS, found, floors) if level < floor}
    assert not low, low


@pytest.fixture(scope="module", params=[True, False], ids=["interleaved", "batch_dot"])
def net(request: pytest.FixtureRequest) -> Any:
    return bert(TINY, request.param)


@pytest.fixture(scope="module")
def interleaved() -> Any:
    return bert(TINY, True)


@pytest.fixture(scope="module")
def model(net: Any) -> Any:
    return mxquant.quantize(net, [FEW], accuracy="fast")


def test_every_layer_with_weights_runs_in_int8_and_nothing_else(net: Any, model: Any) -> None:
    precisions: Dict[str, set] = {}
    for layer in model.plan.layers.values():
        precisions.setdefault(layer.op, set()).add(layer.precision)
    assert {op for op, found in precisions.items() if "int8" in found} == {"FullyConnected"}
    assert precisions["FullyConnected"] == {"int8"}
    count = sum(layer.op == "FullyConnected" for layer in model.plan.layers.values())
    assert count == TINY.layers * (4 if net.interleaved else 6) + 4
    # GELU belongs to the layer before it.
    assert any(len(layer.contains) == 2 for layer in model.plan.layers.values())


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_weights_have_a_scale_for_each_channel_unless_they_would_saturate(net: Any, isa: str) -> None:
    plan = mxquant.make_plan(net, mxquant.calibrate(net, [FEW]), data_names=INPUTS, isa=isa)
    layers = [layer for layer in plan.layers.values() if layer.precision == "int8"]
    alike = [layer for layer in layers if layer.granularity == "tensor-wise"]
    assert all(layer.weight_codes == 127 for layer in layers if layer not in alike)
    assert all("one weight scale, which can be chosen" in layer.reason for layer in alike)
    assert bool(alike) == (isa == "avx2")


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_every_head_keeps_its_outputs(net: Any, isa: str) -> None:
    assert_at_least(simulated(net, OTHERS, isa=isa), FLOORS[isa])


def test_what_runs_here_is_what_the_simulation_says(net: Any) -> None:
    plan = mxquant.make_plan(net, mxquant.calibrate(net, [FEW]), data_names=INPUTS)
    blocks = [mxquant.lower(net, plan, target=t, data_names=INPUTS).as_block() for t in (None, "simulate")]
    real, same = (block(*map(mx.nd.array, OTHERS))[0].asnumpy() for block in blocks)
    # A code that falls to the other side of a half moves others further on.
    assert sqnr(same, real) > 38


@pytest.mark.parametrize("options", [{}, {"static_alloc": True, "static_shape": True}])
def test_batch_and_length_are_free(net: Any, model: Any, options: Dict[str, bool]) -> None:
    block = model.as_block()
    block.hybridize(**options)
    for count, length in ((8, 16), (3, 16), (2, 9), (1, 32), (8, 16)):
        assert_at_least(levels(net, block, tokens(TINY, count, length, seed=count)), (26, 24, 18, 20))


def test_token_ids_may_be_whole_numbers(interleaved: Any) -> None:
    ids, types, valid = FEW
    whole = mxquant.quantize(interleaved, [(ids.astype(np.int32), types.astype(np.int32), valid)], accuracy="fast")
    ids, types, valid = OTHERS
    assert_at_least(levels(interleaved, whole.as_block(), (ids, types, valid)), FLOORS["avx2"])


def test_balanced_is_no_worse_than_fast_for_the_worst_head(interleaved: Any) -> None:
    models = [mxquant.quantize(interleaved, [FEW], accuracy=accuracy) for accuracy in ("fast", "balanced")]
    worst = [min(levels(interleaved, model.as_block(), OTHERS)) for model in models]
    assert worst[1] >= worst[0] - 0.5


def test_quantize_net_does_it_too(interleaved: Any) -> None:
    ids, types, valid = (mx.nd.array(each) for each in FEW)
    dataset = mx.gluon.data.ArrayDataset(ids, types, valid, mx.nd.zeros(len(ids)))
    block = quantize_net(
        interleaved,
        calib_data=mx.gluon.data.DataLoader(dataset, batch_size=8),
        calib_mode="naive",
        quantized_dtype="auto",
    )
    assert_at_least(levels(interleaved, block, OTHERS), (29, 26, 22, 22))


def test_the_command_does_it_too(interleaved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    interleaved.hybridize()
    interleaved(*map(mx.nd.array, FEW))
    interleaved.export("bert")
    interleaved.hybridize(active=False)
    np.savez("sentences.npz", **dict(zip(INPUTS, FEW)))
    assert run(["quantize", "-m", "bert", "-d", "sentences.npz", "-o", "bert-int8", "--accuracy", "fast"]) == 0
    loaded = mxquant.load("bert-int8")
    assert loaded.inputs == INPUTS
    assert_at_least(levels(interleaved, loaded.as_block(), OTHERS), FLOORS["avx2"])


def test_the_doctor_explains_every_layer(interleaved: Any) -> None:
    found = diagnose(interleaved, [FEW], accuracy="fast", data_names=INPUTS, num_examples=8)
    for layer in found.layers:
        assert layer.reason and (layer.precision == "int8" or layer.remedy), layer.name
    attention = {layer.op: layer for layer in found.layers if "attention" in layer.name}
    scores = attention["_contrib_interleaved_matmul_selfatt_qk"]
    assert "queries, keys and values one range" in scores.reason and scores.remedy.startswith("Nothing is lost")
    assert "by rule" in attention["softmax"].remedy
    # Products of queries, keys and values count as multiplications, and are not in int8.
    assert 0.8 < found.int8_macs < 1


@pytest.mark.parametrize("int8", [False, True])
def test_onnx_runtime_computes_it(net: Any, int8: bool) -> None:
    shapes = dict(zip(INPUTS, (each.shape for each in FEW)))
    if int8:
        proto = mxquant.quantize(net, [FEW], target="onnx_qdq", accuracy="fast").proto
    else:
        proto = mxquant.export_onnx(net, input_shapes=shapes, data_names=INPUTS).proto
    exact = net(*map(mx.nd.array, OTHERS))
    found = in_onnxruntime(proto, **dict(zip(INPUTS, OTHERS)))
    floors = FLOORS["avx2"] if int8 else (100,) * 4
    assert_at_least([sqnr(one.asnumpy(), other) for one, other in zip(exact, found)], floors)


def shared(size: BertSize, count: int, length: int) -> None:
    """Quantize a BERT of some size, and look at each head."""
    large, data = bert(size), tokens(size, count, length)
    model = mxquant.quantize(large, [tuple(each[:-4] for each in data)], accuracy="fast")
    assert_at_least(levels(large, model.as_block(), tuple(each[-4:] for each in data)), (20, 20, 15, 15))


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, BASE], ids=["small", "base"])
def test_larger_ones_do_too(size: BertSize) -> None:
    shared(size, 12, 64)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_smoothing_saves_a_bert_with_outlier_channels(isa: str) -> None:
    without, with_it = (levels_of(50, isa, smoothing) for smoothing in (False, True))
    for head in HEADS:
        assert with_it[head] >= max(without[head] + 15, 30), head
