"""How images become what a network reads: what the user says, what a plan says, and what fits the network.

An option that is given counts. Where there is an int8 network or a plan, the others are those that it was made with, so
that it is judged on what it was calibrated for. The rest is found by the network: which of the usual sizes it takes,
how many channels, and which layout.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

from mxquant.cli.fitting import refusal
from mxquant.cli.shapes import size_of
from mxquant.errors import InputError, PlanError
from mxquant.shown import logger

if TYPE_CHECKING:
    from mxquant.cli.network import Net
    from mxquant.datasets.preprocessing import Preprocessing

__all__ = ["SETTING", "Kept", "Wanted", "kept_of", "preprocessing"]

# Where a plan keeps it.
SETTING = "images"
Size = Tuple[int, int]
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "scale": 1.0}
# Of networks that people publish.
_USUAL = (224, 299, 32, 28, 64, 96, 112, 128, 160, 192, 227, 240, 256, 260, 300, 320, 331, 384, 416, 448, 480, 512, 640)
_log = logger(__name__)


class Kept(NamedTuple):
    """How images became input of an int8 network, as options of the command, and what that network is called."""

    options: str
    title: str


@dataclass(frozen=True)
class Wanted:
    """What is said of images, each as on a command line; None where nothing is said."""

    image_size: Optional[str] = None
    resize: Optional[str] = None
    crop: Optional[str] = None
    color: Optional[str] = None
    layout: Optional[str] = None
    mean: Optional[str] = None
    std: Optional[str] = None
    scale: Optional[str] = None

    @property
    def given(self) -> Dict[str, str]:
        """What is said, by name."""
        pairs = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in pairs.items() if value is not None}


def kept_of(plan: Any, title: str) -> Optional[Kept]:
    """Return how images became input of what a plan was made for; None where it does not say."""
    text = plan.settings.get(SETTING)
    return None if text is None else Kept(text, title)


def preprocessing(
    net: Net,
    wanted: Wanted,
    preset: bool,
    kept: Optional[Kept],
    default: Size,
    batch_size: int,
    first: Callable[[], Optional[Size]],
) -> Tuple[Preprocessing, str]:
    """Return how images become input, and how that is written as options.

    Parameters
    ----------
    net : Net
        The network that they are for.
    wanted : Wanted
        What the user says.
    preset : bool
        Whether the user names ImageNet's normalisation.
    kept : Kept or None
        What a plan says.
    default : (int, int)
        The size to be tried first.
    batch_size : int
        How many are run at once.
    first : callable
        Returns the height and width of the first image, if its file says so.

    Returns
    -------
    tuple
        The preprocessing, and options of the command.

    Raises
    ------
    InputError
        If an option makes no sense, or the network does not take such images.
    """
    from mxquant.datasets.preprocessing import Preprocessing

    known = _with_kept(wanted, kept, preset)
    color = known.get("color")
    size = size_of(known["image_size"]) if "image_size" in known else None
    fitting = _fitting(net, size, color, known.get("layout"), default, batch_size, first)
    color = color or ("gray" if fitting.channels == 1 else "rgb")
    values: Dict[str, Any] = {
        "mean": _numbers("--mean", known.get("mean", "0"), color),
        "std": _numbers("--std", known.get("std", "1"), color),
        "scale": _number("--scale", known.get("scale", "1")),
    }
    if preset or (net.from_zoo and not {"mean", "std", "scale"} & known.keys()):
        normal = _imagenet(color)
        values = {**normal, **{name: values[name] for name in ("mean", "std", "scale") if name in known}}
    if min(values["std"]) <= 0:
        raise InputError(f"--std is {known.get('std')!r}, expected three numbers above 0")
    found = Preprocessing(
        fitting.size,
        **values,
        channels_first=fitting.layout == "NCHW",
        resize=_resize(known.get("resize", "auto")),
        crop=_crop(known.get("crop", "center")),
        color=color,
    )
    _log.info("%s", _told(found, fitting.size != (size or default)))
    return found, _written(found)


def _with_kept(wanted: Wanted, kept: Optional[Kept], preset: bool) -> Mapping[str, str]:
    """Return what the user says, and what the plan says besides; tell where they contradict each other."""
    given = wanted.given
    if kept is None:
        return given
    words = shlex.split(kept.options)
    names = {f"--{each.name.replace('_', '-')}": each.name for each in fields(Wanted)}
    if len(words) % 2 or not set(words[::2]) <= set(names):
        raise PlanError(f"'{kept.title}': settings['{SETTING}'] is {kept.options!r}, expected options such as --mean 0")
    options = {names[option]: value for option, value in zip(words[::2], words[1::2])}
    if preset:
        channels = options.get("color", "rgb")
        given = {**{name: _text(value) for name, value in _imagenet(channels).items()}, **given}
    for name, value in given.items():
        if name in options and not _alike(value, options[name]):
            _log.warning(
                "--%s is %s, but '%s' was made with %s; it is judged on other images than those it is for",
                name.replace("_", "-"),
                value,
                kept.title,
                options[name],
            )
    return {**options, **given}


def _alike(one: str, other: str) -> bool:
    """Whether two values of an option mean the same."""
    return bool(_parts(one) == _parts(other))


def _parts(text: str) -> Any:
    try:
        numbers = [float(part) for part in re.split("[,x]", text)]
    except ValueError:
        return text
    return numbers[:1] if len(set(numbers)) == 1 else numbers


class _Fitting(NamedTuple):
    size: Size
    channels: int
    layout: str

    @property
    def shape(self) -> Tuple[int, ...]:
        return (self.channels, *self.size) if self.layout == "NCHW" else (*self.size, self.channels)

    def __str__(self) -> str:
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.size[0]} x {self.size[1]} with {channels} ({self.layout})"


def _fitting(
    net: Net,
    size: Optional[Size],
    color: Optional[str],
    layout: Optional[str],
    default: Size,
    batch_size: int,
    first: Callable[[], Optional[Size]],
) -> _Fitting:
    """Return what the network takes, of what the user leaves open."""
    if len(net.inputs) != 1:
        raise InputError(f"--data has images, but the network has inputs {', '.join(net.inputs)}")
    channels = (3, 1) if color is None else (1,) if color == "gray" else (3,)
    layouts = ("NCHW", "NHWC") if layout is None else (layout,)
    expected = [_Fitting(*each) for each in product([size or default], channels, layouts)]
    found = next((each for each in expected if _takes(net, each, batch_size)), None)
    if found is not None:
        return found
    other = next((each for each in _others(first(), size or default) if _takes(net, each, batch_size)), None)
    if other is not None and size is None and other.channels in channels and other.layout in layouts:
        return other
    reason, _ = refusal(net, {net.inputs[0]: (batch_size, *expected[0].shape)})
    takes = f"it takes {other}" if other is not None else reason
    raise InputError(
        f"--data: the network does not take images of {expected[0]}: {takes}; see --image-size, --color, --layout and "
        "--batch-size"
    )


def _others(first: Optional[Size], expected: Size) -> Iterator[_Fitting]:
    sizes = [expected, *([first] if first is not None else []), *((side, side) for side in _USUAL)]
    for each in product(sizes, (3, 1), ("NCHW", "NHWC")):
        yield _Fitting(*each)


def _takes(net: Net, fitting: _Fitting, batch_size: int) -> bool:
    # Some networks take one size of batches only.
    name = net.inputs[0]
    return any(not refusal(net, {name: (count, *fitting.shape)})[0] for count in {1: 0, batch_size: 0})


def _imagenet(color: str) -> Dict[str, Any]:
    if color == "gray":
        raise InputError("--preset imagenet is for three colours, but --color is gray; expected --mean and --std")
    turned = slice(None, None, -1) if color == "bgr" else slice(None)
    return {name: value[turned] if isinstance(value, tuple) else value for name, value in _IMAGENET.items()}


def _numbers(option: str, text: str, color: str) -> Tuple[float, ...]:
    channels = 1 if color == "gray" else 3
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, channels) or not all(map(math.isfinite, values)):
        three = "three numbers R,G,B, or one for all" if color != "gray" else "one number, since --color is gray"
        raise InputError(f"{option} is {text!r}, expected {three}")
    return tuple(values * (channels // len(values)))


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value):
        raise InputError(f"{option} is {text!r}, expected a number other than 0")
    return value


def _resize(text: str) -> Any:
    if text in ("auto", "none"):
        return text
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise InputError(f"--resize is {text!r}, expected what the shorter side becomes, such as 256, or none")
    return int(text)


def _crop(text: str) -> Any:
    return text if text in ("center", "none") else size_of(text, "--crop")


def _told(how: Preprocessing, searched: bool) -> str:
    """Return what the network receives, in one line."""
    height, width = how.size
    size = f"{how.channels} x {height} x {width}" if how.channels_first else f"{height} x {width} x {how.channels}"
    names = {"rgb": "RGB", "bgr": "BGR", "gray": "grey"}
    form = _form(how)
    low, high = how.range
    normal = f"mean {_text(how.mean)}, std {_text(how.std)}" + (f", scale {how.scale:g}" if how.scale != 1 else "")
    plain = set(how.mean) == {0.0} and set(how.std) == {1.0} and how.scale == 1
    return (
        f"the network receives {size} {names[how.color]}{', the size that it takes' if searched else ''}: {form}; "
        f"{'pixels' if plain else normal}, from {low:.4g} to {high:.4g}"
        + ("; see --preset, --mean, --std, --scale" if plain else "")
    )


def _form(how: Preprocessing) -> str:
    """Return what becomes of the form of an image."""
    if how.crop == "none":
        resized = {"auto": "resized to it", "none": "which have this size"}
        return f"whole images, {resized.get(str(how.resize), f'the shorter side resized to {how.resize}')}"
    cut = "the middle" if how.crop == "center" else f"the middle of {how.crop}"
    if how.resize == "none":
        return f"{cut} of images as they are"
    if how.resize == "auto" and how.crop == "center":
        cover = " x ".join(str(side * 256 // 224) for side in how.size)
        return f"images of this size as they are, of others the middle, resized to cover {cover}"
    return f"{cut} of images {'resized' if how.resize == 'auto' else f'whose shorter side becomes {how.resize}'}"


def _written(how: Preprocessing) -> str:
    """Return options of the command that mean the same."""
    crop = "{}x{}".format(*how.crop) if isinstance(how.crop, tuple) else how.crop
    found = {
        "--image-size": "{}x{}".format(*how.size),
        "--resize": how.resize,
        "--crop": crop,
        "--color": how.color,
        "--layout": "NCHW" if how.channels_first else "NHWC",
        "--mean": _text(how.mean),
        "--std": _text(how.std),
        "--scale": _text(how.scale),
    }
    return " ".join(f"{option} {value}" for option, value in found.items())


def _text(values: Any) -> str:
    """Return numbers as they are written on a command line, one for all where they are the same."""
    numbers: Sequence[float] = values if isinstance(values, tuple) else (values,)
    shown = [repr(float(each))[:-2] if float(each).is_integer() else repr(float(each)) for each in numbers]
    return shown[0] if len(set(shown)) == 1 else ",".join(shown)
