"""Every operator is tried by itself before it becomes part of the network: MXNet's shape of it has to be ONNX's.

MXNet says what shape an operator makes without computing anything. What it would refuse when the network is bound is
refused here, with the name of the node; and what it would compute in another shape than ONNX expects is, too. Where a
file leaves lengths free, numbers are tried instead. Others may still be meant: where more is free than the batch, or a
shape is written out, what MXNet refuses of these passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from mxquant.errors import GraphError
from mxquant.onnx_import.state import Length, State, Step, Unfit, made, sym

__all__ = ["Proof", "Unlike"]

# Operators that may fix a length which is free in the file.
_FIXING = ("Reshape", "Expand")


class Unlike(GraphError):
    """An operator that MXNet refuses, or makes another shape of than ONNX."""


@dataclass
class Proof:
    """What has been found of the values of a graph.

    Parameters
    ----------
    expected : dict of str to tuple
        Shapes that ONNX infers.
    found : dict of str to tuple of int
        Shapes that MXNet has, first of the inputs; a value without is not known.
    fixed : bool
        Whether these are the shapes of the network, and not lengths to try.
    sure : bool
        Whether what MXNet refuses of them is wrong with others too: only the batch is free.
    lengths : dict of str to int
        The lengths that are tried, by their names.
    """

    expected: Dict[str, Tuple[Length, ...]]
    found: Dict[str, Tuple[int, ...]] = field(default_factory=dict)
    fixed: bool = True
    sure: bool = True
    lengths: Dict[str, int] = field(default_factory=dict)

    def try_(self, step: Step, translate: Callable[[Step], None]) -> None:
        """Translate a node by itself; raise GraphError if MXNet cannot compute what ONNX expects of it."""
        self._refuse_empty(step, step.inputs)
        apart = self._apart(step)
        if apart is not None:
            translate(apart)
        self._refuse_empty(step, step.outputs)
        if apart is None:
            return
        names = [name for name in step.outputs if name in apart.state.symbols]
        try:
            shapes = made([apart.state.symbols[name] for name in names], apart.state.params)
        except Unfit as error:
            if self.fixed or (self.sure and step.op not in _FIXING):
                raise Unlike(str(step.refuse(f"MXNet cannot compute it of {self._inputs(step)}: {error}"))) from error
            return
        for name, shape in zip(names, shapes):
            if shape is None:
                continue
            self._compare(step, name, shape)
            self.found[name] = shape
            known = step.state.shapes.get(name)
            if self.fixed and (known is None or not all(isinstance(length, int) for length in known)):
                step.state.shapes[name] = shape

    def _refuse_empty(self, step: Step, names: Sequence[str]) -> None:
        """Refuse tensors without values: MXNet takes a length of 0 for one that is not known."""
        for name in names:
            shape = self.expected.get(name, ())
            if 0 in shape and name not in step.state.constants:
                raise step.refuse(f"'{name}' has the shape {_text(shape)}, without values, expected lengths above 0")

    def _apart(self, step: Step) -> Optional[Step]:
        """Return a node whose inputs are variables of the shapes that were found; None where one is not known."""
        state = step.state
        read = {name for name in step.inputs if name in state.symbols}
        read |= {state.free[name] for name in step.inputs if state.free.get(name)}
        if not read <= set(self.found):
            return None
        variables = {name: sym.var(f"input{i}", shape=self.found[name]) for i, name in enumerate(sorted(read))}
        apart = State(
            state.opset,
            state.constants,
            variables,
            state.shapes,
            state.kinds,
            {},
            {},
            state.makers,
            state.free,
            state.batch,
        )
        return Step(apart, step.name, step.op, step.inputs, step.outputs, step.attrs)

    def _compare(self, step: Step, name: str, shape: Tuple[int, ...]) -> None:
        expected = self.expected.get(name)
        # MXNet has no numbers without axes.
        if expected is None or (expected == () and shape == (1,)):
            return
        numbers = [self.lengths.get(length) if isinstance(length, str) else length for length in expected]
        if len(expected) != len(shape) or any(a != b for a, b in zip(numbers, shape) if a is not None):
            refusal = step.refuse(
                f"MXNet makes the shape {_text(shape)} of {self._inputs(step)}, expected {_text(expected)} as ONNX "
                "infers for its output"
            )
            raise Unlike(str(refusal))

    def _inputs(self, step: Step) -> str:
        state, texts = step.state, []
        for name in step.inputs:
            shape = state.constants[name].shape if name in state.constants else self.found.get(name)
            if shape is not None:
                texts.append(_text(shape))
        return f"inputs of {', '.join(texts)}" if texts else "no inputs"


def _text(shape: Tuple[Length, ...]) -> str:
    lengths: List[str] = ["?" if length is None else str(length) for length in shape]
    return f"[{', '.join(lengths)}]"
