"""The diagnosis as one HTML page that needs nothing else: styles, scripts, Plotly and data are all inside.

Plotly is packed by gzip, and unpacked by the browser when the first layer is opened.

The page says so itself, by a policy that browsers hold it to (https://www.w3.org/TR/CSP3): nothing comes from
elsewhere, and of scripts and styles none but those within that the hashes name. What somebody has put into it, by the
name of a layer or on its way, neither runs nor loads.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

from mxquant.analysis.comparison import plain
from mxquant.doctor.drawing import HEIGHT, WIDTH, draw
from mxquant.doctor.findings import Findings, LayerFindings
from mxquant.doctor.verdict import LEVELS, RULES
from mxquant.errors import InputError
from mxquant.shown import printable
from mxquant.version import __version__

__all__ = ["page"]

_TEMPLATES = Path(__file__).parent / "templates"
# Upper ends in dB, from orange to purple: colours that those who see no red or no green tell apart (ColorBrewer, PuOr).
SCALE: Tuple[Tuple[float, str, str], ...] = (
    (10.0, "#b35806", "below 10"),
    (20.0, "#f1a340", "10 to 20"),
    (30.0, "#fee0b6", "20 to 30"),
    (40.0, "#d8daeb", "30 to 40"),
    (50.0, "#998ec3", "40 to 50"),
    (math.inf, "#542788", "50 and more"),
)
_DARK = ("#b35806", "#542788")
FLOAT32 = "float32"
# Plotly makes an element for styles that is empty, and fills it by a call that no policy forbids. For maps, which are
# not drawn here, it brings a text, unless there is an element by this name already.
_STYLE_OF_PLOTLY = ""
_STYLE_OF_MAPS = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')
_NOTHING = "\N{EN DASH}"


def page(findings: Findings) -> str:
    """Return the page of a diagnosis.

    Parameters
    ----------
    findings : Findings
        The findings.

    Raises
    ------
    InputError
        If plotly or jinja2 is missing.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InputError(f"a page needs {(error.name or '').split('.')[0]}; pip install 'mxquant[report]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_TEMPLATES)),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=_short, db=_db, percent=_percent, ms=_ms, megabytes=_megabytes, number=_number)
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8") + _scale_style()
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    charts = get_plotlyjs()
    return environment.get_template("page.html").render(
        found=findings,
        drawing=draw(findings.layers),
        box=(WIDTH, HEIGHT),
        colours={layer.name: _colour(layer) for layer in findings.layers},
        scale=SCALE,
        levels=LEVELS,
        rules=RULES,
        version=__version__,
        slowest=_slowest(findings),
        style=style,
        script=script,
        plotly=base64.b64encode(gzip.compress(charts.encode(), mtime=0)).decode(),
        maps=sorted(set(_STYLE_OF_MAPS.findall(charts))),
        policy=_policy((script, charts), (style, _STYLE_OF_PLOTLY)),
        data=_json([_charts(layer) for layer in findings.layers]),
    )


def _policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Return what the page may do, as a Content-Security-Policy: run these texts, and show images within itself."""
    allowed = {"script-src": map(_hash, scripts), "style-src": map(_hash, styles), "img-src": ["data:"]}
    rest = {"default-src": ["'none'"], "base-uri": ["'none'"], "form-action": ["'none'"]}
    return "; ".join(" ".join((name, *sources)) for name, sources in {**rest, **allowed}.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _scale_style() -> str:
    """Return the colours of the scale as classes, since the policy allows no style of a single element."""
    return "".join(f".scale{number} {{ background: {colour}; }}\n" for number, (_, colour, _) in enumerate(SCALE))


def _shown(value: Any) -> Any:
    """Return a value as the page shows it; style, scripts and what else is HTML already, as it is."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else printable(value)


def _colour(layer: LayerFindings) -> Dict[str, str]:
    """Return the colours of a layer's box and of the text on it, and the class of its dot in the table."""
    if layer.precision == FLOAT32 or layer.sqnr is None:
        return {"box": "", "text": "", "dot": "float32"}
    number = next(number for number, (end, _, _) in enumerate(SCALE) if layer.sqnr < end or math.isinf(end))
    box = SCALE[number][1]
    return {"box": box, "text": "#ffffff" if box in _DARK else "#1c1917", "dot": f"scale{number}"}


def _charts(layer: LayerFindings) -> Mapping[str, Any]:
    """Return what the script draws of a layer."""
    found: Dict[str, Any] = {"thresholds": {name: _round(value) for name, value in layer.thresholds.items()}}
    found["chosen"], found["method"] = _round(layer.threshold), layer.method
    if layer.bars is not None:
        found["bars"] = {
            "start": _round(layer.bars.start),
            "width": _round(layer.bars.width),
            "counts": layer.bars.counts,
        }
    if layer.weights is not None:
        found["weights"] = {"low": layer.weights.low, "high": layer.weights.high, "channels": layer.weights.channels}
    return found


def _json(value: Any) -> str:
    """Return JSON that may stand in a script element: nothing in it ends the element."""
    return json.dumps(plain(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _slowest(findings: Findings) -> float:
    times = [t for layer in findings.layers for t in (layer.fp32_ms, layer.int8_ms) if t is not None]
    return max(times, default=1.0)


def _short(name: str, length: int) -> str:
    """Return the end of a name, which tells layers apart."""
    return name if len(name) <= length else f"\N{HORIZONTAL ELLIPSIS}{name[1 - length :]}"


def _round(value: Optional[float]) -> Optional[float]:
    return None if value is None else float(f"{value:.5g}")


def _number(value: Optional[float], digits: int = 3) -> str:
    return _NOTHING if value is None else f"{value:.{digits}g}"


def _db(value: Optional[float]) -> str:
    if value is None:
        return _NOTHING
    return "∞" if math.isinf(value) and value > 0 else f"{value:.1f}"


def _percent(value: Optional[float], digits: int = 1) -> str:
    return _NOTHING if value is None else f"{100 * value:.{digits}f} %"


def _ms(value: Optional[float]) -> str:
    return _NOTHING if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _megabytes(value: int) -> str:
    return f"{value / 1e6:.1f} MB"
