"""Inputs and outputs of an int8 network are what and where they were in fp32, also after save and load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

import mxquant
from mxquant import InputError, PlanError
from mxquant import model as models
from mxquant.runtime.mxnet import mx
from tests.networks import images, own, sqnr

nn = mx.gluon.nn


def block_of(forward: Any) -> Any:
    """Return a block of two layers, ``a`` and ``b``, that computes `forward`."""

    class Block(mx.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.a = nn.Dense(8)
                self.b = nn.Dense(8)

        hybrid_forward = forward

    mx.random.seed(0)
    block = Block()
    block.initialize(mx.init.Xavier(magnitude=2.24))
    return block


def differ(self: Any, F: Any, x: Any, y: Any) -> Any:
    # The graph reaches y first.
    return self.b(y) - 2 * self.a(x)


def split_and_more(self: Any, F: Any, x: Any) -> Any:
    return F.split(self.a(x), 2, axis=1), self.b(x)


def split_alone(self: Any, F: Any, x: Any) -> Any:
    return F.split(self.a(x), 4, axis=1)


def scores_and_places(self: Any, F: Any, x: Any) -> Any:
    scores = self.a(x)
    return F.topk(scores, k=2, ret_typ="both"), self.b(x), scores


def in_depth(self: Any, F: Any, x: Any) -> Any:
    return [[self.a(x)], [F.split(self.b(x), 2, axis=1), [self.a(x) + 1]]]


def one_in_a_list(self: Any, F: Any, x: Any) -> Any:
    return [self.a(x)]


def lists_in_a_list(self: Any, F: Any, x: Any) -> Any:
    return [[self.a(x), self.b(x)]]


def masked(self: Any, F: Any, x: Any, mask: Any = None) -> Any:
    y = self.a(x)
    return y if mask is None else F.broadcast_mul(y, mask)


def without_second(self: Any, F: Any, x: Any, z: Any) -> Any:
    return self.a(x)


def without_first(self: Any, F: Any, z: Any, x: Any) -> Any:
    return self.a(x)


def with_loss(self: Any, F: Any, x: Any, label: Any = None) -> Any:
    y = self.a(x)
    return y if label is None else F.broadcast_sub(y, label)


def shapes_of(found: Any) -> Any:
    return [shapes_of(each) for each in found] if isinstance(found, (list, tuple)) else found.shape


def flat(found: Any) -> List[Any]:
    return [x for each in found for x in flat(each)] if isinstance(found, (list, tuple)) else [found.asnumpy()]


def saved_and_loaded(model: Any, folder: Path) -> Any:
    model.save(folder / "int8")
    return mxquant.load(folder / "int8")


def data(rows: int = 16, seed: int = 0) -> Any:
    return images(rows, 12, seed=seed)


def test_inputs_keep_their_order(tmp_path: Path) -> None:
    block, x, y = block_of(differ), data(), data(seed=1)
    expected = block(mx.nd.array(x), mx.nd.array(y)).asnumpy()
    model = mxquant.quantize(block, [(x, y)], accuracy="fast")
    for each in (model, saved_and_loaded(model, tmp_path)):
        assert each.inputs == ("data0", "data1")
        assert sqnr(expected, each.as_block()(mx.nd.array(x), mx.nd.array(y)).asnumpy()) >= 35


def test_inputs_of_a_symbol_keep_the_order_of_data_names(tmp_path: Path) -> None:
    image, mask = mx.sym.var("image"), mx.sym.var("mask")
    layers = [mx.sym.FullyConnected(each, num_hidden=5, no_bias=True, name=f"f{each.name}") for each in (mask, image)]
    args = {f"f{name}_weight": mx.nd.array(images(5, 12, seed=seed)) for seed, name in enumerate(("mask", "image"))}
    x, y, names = data(), data(seed=1), ["image", "mask"]
    model = mxquant.quantize(
        layers[0] - 2 * layers[1], [(x, y)], arg_params=args, accuracy="fast", data_names=names, method="minmax"
    )
    expected = y @ args["fmask_weight"].asnumpy().T - 2 * (x @ args["fimage_weight"].asnumpy().T)
    loaded = saved_and_loaded(model, tmp_path)
    assert loaded.inputs == ("image", "mask")
    assert sqnr(expected, loaded.as_block()(mx.nd.array(x), mx.nd.array(y)).asnumpy()) >= 35


@pytest.mark.parametrize(
    "forward",
    [split_and_more, split_alone, scores_and_places, in_depth, one_in_a_list, lists_in_a_list],
    ids=lambda each: each.__name__,
)
def test_outputs_stay_what_and_where_they_were(forward: Any, tmp_path: Path) -> None:
    block, x = block_of(forward), data()
    expected = block(mx.nd.array(x))
    model = mxquant.quantize(block, x, accuracy="fast")
    for each in (model, saved_and_loaded(model, tmp_path)):
        int8 = each.as_block()
        for _ in range(2):
            found = int8(mx.nd.array(x))
            assert shapes_of(found) == shapes_of(expected)
            values = [*zip(flat(expected), flat(found))]
            if forward is scores_and_places:
                places = values.pop(1)
                assert (places[0] == places[1]).mean() >= 0.9
            assert min(sqnr(*pair) for pair in values) >= 30
            int8.hybridize(static_alloc=True, static_shape=True)


def test_an_output_that_is_none_is_named() -> None:
    block = block_of(lambda self, F, x: (self.a(x), None))
    with pytest.raises(InputError, match="output number 1 is NoneType, expected a Symbol"):
        models.load(block, example=[data()])


def test_a_second_input_is_no_label_where_the_block_takes_it(tmp_path: Path) -> None:
    block, x, mask = block_of(masked), data(), (images(16, 8, seed=5) > 0).astype(np.float32)
    expected = block(mx.nd.array(x), mx.nd.array(mask)).asnumpy()
    model = mxquant.quantize(block, [(x, mask)], accuracy="fast")
    assert model.inputs == ("data0", "data1")
    assert sqnr(expected, model.as_block()(mx.nd.array(x), mx.nd.array(mask)).asnumpy()) >= 35
    alone = mxquant.quantize(block, x, accuracy="fast")
    assert alone.inputs == ("data",)
    assert sqnr(block(mx.nd.array(x)).asnumpy(), alone.as_block()(mx.nd.array(x)).asnumpy()) >= 35


@pytest.mark.parametrize("forward", [masked, with_loss], ids=lambda each: each.__name__)
def test_what_is_no_input_by_its_shape_or_by_its_name_is_a_label(forward: Any) -> None:
    labels = np.zeros(16 if forward is masked else (16, 1), np.float32)
    for block in (block_of(forward), block_of(forward)):
        assert models.load(block, example=[data(), labels]).inputs == ("data",)


@pytest.mark.parametrize("forward", [without_first, without_second], ids=lambda each: each.__name__)
@pytest.mark.filterwarnings("ignore:The .* input to HybridBlock is not used", "ignore:Parameter .* is not used")
def test_an_input_that_nothing_reads_stays_one(forward: Any, tmp_path: Path) -> None:
    block, x, z = block_of(forward), data(), images(16, 3)
    given = (z, x) if forward is without_first else (x, z)
    arrays = [mx.nd.array(each) for each in given]
    expected = block(*arrays).asnumpy()
    batches = [tuple(each[:8] for each in given), tuple(each[8:] for each in given)]
    model = mxquant.quantize(block, batches)
    for each in (model, saved_and_loaded(model, tmp_path)):
        assert each.inputs == ("data0", "data1")
        int8 = each.as_block()
        int8.hybridize()
        assert sqnr(expected, int8(*arrays).asnumpy()) >= 35
    comparison = mxquant.compare(block, model, batches)
    assert comparison.outputs[0].sqnr >= 35
    assert mxquant.sensitivity(block, batches).all >= 35
    onnx = mxquant.quantize(block, batches, accuracy="fast", target="onnx_qdq")
    read = "data1" if forward is without_first else "data0"
    assert [each.name for each in onnx.proto.graph.input] == [read]


def test_a_layer_that_nothing_uses_needs_no_value() -> None:
    block, x = block_of(lambda self, F, x: self.a(x)), data()
    expected = block(mx.nd.array(x)).asnumpy()
    assert block.b.weight._data is None
    model = mxquant.quantize(block, x, accuracy="fast")
    assert own(model.arg_params) == {block.a.weight.name, block.a.bias.name}
    assert sqnr(expected, model.as_block()(mx.nd.array(x)).asnumpy()) >= 35


def test_an_edited_plan_without_them_leaves_the_order_of_the_symbol(tmp_path: Path) -> None:
    model = mxquant.quantize(block_of(differ), [(data(), data(seed=1))], accuracy="fast")
    model.save(tmp_path / "int8")
    model.plan.save(tmp_path / "int8-plan.json")
    with pytest.warns(UserWarning, match="not verified"):
        assert mxquant.load(tmp_path / "int8").inputs == ("data1", "data0")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("inputs", "data0", "inputs is 'data0', expected a list of different names"),
        ("inputs", ["data0", "data0"], "expected a list of different names"),
        ("inputs", ["data0", 1], "expected a list of different names"),
        ("outputs", [0, 1], "outputs is .* expected the numbers from 0 to 2 in order"),
        ("outputs", [0, [2, 1]], "outputs is .* expected the numbers from 0 to 2 in order"),
        ("outputs", [0, 1, "2"], "outputs is"),
        ("outputs", {"0": 1}, "outputs is"),
    ],
)
def test_what_a_damaged_plan_says_of_them_is_refused(field: str, value: Any, message: str, tmp_path: Path) -> None:
    model = mxquant.quantize(block_of(split_and_more), data(), accuracy="fast")
    model.save(tmp_path / "int8")
    path = tmp_path / "int8-plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(PlanError, match=message):
        mxquant.load(tmp_path / "int8")


def test_a_parameter_is_no_input(tmp_path: Path) -> None:
    model = mxquant.quantize(block_of(split_alone), data(), accuracy="fast")
    model.save(tmp_path / "int8")
    path, name = tmp_path / "int8-plan.json", next(iter(model.arg_params))
    path.write_text(json.dumps({**json.loads(path.read_text()), "inputs": ["data", name]}))
    with pytest.raises(PlanError, match=f"inputs has '{name}', which is a parameter"):
        mxquant.load(tmp_path / "int8")


@pytest.mark.parametrize("names", ["data", ("data",), ["data"]])
def test_one_name_may_stand_by_itself(names: Any) -> None:
    assert models.load(block_of(split_alone), data_names=names, example=[data()]).inputs == ("data",)


@pytest.mark.parametrize("names", [3, ["data", 3], ["data", "data"]])
def test_what_are_no_names_is_told(names: Any) -> None:
    with pytest.raises(InputError, match="data_names"):
        models.load(block_of(split_alone), data_names=names, example=[data()])
