"""A network that decides is judged at what it decides by, and told fp32's decisions."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from mxquant.analysis.judge import Judge
from mxquant.errors import GraphError
from mxquant.graph import Network
from mxquant.graph.heads import Heads, decides
from mxquant.graph.passes import canonicalize
from mxquant.runtime.forward import at_heads, outputs
from mxquant.runtime.mxnet import mx
from tests.families.small import SMALL, built
from tests.networks import conv, dense, images, network_of, random_params


def network(symbol: Any, *shape: int) -> Network:
    return canonicalize(network_of(symbol, *random_params(symbol, data=shape))).network


def names(symbol: Any, *shape: int) -> List[str]:
    return [tensor.name for tensor in Heads.of(network(symbol, *shape)).tensors]


DATA = mx.sym.var("data")


def scores() -> Any:
    return dense(DATA, "score", 6)


def test_a_network_that_decides_nothing_is_judged_at_its_outputs() -> None:
    score = scores()
    found = network(mx.sym.Group([score, mx.sym.softmax(score)]), 2, 4)
    heads = Heads.of(found)
    assert heads.tensors == tuple(found.graph.outputs) and not heads.decisions
    assert heads.judged(found) is found and heads.undecided(found) is found


@pytest.mark.parametrize(
    "decided",
    [
        lambda x: mx.sym.argmax(x, axis=1),
        lambda x: mx.sym.topk(x, k=2),
        lambda x: mx.sym.topk(x, k=2, ret_typ="both")[0],
        lambda x: mx.sym.argsort(x),
        lambda x: x > 0.5,
        lambda x: mx.sym.broadcast_equal(x, mx.sym.ones_like(x)),
        lambda x: mx.sym.topk(mx.sym.Reshape(mx.sym.expand_dims(x, axis=1), shape=(0, -1)), k=2),
    ],
)
def test_what_is_decided_by_is_the_head(decided: Any) -> None:
    assert names(decided(scores()), 2, 4) == ["score_output"]


def test_the_largest_values_are_no_decision() -> None:
    assert names(mx.sym.topk(scores(), k=2, ret_typ="value", name="largest"), 2, 4) == ["largest_output0"]


def test_what_is_decided_by_the_input_alone_is_the_same_in_int8() -> None:
    mask = mx.sym.broadcast_greater(DATA, mx.sym.zeros_like(DATA))
    heads = Heads.of(network(mx.sym.broadcast_mul(dense(DATA, "f", 4), mask, name="masked"), 2, 4))
    assert [tensor.name for tensor in heads.tensors] == ["masked_output"] and not heads.decisions


def test_parts_of_a_tensor_are_heads_of_their_own() -> None:
    turned = mx.sym.transpose(mx.sym.transpose(dense(DATA, "b", 3)))
    joined = mx.sym.Concat(dense(DATA, "a", 2), turned, dim=1)
    assert names(mx.sym.argmax(joined, axis=1), 2, 4) == ["a_output", "b_output"]


def test_constants_are_no_heads() -> None:
    anchors = mx.sym.zeros_like(DATA)
    assert names(mx.sym.argmax(mx.sym.Concat(scores(), anchors, dim=1), axis=1), 2, 4) == ["score_output"]


def parts(symbol: Any) -> List[str]:
    return [tensor.name for tensor in Heads.of(network(symbol, 2, 4), parts=True).tensors]


def test_outputs_are_taken_apart_to_choose_by() -> None:
    boxes, probabilities = dense(DATA, "boxes", 4), mx.sym.sigmoid(scores(), name="likely")
    joined = mx.sym.transpose(mx.sym.Concat(mx.sym.relu(boxes, name="sizes"), probabilities, dim=1))
    assert parts(joined) == ["sizes_output", "likely_output"]
    assert names(joined, 2, 4) == [joined.name + "_output"]


@pytest.mark.parametrize("softmax", [mx.sym.softmax, mx.sym.SoftmaxActivation, mx.sym.SoftmaxOutput])
def test_classes_are_judged_before_their_softmax_to_choose_by(softmax: Any) -> None:
    assert parts(softmax(scores())) == ["score_output"]


def test_what_is_sorted_by_is_judged_as_it_is_sorted() -> None:
    likely = mx.sym.softmax(scores(), name="likely")
    assert parts(mx.sym.topk(likely, k=2)) == ["likely_output"]


def test_parts_that_are_there_twice_or_no_result_of_a_layer_are_judged_once_and_as_they_are() -> None:
    score = scores()
    root = mx.sym.sqrt(mx.sym.abs(DATA), name="root")
    found = network(mx.sym.Group([mx.sym.relu(score, name="r"), score, mx.sym.stack(score, score), root]), 2, 4)
    judge = Judge(found, {"data": images(2, 4)}, parts=True)
    assert [tensor.name for tensor in judge.heads.tensors] == ["r_output", "score_output", "root_output"]
    assert judge.level_of(found) == 120


def test_what_reads_a_decision_is_given_that_of_fp32() -> None:
    score = scores()
    mask = score > 0.3
    symbol = dense(score * mask, "f", 4)
    found = network(symbol, 2, 4)
    heads = Heads.of(found)
    assert [tensor.name for tensor in heads.decisions] == [mask.name + "_output"]
    data = {"data": images(2, 4)}
    expected, given = at_heads(found, heads, data)
    judged = heads.judged(found)
    assert {node.name for node in judged.inputs} == set(given) == {"data", f"{mask.name}_output"}
    for one, other in zip(expected, outputs(judged, given)):
        np.testing.assert_array_equal(one, other)
    # With weights that let other scores pass, the mask is still that of fp32.
    moved = Network(found.graph, {**found.params, "score_bias": found.params["score_bias"] + 1})
    changed = outputs(heads.judged(moved), given)[-1]
    by_hand = outputs(Network(found.graph, moved.params), data)[-1]
    assert not np.array_equal(changed, by_hand)


@pytest.mark.parametrize("name", [name for name in SMALL if SMALL[name].detects])
def test_detectors_have_heads_for_which_fp32_is_itself(name: str) -> None:
    symbol, args, aux, data = built(name)
    found = canonicalize(network_of(symbol, args, aux)).network
    heads = Heads.of(found)
    assert not any(decides(tensor.node) for tensor in heads.tensors)
    judge = Judge(found, {"data": data})
    assert judge.level_of(found) == float("inf") and all(
        np.isfinite(each).all() for part in judge.expected for each in part
    )


def test_a_network_without_the_deciding_layer_is_refused() -> None:
    found = network(mx.sym.argmax(conv(DATA, "c", 4), axis=1), 2, 3, 4, 4)
    heads = Heads.of(found)
    other = network(mx.sym.max(conv(DATA, "c", 4), axis=1), 2, 3, 4, 4)
    with pytest.raises(
        GraphError, match="layer 'argmax[0-9]+', which decides or prepares a decision, is not in float32"
    ):
        heads.judged(other)
