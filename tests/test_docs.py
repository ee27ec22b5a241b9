"""Every block of Python and every line for a shell in the documents runs as printed, and what they say is so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, List

import cv2
import numpy as np
import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.runtime.mxnet import mx
from mxquant.targets import TARGETS
from tests.lowering.test_small_networks import CASES
from tests.networks import conv, dense, images, random_params, relu

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
# What the pages take for granted.
DATA = "import numpy as np\nimages, labels = np.load('images.npy'), np.zeros(16, np.float32)"


def blocks(page: str, language: str) -> list:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def network() -> Any:
    """Return a small classifier with a residual addition."""
    stem = relu(conv(mx.sym.var("data"), "conv0", 16, stride=(2, 2)), "relu0")
    total = relu(mx.sym.elemwise_add(conv(stem, "conv1", 16), stem, name="sum"), "relu1")
    pooled = mx.sym.Pooling(total, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    return dense(mx.sym.Flatten(pooled, name="flat"), "pred", 10)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with what the pages speak of, and go there."""
    monkeypatch.chdir(tmp_path)
    data, symbol = images(16, 3, 64, 64), network()
    mx.model.save_checkpoint("net", 0, symbol, *random_params(symbol, data=data.shape))
    np.save("images.npy", data)
    for number, name in enumerate(("ant", "bee", "cat")):
        Path("images", name).mkdir(parents=True)
        picture = np.full((48, 64, 3), 80 * number, np.uint8)
        assert cv2.imwrite(f"images/{name}/1.png", picture)
    Path("names.txt").write_text("".join(f"{name}\n" for name in ("ant", "bee", "cat", *"defghij")), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_runs(page: str, folder: Path) -> None:
    """In a process of its own, as a reader's, where nothing has been imported but NumPy."""
    code = "\n".join([DATA, *blocks(page, "python")])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if "\nmxquant " in "".join(blocks(page, "sh"))])
def test_lines_for_a_shell_run(page: str, folder: Path, capfd: Any) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("mxquant ")]
    assert lines
    if page == "doctor.md":
        assert run(shlex.split("quantize -m net -d images.npy -o net-int8 --accuracy fast -q")) == 0
    for line in lines:
        assert run([*shlex.split(line)[1:], "-q"] if "inspect" not in line else shlex.split(line)[1:]) == 0, line


def test_every_page_is_in_the_navigation_and_every_picture_there() -> None:
    nav = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if page not in nav] == []
    for page in PAGES:
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (DOCS / page).read_text(encoding="utf-8")):
            assert picture == "images/speed.png" or (DOCS / picture).is_file(), picture


def test_every_command_has_a_line_in_the_documents() -> None:
    from mxquant.cli.app import app

    text = " ".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    names = [each.name or each.callback.__name__ for each in app.registered_commands]
    assert len(names) == 10 and [name for name in names if f"mxquant {name} " not in text] == []


def described(path: str) -> List[Any]:
    """Return what an entry of the reference describes: all that a module makes public, or one name."""
    home, _, name = path.rpartition(".")
    try:
        module = import_module(path)
    except ModuleNotFoundError:
        return [getattr(import_module(home), name)]
    return [getattr(module, each) for each in module.__all__]


def test_what_is_public_is_in_the_reference() -> None:
    entries = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    known = [value for entry in entries for value in described(entry)]
    assert [name for name in mxquant.__all__ if name != "__version__" and getattr(mxquant, name) not in known] == []


def test_files_that_the_documents_name_are_there() -> None:
    for page in (*(DOCS / page for page in PAGES), CONTRIBUTING):
        named = re.findall(r"`((?:mxquant|tests|docs|ci|example)/[\w/.-]+)`", page.read_text(encoding="utf-8"))
        assert [path for path in named if not (ROOT / path).exists()] == [], page.name


def test_code_that_the_guide_for_contributors_shows_is_that_of_the_package() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mxquant").rglob("*.py"))
    shown = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(shown) == 4 and [block for block in shown if block not in sources] == []


def test_the_counts_of_the_page_for_migrants_are_those_of_the_tests() -> None:
    assert f"has {len(CASES)} small networks" in (DOCS / "migration.md").read_text(encoding="utf-8")


def test_the_counts_of_the_readme_are_those_of_the_tests() -> None:
    calibrated, uncalibrated = (sum(case[place] != "right" for case in CASES.values()) for place in (1, 2))
    row = f"| {len(CASES)} small networks, calibrated (not): wrong, or raise | {calibrated} ({uncalibrated}); without"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_is_measured_is_taken_from_the_results() -> None:
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert {"speed.md", "profile.md"} <= set(re.findall(r'^--8<-- "(.*)"$', text, re.MULTILINE))
    assert "| " not in text


def test_nothing_is_loaded_from_elsewhere_and_the_script_runs() -> None:
    assert "font: false" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert (ROOT / "ci" / "docs.sh").stat().st_mode & 0o111
    assert [page for page in PAGES if re.search(r"<(script|img|link)", (DOCS / page).read_text(encoding="utf-8"))] == []


def test_a_concat_of_parts_of_different_size_is_as_its_page_says() -> None:
    stem = relu(conv(mx.sym.var("data"), "conv0", 16), "relu0")
    joined = mx.sym.Concat(relu(conv(stem, "large", 16)), relu(conv(stem, "small", 16)), dim=1, name="joined")
    symbol = relu(conv(joined, "after", 16))
    data = images(8, 3, 16, 16)
    args, aux = random_params(symbol, data=data.shape)
    args["large_weight"] *= 50
    args["large_bias"] *= 50
    args["after_weight"][:, :16] /= 50
    params = {"arg_params": args, "aux_params": aux}

    def level(**options: Any) -> float:
        model = mxquant.quantize(symbol, data, **{"accuracy": "fast", **options}, **params)
        return mxquant.compare(symbol, model, data, **params).outputs[0].sqnr

    plan = mxquant.quantize(symbol, data, accuracy="fast", **params).plan
    worst = mxquant.compare(symbol, plan, data, **params).worst(2)
    assert {row.layer for row in worst} == {"small", "after"} and worst[0].local < 20
    assert plan.tensors["joined_output"].reason == "has the largest range of its inputs"
    before = level()
    assert level(exclude_layers=["joined"]) < before + 3 > level(exclude_layers=["small"])
    assert level(exclude_layers=["after"]) > before + 10


def test_an_outlier_is_as_its_page_says() -> None:
    symbol, data = network(), images(16, 3, 64, 64)
    args, aux = random_params(symbol, data=data.shape)
    outlier = data.copy()
    outlier[3, 0, 5, 5] = 1000
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, outlier, **params)
    found = {}
    for method in ("minmax", "mse", "entropy", "percentile"):
        plan = mxquant.make_plan(symbol, statistics, method=method, **params)
        row = mxquant.compare(symbol, plan, data, **params).layers[0]
        found[method] = plan.tensors["data"].threshold, row.local
        assert row.clipped_data < 0.001
    assert found["minmax"][0] == 1000 and found["mse"][0] > 990
    assert max(found[method][0] for method in ("entropy", "percentile")) < 100
    assert min(found[method][1] for method in ("entropy", "percentile")) > found["mse"][1] + 10


def test_the_row_that_the_guide_for_contributors_shows_is_one_of_the_targets() -> None:
    row = re.search(r"^    Capability\(\n(?:    .+\n)+", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE)
    table = (ROOT / "mxquant" / "lowering" / "onednn_capabilities.py").read_text(encoding="utf-8")
    assert row is not None and row[0] in table


def test_the_page_of_targets_has_every_row_of_theirs() -> None:
    spec = spec_from_file_location("target_tables", DOCS / "target_tables.py")
    assert spec is not None and spec.loader is not None
    tables = module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (DOCS / "targets.md").read_text(encoding="utf-8")
    lines = tables.with_tables(page).splitlines()
    for target in TARGETS.values():
        assert f"<!-- table: {target.name} -->" in page
        for row in target.capabilities:
            cells = tables.cells(row)
            assert len(cells) == len(tables.HEADS) and f"| {' | '.join(cells)} |" in lines
            assert not row.note or f"- **{row.layer}**: {row.note}" in lines
    convolution = tables.cells(next(row for row in TARGETS["onednn"].capabilities if row.layer == "Convolution"))
    assert convolution == (
        "Convolution<br>`_sg_mkldnn_conv`",
        "always",
        "int8, uint8 → int8 (uint8 behind relu, clip)<br>zero point read and returned",
        "its own<br>per channel",
        "requantize, elemwise_add, relu, clip, leaky",
    )
