"""Random arithmetic, comparisons, logic and functions of one tensor, with ONNX's broadcasting."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

import numpy as np

from tests.soak.onnx_graphs.builder import REAL, TRUTH, WHOLE, Graph, Value

__all__ = ["PIECES"]


def broadcast(graph: Graph, shape: Tuple[int, ...], deeper: bool = True) -> Tuple[int, ...]:
    """Return a shape that goes together with another."""
    kept = shape[graph.whole(0, len(shape)) :]
    found = tuple(1 if graph.chance(0.3) else length for length in kept)
    return (*[1] * graph.whole(1, 2), *found) if deeper and graph.chance(0.1) else found


def both(graph: Graph, value: Value, kind: int, number: Callable[..., np.ndarray]) -> Tuple[List[str], bool]:
    """Return names of two tensors that go together, in any order, and whether they are exact."""
    other = graph.value(kind, lambda each: _fits(each.shape, value.shape))
    if other is not None and graph.chance(0.4):
        names, exact = [value.name, other.name], value.exact and other.exact
    else:
        names, exact = [value.name, graph.constant(number(*broadcast(graph, value.shape)))], value.exact
    return (names[::-1] if graph.chance(0.4) else names), exact


def _fits(a: Tuple[int, ...], b: Tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) < 6
    except ValueError:
        return False


def real_pair(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    op = graph.choose(["Add", "Sub", "Mul", "Add", "Sub", "Mul", "Max", "Min"])
    if op in ("Max", "Min") and graph.opset < 8:
        return None
    names, exact = both(graph, value, REAL, graph.numbers)
    return graph.emit(op, names, exact=exact and op != "Mul")


def quotient(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    names = [value.name, graph.constant(graph.numbers(*broadcast(graph, value.shape)))]
    if graph.chance(0.3):
        size = graph.emit("Abs", [value.name])[0]
        names = [names[1], graph.emit("Add", [size.name, graph.constant(np.float32(0.5))])[0].name]
    return graph.emit("Div", names)


def power(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    if graph.chance(0.5):
        return graph.emit("Pow", [value.name, graph.constant(np.float32(graph.choose([1, 2, 3])))])
    size = graph.emit("Abs", [value.name])[0]
    base = graph.emit("Add", [size.name, graph.constant(np.float32(0.5))])[0]
    exponents = graph.choose([[-1, 0.5, 0, 1.5], [-0.5, 2]])
    shape = broadcast(graph, value.shape)
    return graph.emit("Pow", [base.name, graph.constant(graph.rng.choice(exponents, shape), np.float32)])


def remainder(graph: Graph) -> Optional[Any]:
    kind = graph.choose([REAL, WHOLE])
    value = graph.value(kind, lambda each: each.exact)
    if value is None or graph.opset < 10:
        return None
    shape = broadcast(graph, value.shape)
    divisor = graph.choose([-1, 1]) * graph.rng.randint(1, 7, shape)
    fmod = 1 if kind == REAL else graph.whole(0, 1)
    divisor = (divisor / 2).astype(np.float32) if kind == REAL else np.asarray(divisor, np.int64)
    return graph.emit("Mod", [value.name, graph.constant(divisor)], kind, True, fmod=fmod)


def whole_pair(graph: Graph) -> Optional[Any]:
    value = graph.value(WHOLE)
    if value is None:
        return None
    op = graph.choose(["Add", "Sub", "Mul", "Div", "Div", "Max", "Min", "Pow"])
    if op in ("Max", "Min", "Pow") and graph.opset < 12:
        return None

    def number(*shape: int) -> np.ndarray:
        return np.asarray(graph.choose([-1, 1]) * graph.rng.randint(1, 6, shape), np.int64)

    if op == "Div":
        return graph.emit(op, [value.name, graph.constant(number(*broadcast(graph, value.shape)))], WHOLE, True)
    if op == "Pow":
        return graph.emit(op, [value.name, graph.constant(np.int64(graph.whole(0, 3)))], WHOLE, True)
    return graph.emit(op, both(graph, value, WHOLE, number)[0], WHOLE, True)


def many(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None or graph.opset < 8:
        return None
    names = [value.name]
    for _ in range(graph.whole(0, 3)):
        other = graph.value(REAL, lambda each: _fits(each.shape, value.shape))
        names.append(
            other.name if other and graph.chance(0.3) else graph.constant(graph.numbers(*broadcast(graph, value.shape)))
        )
    return graph.emit(graph.choose(["Sum", "Max", "Min"]), names)


def compared(graph: Graph) -> Optional[Any]:
    kind = graph.choose([REAL, REAL, WHOLE])
    value = graph.value(kind, lambda each: each.exact)
    ops = ["Less", "Greater"]
    ops += ["LessOrEqual", "GreaterOrEqual"] if graph.opset >= 12 else []
    ops += ["Equal"] if graph.opset >= 11 else []
    if value is None or graph.opset < 9:
        return None
    number = graph.numbers if kind == REAL else (lambda *shape: np.asarray(graph.rng.randint(-3, 4, shape), np.int64))
    other = graph.constant(number(*broadcast(graph, value.shape)))
    names = [other, value.name] if graph.chance(0.4) else [value.name, other]
    return graph.emit(graph.choose(ops), names, TRUTH, True)


def logic(graph: Graph) -> Optional[Any]:
    value = graph.value(TRUTH)
    if value is None:
        return None
    op = graph.choose(["And", "Or", "Xor", "Not"])
    if op == "Not":
        return graph.emit(op, [value.name], TRUTH, True)
    names, _ = both(graph, value, TRUTH, lambda *shape: np.asarray(graph.rng.rand(*shape) < 0.5))
    return graph.emit(op, names, TRUTH, True)


def where(graph: Graph) -> Optional[Any]:
    condition = graph.value(TRUTH)
    if condition is None or graph.opset < 9:
        return None
    kind = graph.choose([REAL, WHOLE])
    sides = []
    for _ in range(2):
        other = graph.value(kind, lambda each: _fits(each.shape, condition.shape))
        number = (
            graph.numbers if kind == REAL else (lambda *shape: np.asarray(graph.rng.randint(-3, 4, shape), np.int64))
        )
        sides.append(
            other.name if other and graph.chance(0.5) else graph.constant(number(*broadcast(graph, condition.shape)))
        )
    return graph.emit("Where", [condition.name, *sides], kind)


def cast(graph: Graph) -> Optional[Any]:
    kind = graph.choose([REAL, WHOLE, TRUTH])
    value = graph.value(kind, lambda each: each.exact)
    to = graph.choose([REAL, WHOLE, TRUTH])
    if value is None or (graph.opset < 9 and TRUTH in (kind, to)):
        return None
    return graph.emit("Cast", [value.name], to, True, to=int(to))


_EXACT = ("Neg", "Abs", "Floor", "Ceil", "Sign", "Identity", "Relu")
_SMOOTH = ("Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Sin", "Cos", "Neg", "Abs", "Relu", "Identity")


def function(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    op = graph.choose(_EXACT if value.exact and graph.chance(0.5) else _SMOOTH)
    if op in ("Erf", "Sign") and graph.opset < 9:
        return None
    return graph.emit(op, [value.name], exact=value.exact and op in _EXACT)


def function_of_positive(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    size = graph.emit("Abs", [value.name])[0]
    base = graph.emit("Add", [size.name, graph.constant(np.float32(0.5))])[0]
    return graph.emit(graph.choose(["Log", "Sqrt", "Reciprocal"]), [base.name])


def exponential(graph: Graph) -> Optional[Any]:
    value = graph.value()
    return None if value is None else graph.emit("Exp", [graph.emit("Tanh", [value.name])[0].name])


def activation(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    op = graph.choose(["LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish"])
    if op == "HardSwish" and graph.opset < 14:
        return None
    attrs = {"HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"), "HardSwish": ()}.get(op, ("alpha",))
    given = {key: float(graph.choose([0.1, 0.3, 0.75])) for key in attrs if graph.chance(0.5)}
    return graph.emit(op, [value.name], **given)


def slopes(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    shape = broadcast(graph, value.shape, deeper=False)
    return graph.emit("PRelu", [value.name, graph.constant(graph.weights(*shape))])


def clip(graph: Graph) -> Optional[Any]:
    value = graph.value()
    if value is None:
        return None
    low, high = sorted(float(number) for number in graph.rng.randn(2))
    if graph.opset < 11:
        return graph.emit("Clip", [value.name], **({"min": low} if graph.chance(0.7) else {}), max=high)
    names = [graph.constant(np.float32(limit)) if graph.chance(0.7) else "" for limit in (low, high)]
    return graph.emit("Clip", [value.name, *names])


PIECES: List[Callable[[Graph], Optional[Any]]] = [
    *(real_pair, real_pair, quotient, power, remainder, whole_pair, whole_pair, many, compared, compared, logic, where),
    *(cast, cast, function, function, function_of_positive, exponential, activation, slopes, clip),
]
