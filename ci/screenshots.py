"""Pictures of the documents, made anew so that they stay true: the doctor's page, and what the command prints.

::

    .venv/bin/python ci/screenshots.py

Needs Chromium: ``apt-get install chromium chromium-driver``. Writes into docs/images.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, List

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = (1280, 900)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")
COMMANDS = (
    "mxquant quantize -m lite0 -d images.npz -n 10 -o lite0-int8",
    "mxquant score -m lite0 --int8 lite0-int8 -d images.npz",
    "mxquant doctor -m lite0 --int8 lite0-int8 -d images.npz -o report.html",
)


def material() -> None:
    """Write EfficientNet-Lite0 and twenty labelled ImageNet images into the current folder."""
    import efficientnet_lite0
    import numpy as np
    from imagenet_data import Preprocessing, embedded

    from mxquant.runtime.mxnet import mx

    block = efficientnet_lite0.load()
    symbol = block(mx.sym.var("data"))
    values = {name: parameter.data() for name, parameter in block.collect_params().items()}
    aux = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    mx.model.save_checkpoint("lite0", 0, symbol, values, aux)
    batch = embedded(Preprocessing(224, 224, (127.0,) * 3, (128.0,) * 3))
    np.savez("images.npz", data=batch.images, labels=batch.labels)


def terminal(commands: List[str], path: Path) -> None:
    """Run commands, and draw what they print as a terminal would."""
    from rich.console import Console
    from rich.text import Text

    from mxquant.cli.running import run

    console = Console(record=True, width=118, file=io.StringIO())
    for line in commands:
        console.print(Text(f"$ {line}", style="bold"))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = run([*line.split()[1:], "--quiet"])
        if code:
            raise SystemExit(f"'{line}' ended with {code}")
        console.print(Text(printed.getvalue()))
    path.write_text(console.export_svg(title="mxquant"), encoding="utf-8")


def browser(profile: str) -> Any:
    """Return Chromium without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    metrics = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return driver


def pictures(page: Path) -> None:
    """Take the top of the page, and one layer of it."""
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(profile)
        driver.get(page.resolve().as_uri())
        driver.save_screenshot(str(IMAGES / "doctor.png"))
        driver.execute_script("document.querySelector('#layers').scrollIntoView()")
        driver.find_element("css selector", "#layers tbody tr[data-layer='1']").click()
        driver.implicitly_wait(5)
        driver.find_element("css selector", ".chart .plot-container")
        driver.save_screenshot(str(IMAGES / "doctor-layer.png"))
        driver.quit()


def main() -> None:
    """Make all pictures."""
    if not shutil.which("chromedriver"):
        raise SystemExit("error: no chromedriver; apt-get install chromium chromium-driver")
    IMAGES.mkdir(parents=True, exist_ok=True)
    sys.path[:0] = [str(ROOT), str(ROOT / "example")]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        material()
        terminal(list(COMMANDS), IMAGES / "terminal.svg")
        pictures(Path("report.html"))
        os.chdir(ROOT)
    print("wrote", ", ".join(sorted(path.name for path in IMAGES.iterdir())))


if __name__ == "__main__":
    main()
