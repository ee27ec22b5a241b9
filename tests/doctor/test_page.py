"""The page in a real browser: it opens without errors or requests, filters, sorts, and shows layers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, List, Set

import pytest

from mxquant.doctor import Diagnosis
from mxquant.doctor.page import SCALE
from mxquant.errors import InputError

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# A browser asks for pages of its own: its start page, updates, lists of sites. It finds no host but this one.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
    *("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: Any) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, path: Path) -> Any:
    """Return the browser with the page just opened, 1280 pixels wide, and nothing else in its logs."""
    resize(browser, 1280)
    dark(browser, False)
    opened(browser, path)
    return browser


def opened(browser: Any, path: Path) -> None:
    """Open a file; what the browser did before, such as asking for its start page, is no longer in the logs."""
    browser.get("about:blank")
    complaints(browser), requests(browser)
    browser.get(path.as_uri())


def complaints(browser: Any) -> List[Any]:
    """Return errors and warnings since the last call."""
    return [each for each in browser.get_log("browser") if each["level"] in ("SEVERE", "WARNING")]


def requests(browser: Any) -> Set[str]:
    """Return the addresses that were asked for since the last call, other than files."""
    messages = str([each["message"] for each in browser.get_log("performance")])
    return set(re.findall(r'"url":"((?:https?|wss?):[^"]*)"', messages))


def resize(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def dark(browser: Any, wanted: bool) -> None:
    value = "dark" if wanted else "light"
    features = {"features": [{"name": "prefers-color-scheme", "value": value}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)


def shown(browser: Any) -> List[str]:
    """Return the names of the layers in the table, in order."""
    rows = browser.find_elements("css selector", "#layers tbody tr")
    return [row.find_element("css selector", ".name").text for row in rows if row.is_displayed()]


def bars(browser: Any) -> List[Any]:
    """Return the bars of the open layer's charts, when they are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", "#panel-body .chart .bars path"))


def body_colour(browser: Any) -> str:
    return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))


@needs_browser
def test_it_opens_without_errors_and_asks_the_network_for_nothing(page: Any, path: Path, found: Diagnosis) -> None:
    assert complaints(page) == []
    assert requests(page) == set()
    assert page.find_element("id", "verdict").text in found.verdict
    assert len(shown(page)) == len(found.layers)


@needs_browser
def test_all_of_it_works_under_its_policy(page: Any) -> None:
    page.find_element("css selector", "#layers tbody tr").click()
    assert bars(page)
    page.execute_script("Plotly.Fx.hover(document.querySelector('.chart'), [{curveNumber: 0, pointNumber: 1}])")
    page.find_element("id", "close").click()
    page.find_element("id", "theme").click()
    scale = {page.execute_script("return getComputedStyle(arguments[0]).backgroundColor", each) for each in dots(page)}
    assert len(scale) == len(SCALE) and "rgba(0, 0, 0, 0)" not in scale
    assert complaints(page) == []


def dots(browser: Any) -> List[Any]:
    return list(browser.find_elements("css selector", ".legend i:not(.float32)"))


@needs_browser
def test_what_is_put_into_the_page_by_another_neither_runs_nor_loads(browser: Any, path: Path, tmp_path: Path) -> None:
    added = (
        '<img src="http://elsewhere.example/image.png" onerror="window.ran = 1"><script>window.ran = 2</script>'
        '<style>main { display: none }</style><iframe src="http://elsewhere.example/frame"></iframe></main>'
    )
    changed = tmp_path / "changed.html"
    changed.write_text(path.read_text(encoding="utf-8").replace("</main>", added, 1), encoding="utf-8")
    opened(browser, changed)
    assert browser.execute_script("return [window.ran, getComputedStyle(document.querySelector('main')).display]") == [
        None,
        "block",
    ]
    told = [each["message"] for each in complaints(browser)]
    for what in ("inline event handler", "inline script", "inline style", "elsewhere.example/image.png", "Framing"):
        assert any(what in each and "Content Security Policy" in each for each in told), (what, told)


@needs_browser
def test_errors_and_requests_of_a_page_would_be_seen(browser: Any, tmp_path: Path) -> None:
    address = "http://elsewhere.example/"
    (tmp_path / "other.html").write_text(
        f'<img src="{address}image.png"><iframe src="{address}frame"></iframe><script>fail()</script>', encoding="utf-8"
    )
    opened(browser, tmp_path / "other.html")
    assert requests(browser) >= {f"{address}image.png", f"{address}frame"}
    assert any("fail is not defined" in each["message"] for each in complaints(browser))


@needs_browser
def test_a_network_of_many_heads_begins_in_the_middle_of_the_drawing(
    page: Any, tmp_path: Path, found: Diagnosis
) -> None:
    stem = found.layers[0]
    heads = [replace(stem, name=f"head{number}", reads=(stem.name,)) for number in range(15)]
    replace(found, layers=(stem, *heads)).save(tmp_path / "heads.html")
    page.get((tmp_path / "heads.html").as_uri())
    box, frame = (page.find_element("css selector", each).rect for each in (".network .box", ".network"))
    assert page.execute_script("return document.querySelector('.network').scrollWidth") > 3 * frame["width"]
    assert abs(box["x"] + box["width"] / 2 - frame["x"] - frame["width"] / 2) < 20


@needs_browser
def test_the_table_filters(page: Any, found: Diagnosis) -> None:
    page.find_element("css selector", "input[value=float32]").click()
    assert shown(page) == [each.name for each in found.layers if each.precision == "float32"]
    page.find_element("css selector", "input[value=all]").click()
    page.find_element("id", "find").send_keys("CONVOLUTION")
    assert shown(page) == [each.name for each in found.layers if each.op == "Convolution"]
    assert page.find_element("id", "count").text == f"{len(shown(page))} layers"


@needs_browser
def test_the_table_sorts_by_every_column_both_ways(page: Any, found: Diagnosis) -> None:
    heads = page.find_elements("css selector", "#layers th button")
    assert len(heads) == 11
    heads[2].click()
    operators = {each.name: each.op for each in found.layers}
    ascending = [operators[name] for name in shown(page)]
    heads[2].click()
    assert ascending == sorted(ascending) == [operators[name] for name in shown(page)][::-1] != ascending[::-1]
    macs = [each.name for each in sorted(found.layers, key=lambda each: each.macs)]
    heads[10].click()
    assert shown(page)[-1] == macs[-1]
    heads[10].click()
    assert shown(page)[0] == macs[-1]
    assert page.find_elements("css selector", "th[aria-sort=descending]")[0].text.startswith("MACs")
    heads[5].click()  # layers without a number come last, whichever way
    assert {each.name for each in found.layers if each.local is None} == set(shown(page)[-1:])


@needs_browser
def test_a_click_on_a_row_or_a_box_shows_the_layer_and_its_histogram(page: Any) -> None:
    for selector in ("#layers tbody tr[data-layer='0']", ".box[data-layer='0']"):
        element = page.find_element("css selector", selector)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        assert page.find_element("id", "panel-title").text == "stem"
        panel = page.find_element("id", "panel-body")
        assert "The operator runs in int8" in panel.text and "entropy" in panel.text
        assert bars(page)
        assert len(panel.find_elements("css selector", ".chart .plot-container")) == 2
        page.find_element("id", "close").click()
        assert not page.find_element("id", "panel").is_displayed()


@needs_browser
def test_the_keyboard_reaches_and_opens_layers(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    for selector in ("#layers tbody tr[data-layer='1']", ".box[data-layer='1']"):
        page.find_element("css selector", selector).send_keys(Keys.ENTER)
        assert page.find_element("id", "panel").is_displayed()
        page.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not page.find_element("id", "panel").is_displayed()
    for selector in ("#layers tbody tr", ".box", ".network", ".scroll"):
        assert all(each.get_attribute("tabindex") == "0" for each in page.find_elements("css selector", selector))


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    resize(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.find_element("css selector", "#layers tbody tr").click()
    panel = page.find_element("id", "panel")
    assert bars(page)
    assert panel.rect["x"] >= 0 and panel.rect["x"] + panel.rect["width"] <= width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@needs_browser
def test_it_is_dark_where_the_system_is_and_where_the_button_says_so(page: Any, path: Path) -> None:
    light = body_colour(page)
    page.find_element("id", "theme").click()
    night = body_colour(page)
    assert night != light
    page.find_element("id", "theme").click()
    assert body_colour(page) == light
    dark(page, True)
    page.get(path.as_uri())
    assert body_colour(page) == night


def test_it_is_less_than_six_megabytes_for_a_thousand_layers(found: Diagnosis) -> None:
    stem = found.layers[0]
    assert stem.bars is not None and stem.weights is not None
    layers = tuple(replace(stem, name=f"stage{i}_unit_conv", reads=()) for i in range(1000))
    assert len(replace(found, layers=layers).html().encode()) < 6e6


def test_it_is_one_file_that_loads_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", own) == []
    assert "@import" not in own and "url(" not in own


def test_its_policy_allows_its_own_texts_and_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition('<meta http-equiv="Content-Security-Policy" content="')
    assert "<style" not in head and "<script" not in head and "<link" not in head
    policy = dict(each.split(" ", 1) for each in rest.partition('"')[0].split("; "))
    assert {name: policy.pop(name) for name in ("default-src", "base-uri", "form-action", "img-src")} == {
        **dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'"),
        "img-src": "data:",
    }
    assert policy.keys() == {"script-src", "style-src"}
    plotly = gzip.decompress(base64.b64decode(re.findall(r'id="plotly">(.*?)</script>', text)[0]))
    own = {"script-src": "<script>(.*?)</script>", "style-src": "<style>(.*?)</style>"}
    for name, more in (("script-src", plotly), ("style-src", b"")):
        texts = [each.encode() for each in re.findall(own[name], text, re.DOTALL)] + [more]
        hashes = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in texts]
        assert policy[name] == " ".join(f"'sha256-{each}'" for each in hashes), name
    # None of these could be allowed by a hash.
    assert not re.findall(r"""<[^<>]*\s(?:style|on\w+)=["']""", text.replace(plotly.decode(), ""))


def test_names_are_escaped_everywhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    assert html.escape("<script>alert(1)</script>") in text


def test_the_scale_covers_every_level() -> None:
    ends = [end for end, _, _ in SCALE]
    assert ends == sorted(ends) and ends[-1] == float("inf") and len({colour for _, colour, _ in SCALE}) == len(SCALE)


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_without_what_a_page_needs_one_sentence_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (missing, f"{missing}.offline"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    found = Diagnosis("trust", "a: b", (), 1.0, False, *[None] * 5, 1, 1, 1, None, "onednn", None, "avx2", 1)
    with pytest.raises(InputError, match=re.escape(f"a page needs {missing}; pip install 'mxquant[report]'")):
        found.html()
