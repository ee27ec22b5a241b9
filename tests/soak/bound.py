"""How far an int8 network may be from fp32, as predicted without mxquant's own arithmetic.

Every int8 tensor of the plan gets an error of up to half a step, where a value is not 0::

    step = M / codes      M its largest magnitude on the data, or the plan's threshold where tensors share a range
    step = R / 255        for a tensor of negative values with a zero point, R the length of its range with 0

and the weights of int8 layers are rounded by NumPy. The float32 network with that carries the errors to its outputs.
Errors are drawn in two ways, since both occur: each value by itself, and a whole tensor to one side. In one more trial
values are rounded to whole steps: what becomes 0 has another sign, which some operators make much of. The bound is the
largest energy and the largest single error of the trials, with margins that :mod:`tests.soak.check` states. Where a
threshold clips, the tensor is clipped too; that thresholds are sensible is checked beside it.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import numpy as np

from mxquant.graph import Network, Node, Tensor
from mxquant.graph.barriers import runnable
from mxquant.lowering.planned_weights import planned_weights
from mxquant.lowering.quantized_params import SMALLEST_STEP
from mxquant.plan import LayerPlan, QuantPlan, TensorPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, split_params, symbol_of

__all__ = ["Bound", "Prediction", "is_affine", "predict"]

_TRIALS = 3
_LINEAR = ("Convolution", "FullyConnected")
Arrays = Mapping[str, np.ndarray]


class Bound(NamedTuple):
    """Of one output: the sum of squared errors, and the largest error."""

    energy: float
    peak: float


class Prediction(NamedTuple):
    """What is to be expected.

    Parameters
    ----------
    bounds : list of Bound
        One for each output.
    tensors : mapping of str to numpy.ndarray
        Values in float32 of the tensors that the plan has in int8.
    """

    bounds: List[Bound]
    tensors: Arrays


def predict(network: Network, plan: QuantPlan, inputs: Arrays, seed: int, clipped: bool = False) -> Prediction:
    """Return how far the int8 network of a plan may be from the canonical fp32 network, on some inputs.

    With `clipped` no value may be beyond its threshold, even where codes are left for it.
    """
    exact = network.copy()
    names = _planned(exact, plan)
    outputs = len(exact.graph.outputs)
    exact.graph.outputs += [tensor for tensor in names]
    values = _run(exact, inputs)
    tensors = {tensor.name: value for tensor, value in zip(names, values[outputs:])}
    settled = planned_weights(network, plan)
    noisy, rounded = (_Noisy(settled.copy(), plan, tensors, clipped, rounds) for rounds in (False, True))
    random = np.random.RandomState(seed)
    trials = [trial for _ in range(_TRIALS) for trial in noisy.run(inputs, random)]
    trials.append(next(rounded.run(inputs, random)))
    bounds = []
    for slot, value in enumerate(values[:outputs]):
        errors = [_difference(trial[slot], value) for trial in trials]
        bounds.append(Bound(max(float(np.square(e).sum()) for e in errors), max(float(e.max()) for e in errors)))
    return Prediction(bounds, tensors)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(np.float64) - b.astype(np.float64))


def _planned(network: Network, plan: QuantPlan) -> List[Tensor]:
    """Return the tensors of a network that are int8 by a plan."""
    found: Dict[Tensor, None] = {}
    for node in network.graph.nodes:
        for tensor in [*node.inputs, Tensor(node, 0)]:
            each = plan.tensors.get(tensor.name)
            if each is not None and each.dtype != "float32":
                found[tensor] = None
    return list(found)


def _run(network: Network, inputs: Arrays) -> List[np.ndarray]:
    symbol = symbol_of(runnable(network.graph))
    args, aux = split_params(network, symbol)
    known = {name: value.shape for name, value in inputs.items()}
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape_partial(**known)[0]))
    free = [name for name in shapes if name not in args]
    given = {name: mx.nd.array(inputs[name]) if name in inputs else mx.nd.zeros(shapes[name]) for name in free}
    with environment(MXNET_SUBGRAPH_BACKEND="NONE"):
        executor = symbol.bind(mx.cpu(), {**args, **given}, aux_states=aux, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def is_affine(plan: TensorPlan) -> bool:
    """Whether a tensor has negative values, and a zero point that is not 0."""
    return plan.zero_point != 0 and not plan.begins_at_zero


def _of_mxnet(rows: np.ndarray, largest: np.ndarray, codes: int) -> np.ndarray:
    """Round weights as MXNet does where it quantizes them: a range is 127.5 codes, or half as many; in float32."""
    scales = np.float32(127.5) / largest.astype(np.float32)
    low, high, halves = (-128, 127, 1) if codes == 127 else (-64, 64, 2)
    stored = np.clip(np.rint(rows.astype(np.float32) * scales / halves), low, high)
    return stored * largest / 127.5 * halves


class _Noisy:
    """A float32 network with an error added to each tensor that a plan has in int8."""

    def __init__(self, network: Network, plan: QuantPlan, tensors: Arrays, clipped: bool, rounds: bool) -> None:
        self.tensors, self.plan, self.clipped, self.rounds = tensors, plan, clipped, rounds
        self.params = dict(network.params)
        self.steps: Dict[str, Tuple[Any, Tuple[int, ...]]] = {}
        self.layers = {name: layer for layer in plan.layers.values() for name in layer.contains}
        for node in network.graph.operators:
            layer = self.layers[node.layers[0]]
            if node.op in _LINEAR and layer.precision == "int8":
                self._round_weights(node, layer)
        # Variables that stand for rounded weights, and errors, come before the nodes that read them.
        self.graph = network.graph
        for tensor in _planned(network, plan):
            self._add_error(tensor, plan.tensors[tensor.name])
        self.graph.prune()

    def _round_weights(self, node: Node, layer: LayerPlan) -> None:
        for slot, tensor in reversed(list(enumerate(node.inputs[1:], start=1))):
            values = self.params[tensor.node.name].astype(np.float64)
            rows = values.reshape(len(values) if layer.granularity == "channel-wise" else 1, -1)
            if slot == 2 and (node.op == "Convolution" or layer.granularity == "channel-wise"):
                self._round_bias(node, values)
                continue
            codes = (layer.weight_codes or 127) if slot == 1 else 127
            largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-30)
            own = self.plan.target != "cudnn" and (node.op == "Convolution" or layer.granularity == "channel-wise")
            rounded = _of_mxnet(rows, largest, codes) if own else np.rint(rows / largest * codes) * largest / codes
            twin = Node("null", f"{node.name} {slot} rounded")
            self.params[twin.name] = rounded.reshape(values.shape).astype(np.float32)
            node.inputs[slot] = twin.output

    def _round_bias(self, node: Node, bias: np.ndarray) -> None:
        """Let a bias be wrong by up to a unit of the sums, the step of data times that of weights."""
        data, weight = (tensor.name for tensor in node.inputs[:2])
        largest = np.abs(self.params[weight].reshape(len(bias), -1)).max(axis=1)
        empty = largest == 0
        # A tensor of zeros may have any threshold.
        end = float(np.abs(self.tensors[data]).max()) or self.plan.tensors[data].threshold or 1.0
        unit = end / 127 * largest.astype(np.float64) / 127
        # Without weights the step of a channel is fixed; rounding to large whole units loses at most the bias.
        unit[empty] = np.minimum(end / 127 * SMALLEST_STEP, np.abs(bias[empty]))
        error = Node("null", f"{node.name} bias error")
        self.steps[error.name] = (2 * unit, bias.shape)
        node.inputs[2] = Node("elemwise_add", f"{node.name} bias wrong", {}, [node.inputs[2], error.output]).output

    def _add_error(self, tensor: Tensor, plan: TensorPlan) -> None:
        values = self.tensors[tensor.name]
        shared = plan.threshold is not None and (plan.group is not None or plan.method in ("inherited", "weights"))
        largest = plan.threshold if shared else float(np.abs(values).max())
        assert largest is not None
        step = largest / (plan.codes or 127)
        if not shared and is_affine(plan):
            step = float(max(values.max(), 0) - min(values.min(), 0)) / 255
        first, wrong = self._rounded(tensor, step) if self.rounds and step else self._drawn(tensor, step, values.shape)
        last = wrong
        if plan.threshold is not None:
            # Where fewer codes are used than there are, values beyond the threshold have codes too.
            more = plan.dtype == "uint8" and plan.codes not in (None, 127) and not self.clipped
            beyond = 255 / (plan.codes or 255) if more else 1.0
            end = plan.threshold * beyond + step / 2
            low = plan.ends[0] * (plan.scale or 0.0) - step / 2 if is_affine(plan) else -end
            ends = {"a_min": f"{low:.9g}", "a_max": f"{end:.9g}"}
            last = Node("clip", f"{tensor.name} clipped", ends, [wrong.output])
        uses = self.graph.uses().get(tensor, [])
        made_in_int8 = self._is_int8(tensor.node)
        for use in uses:
            # What is made in float32 is read as it is by float32, and returned as it is.
            if not (made_in_int8 or (use.node is not None and self._is_int8(use.node))):
                continue
            if use.node is None:
                self.graph.outputs[use.slot] = last.output
            elif use.node not in (first, wrong):
                use.node.inputs[use.slot] = last.output

    def _drawn(self, tensor: Tensor, step: float, shape: Tuple[int, ...]) -> Tuple[Node, Node]:
        """Return the first and the last of the nodes that add an error to a tensor, where it is not 0."""
        error = Node("null", f"{tensor.name} error")
        self.steps[error.name] = (step, shape)
        present = Node("_not_equal_scalar", f"{tensor.name} present", {"scalar": "0"}, [tensor])
        masked = Node("elemwise_mul", f"{tensor.name} masked", {}, [error.output, present.output])
        return present, Node("elemwise_add", f"{tensor.name} wrong", {}, [tensor, masked.output])

    def _rounded(self, tensor: Tensor, step: float) -> Tuple[Node, Node]:
        """Return the first and the last of the nodes that round a tensor to whole steps."""
        codes = Node("_div_scalar", f"{tensor.name} scaled", {"scalar": f"{step:.9g}"}, [tensor])
        whole = Node("rint", f"{tensor.name} whole", {}, [codes.output])
        return codes, Node("_mul_scalar", f"{tensor.name} wrong", {"scalar": f"{step:.9g}"}, [whole.output])

    def _is_int8(self, node: Node) -> bool:
        layer = None if node.is_variable else self.layers.get(node.layers[0])
        return layer is not None and layer.precision == "int8"

    def run(self, inputs: Arrays, random: np.random.RandomState) -> Iterator[List[np.ndarray]]:
        """Yield the outputs with errors of single values, then of whole tensors to one side, then to the other."""
        draws = [random.uniform(-0.5, 0.5, shape) for _, shape in self.steps.values()]
        sides = [np.full(shape, random.choice([-0.5, 0.5])) for _, shape in self.steps.values()]
        for drawn in (draws, sides, [-side for side in sides]):
            errors = {
                name: (value * step).astype(np.float32) for (name, (step, _)), value in zip(self.steps.items(), drawn)
            }
            yield _run(Network(self.graph, {**self.params, **errors}), inputs)
