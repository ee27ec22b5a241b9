"""Imports run one way: from higher floors to lower ones, in no circle, and not into MXNet where numbers are enough.

Counted are all imports that the source has, also those inside functions and those for type checkers alone.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Set, Tuple

import pytest

import mxquant

ROOT = Path(mxquant.__file__).parent
# From the ground up. A room may import from itself and from what stands below its own line. The package itself, '', is
# the door on top: it loads what is asked for.
FLOORS = (
    ("shown", "version"),
    ("errors", "compat"),
    ("graph", "files", "progress"),
    ("runtime",),
    ("stats", "plan", "datasets"),
    ("thresholds", "lowering"),
    ("targets", "model"),
    ("planning", "calibration", "analysis"),
    ("accuracy", "distributed"),
    ("onnx_export",),
    ("pipeline", "onnx_import"),
    ("inspection", "quantization"),
    ("doctor",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate((*FLOORS, ("",))) for room in rooms}
MOST_MODULES, MOST_FOLDERS, MOST_LINES = 9, 19, 500

# Rooms that work without MXNet, and modules that are to.
WITHOUT_MXNET = ("errors", "version", "shown", "graph", "files", "progress", "stats", "thresholds", "plan")
TO_BE_WITHOUT = ("onnx_export", "onnx_import", "runtime.symbol_file", "")
# Those of them that import it today, by themselves or by what they take from other rooms, and what will replace that.
# No line may be added.
DEBTS: Mapping[str, str] = {
    "": "an engine that is chosen when a network is run",
    "onnx_export.export": "networks that are read without MXNet",
    "onnx_export.onnx_model": "networks that are read without MXNet, and MXNet's version where there is one",
    "onnx_export.shapes": "shape inference of our own",
    **dict.fromkeys(("onnx_import.reader", "onnx_import.state"), "graphs of our own instead of symbols"),
    "runtime.symbol_file": "operators, and how many inputs they have, as a table",
}


def modules() -> Dict[str, Path]:
    """Return the files of the package by their dotted names below it; the package itself is ''."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(source: str) -> Iterator[Tuple[str, str]]:
    """Yield what a source imports, also by ``import_module``: a module, and a name of it or ''."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module":
            yield from ((word.value, "") for word in node.args if isinstance(word, ast.Constant))
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import is relative"
            yield from ((node.module or "", name.name) for name in node.names)


def arrows(name: str) -> Set[str]:
    """Return the modules that one imports, those of type files included."""
    path = MODULES[name]
    sources = [path.read_text(encoding="utf-8")]
    sources += [path.with_suffix(".pyi").read_text(encoding="utf-8")] if path.with_suffix(".pyi").exists() else []
    found = set()
    for source in sources:
        for module, part in imported(source):
            if module.split(".")[0] != "mxquant":
                continue
            short = module[len("mxquant.") :]
            whole = f"{short}.{part}".strip(".")
            found.add(whole if whole in MODULES else short)
    return found - {name, ""}


ARROWS = {name: arrows(name) for name in MODULES}


def room(module: str) -> str:
    return module.split(".")[0]


def circles(graph: Mapping[str, Set[str]]) -> List[List[str]]:
    """Return the strongly connected parts of a graph that have more than one node (Tarjan 1972)."""
    order: Dict[str, int] = {}
    low: Dict[str, int] = {}
    stack: List[str] = []
    found: List[List[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def with_mxnet() -> Set[str]:
    """Return the modules that import MXNet, or a module that does."""
    found = {name for name, path in MODULES.items() if "mxnet" in {module for module, _ in imported(path.read_text())}}
    while True:
        more = {name for name in MODULES if ARROWS[name] & found} - found
        if not more:
            return found
        found |= more


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_inside_functions_and_for_types_count() -> None:
    source = (
        "def f():\n    import mxquant.x\nif TYPE_CHECKING:\n    from mxquant.y import z\nimport_module('mxquant.w')"
    )
    assert set(imported(source)) == {("mxquant.x", ""), ("mxquant.y", "z"), ("mxquant.w", "")}


def test_there_is_no_circle() -> None:
    assert circles(ARROWS) == []


def test_no_two_rooms_need_each_other() -> None:
    graph: Dict[str, Set[str]] = {name: set() for name in FLOOR}
    for name, others in ARROWS.items():
        graph[room(name)] |= {room(other) for other in others}
    assert circles(graph) == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_lower_floors_alone(name: str) -> None:
    here = FLOOR[room(name)]
    upward = {other for other in ARROWS[name] if room(other) != room(name) and FLOOR[room(other)] >= here}
    assert not upward, f"{name} imports {sorted(upward)}, which are no lower than floor {here}"


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in MODULES} == set(FLOOR)


def test_the_floors_stand_in_the_guide_for_contributors() -> None:
    text = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text, re.M)
    assert [(int(floor), tuple(re.findall(r"`(\w+)/?`", rooms))) for floor, rooms in rows] == list(enumerate(FLOORS))


def test_the_top_is_small() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST_MODULES
    assert len([path for path in ROOT.iterdir() if (path / "__init__.py").exists()]) <= MOST_FOLDERS


@pytest.mark.parametrize("folder", ["mxquant", "tests", "example"])
def test_no_file_is_long(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT.parent)): count
        for path in sorted((ROOT.parent / folder).rglob("*.py"))
        for count in [len(path.read_text(encoding="utf-8").splitlines())]
        if count > MOST_LINES
    }
    assert not long


def test_what_works_without_mxnet_does_not_import_it() -> None:
    assert not {name for name in with_mxnet() if room(name) in WITHOUT_MXNET}
    assert {"runtime.mxnet", "runtime.mxnet_bridge", "pipeline"} <= with_mxnet()


def test_what_is_to_work_without_it_has_no_new_debts() -> None:
    found = with_mxnet()
    names = {name for name in found if name in TO_BE_WITHOUT or room(name) in TO_BE_WITHOUT}
    assert {name for name in names if ARROWS[name] & (found - names)} == set(DEBTS)
