"""An LSTM in MXNet's int8 operator, with scales of its own for data and state.

``_contrib_quantized_rnn`` takes uint8 data and one scale s and zero point z for data and state alike. Data that are
quantized by another scale s_x and zero point z_x are, to the operator, other data::

    x' = (q - z) / s = (s_x x + z_x - z) / s

It computes the same from them with W' = W s / s_x, and a bias that is less by W' (z_x - z) / s; see
:mod:`mxquant.plan.recurrent_plan` for the codes. W' is taken as the int8 operator rounds it, so that what data of 0
contribute is exactly 0. The operator itself quantizes weights when it first runs: per row of both weights, and of both
directions, by 127 / largest magnitude, halves to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Protocol, Sequence

import numpy as np

from mxquant.errors import PlanError
from mxquant.graph import Node, Tensor
from mxquant.graph.packed_recurrent import Direction, pack, rows_of, unpack
from mxquant.lowering.target import RECURRENT
from mxquant.plan import LayerPlan
from mxquant.plan.recurrent_plan import RecurrentPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AddRecurrent",
    "Emitter",
    "original_parameters",
    "parameters_name",
    "recurrent_plan",
    "rescaled_parameters",
]


class Emitter(Protocol):
    """What adds nodes and parameters to a graph in the making."""

    def add(self, op: str, name: str, attrs: Mapping[str, str], inputs: Sequence[Tensor], num_outputs: int) -> Node:
        """Append a node."""

    def add_parameter(self, name: str, value: NDArray[Any]) -> Tensor:
        """Append a variable with a value."""


def recurrent_plan(layer: LayerPlan) -> RecurrentPlan:
    """Return the codes of an int8 LSTM; raise PlanError where its layer has none."""
    if layer.recurrent is None:
        raise PlanError(f"layers['{layer.name}'].recurrent is null, but an int8 LSTM has codes of its own")
    return layer.recurrent


@dataclass(frozen=True)
class AddRecurrent:
    """Appends an int8 LSTM to a graph.

    Parameters
    ----------
    emit : Emitter
        The graph in the making.
    name, result : str
        Names of the int8 operator, and of what returns its result.
    node : Node
        The fp32 LSTM, of one layer.
    plan : RecurrentPlan
        Its codes.
    """

    emit: Emitter
    name: str
    result: str
    node: Node
    plan: RecurrentPlan

    def __call__(
        self, reals: Sequence[Tensor], parameters: NDArray[Any], read: Sequence[Tensor]
    ) -> Dict[Tensor, Tensor]:
        """Append it.

        Parameters
        ----------
        reals : sequence of Tensor
            What it reads, as float32.
        parameters : numpy.ndarray
            Its fp32 parameters.
        read : sequence of Tensor
            Those of the fp32 LSTM's results that anything reads.

        Returns
        -------
        dict of Tensor to Tensor
            What stands for each of them in the new graph, float32.
        """
        with_states = any(tensor.index for tensor in read)
        attrs = {**self.node.attrs, "quantized": "true", "state_outputs": str(with_states)}
        data, _, state, cell = reals
        inputs = [self._codes(data), *self._constants(parameters, [self._state(state), cell])]
        made = self.emit.add(RECURRENT, self.name, attrs, inputs, 3 if with_states else 1)
        unread = [Tensor(made, i) for i in range(made.num_outputs) if i not in {tensor.index for tensor in read}]
        return {tensor: self._result(tensor.index, Tensor(made, tensor.index), unread) for tensor in read}

    def _add(self, op: str, suffix: str, attrs: Mapping[str, str], inputs: Sequence[Tensor], num_outputs: int) -> Node:
        return self.emit.add(op, f"{self.name}_{suffix}", attrs, inputs, num_outputs)

    def _codes(self, data: Tensor) -> Tensor:
        low, high = self.plan.data_ends
        clipped = self._add("clip", "data_clipped", {"a_min": f"{low:.9g}", "a_max": f"{high:.9g}"}, [data], 1)
        end = low + 255 / self.plan.data_scale
        whole = {"min_calib_range": f"{low:.9g}", "max_calib_range": f"{end:.9g}"}
        return self._add("_contrib_quantize_asym", "data_quantize", whole, [clipped.output], 3).output

    def _state(self, state: Tensor) -> Tensor:
        """Return the state to begin with, no larger than what its codes stand for: others may saturate."""
        if state.node.op == "_zeros":
            return state
        ends = {"a_min": f"{-self.plan.state:.9g}", "a_max": f"{self.plan.state:.9g}"}
        return self._add("clip", "state_clipped", ends, [state], 1).output

    def _constants(self, parameters: NDArray[Any], states: Sequence[Tensor]) -> List[Tensor]:
        weights = rescaled_parameters(self.node, parameters, self.plan)
        scale, shift = (np.array([value], np.float32) for value in (self.plan.state_scale, self.plan.state_zero))
        return [
            self.emit.add_parameter(parameters_name(self.node), weights),
            *states,
            self.emit.add_parameter(f"{self.name}_scale", scale),
            self.emit.add_parameter(f"{self.name}_shift", shift),
        ]

    def _result(self, index: int, result: Tensor, unread: Sequence[Tensor]) -> Tensor:
        """Return a result that has a gradient of zeros, with all results that nothing reads.

        Gluon asks for the gradients of whatever it runs, and the operator has none. It does with zeros, but only where
        each result is read. All of them have the batch as their axis 1, to which ``slice_like`` then cuts nothing off.
        """
        for other in unread:
            suffix = f"result{index}_besides{other.index}"
            result = self._add("slice_like", suffix, {"axes": "(1,)"}, [result, other], 1).output
        return self.emit.add("BlockGrad", f"{self.result}{index or ''}", {}, [result], 1).output


def parameters_name(node: Node) -> str:
    """Return the name of the parameters of an int8 LSTM."""
    return f"{node.name}_rescaled"


def rescaled_parameters(node: Node, parameters: NDArray[Any], plan: RecurrentPlan) -> NDArray[np.float32]:
    """Return the parameters with which the int8 operator computes `node` from its data's own codes."""
    factor = np.float32(plan.state_scale / plan.data_scale)
    (directions,) = unpack(node, parameters)
    scaled = [direction._replace(of_data=direction.of_data * factor) for direction in directions]
    return _shifted(scaled, plan, -1)


def original_parameters(node: Node, parameters: NDArray[Any], plan: RecurrentPlan) -> NDArray[np.float32]:
    """Return the parameters that others were rescaled from, up to the rounding of float32."""
    factor = np.float32(plan.state_scale / plan.data_scale)
    (directions,) = unpack(node, _shifted(unpack(node, parameters)[0], plan, 1))
    return pack([[direction._replace(of_data=direction.of_data / factor) for direction in directions]])


def _shifted(directions: List[Direction], plan: RecurrentPlan, sign: int) -> NDArray[np.float32]:
    """Return parameters whose biases have more, or less, of what the zero points' difference makes of the weights."""
    steps = _steps(directions)
    shift = sign * (plan.data_zero - plan.state_zero) / plan.state_scale
    sums = [steps * np.rint(each.of_data / steps[:, None]).sum(axis=1) for each in directions]
    return pack([[each._replace(bias_of_data=each.bias_of_data + shift * s) for each, s in zip(directions, sums)]])


def _steps(directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Return the real value of one code of the weights of each row."""
    largest = np.abs(rows_of(directions)).max(axis=1).astype(np.float64)
    return np.where(largest > 0, largest, 1) / 127
