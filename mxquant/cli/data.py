"""The examples that a command works on: images, arrays, or what a function of the user's returns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional, Sequence, Tuple

from mxquant.cli.examples import NO_LABELS, Data
from mxquant.cli.files import examples, the_file
from mxquant.cli.fitting import Fitting, refusal
from mxquant.cli.labels import labels_of
from mxquant.cli.network import Net, NetworkOptions
from mxquant.cli.options import option
from mxquant.cli.own_code import called, function_of, working_folder
from mxquant.errors import InputError
from mxquant.files.regular import missing
from mxquant.shown import logger

if TYPE_CHECKING:
    from mxquant.cli.images import Kept
    from mxquant.datasets.preprocessing import Preprocessing

__all__ = ["Color", "DataOptions", "Layout", "Preset"]

_PANEL = "Data"
_FUNCTION = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")
# Sizes that are tried for a network that takes one size of batches only.
_BATCHES = (1, 2, 4, 8, 16, 64, 128)
# Of the formats whose size is known, none is shorter.
_SHORTEST = 26
_log = logger(__name__)


class Layout(str, Enum):
    """How images lie in the network's input."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class Color(str, Enum):
    """What the channels of images are."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Preset(str, Enum):
    """Normalisations by name."""

    IMAGENET = "imagenet"


@dataclass(frozen=True)
class DataOptions:
    """Which examples, and how images are read."""

    data: str = field(
        metadata=option(
            "--data",
            "-d",
            metavar="PATH",
            help="A folder of images or of class folders (see --classes), a .rec file, "
            "a .npy or .npz array, preprocessed, the URL of one of these, or module:function, which is called, each "
            "time it is needed, for anything that mxquant.calibrate takes.",
            panel=_PANEL,
            reads=examples,
        )
    )
    num_examples: Optional[int] = field(
        default=None,
        metadata=option(
            "--num-examples",
            "-n",
            metavar="N",
            min=1,
            help="Use the first N examples. Default: at most 512 to calibrate, 16 to compare, 64 for a report; all to "
            "score.",
            panel=_PANEL,
        ),
    )
    batch_size: int = field(
        default=32, metadata=option("--batch-size", "-b", metavar="N", min=1, help="Examples at once.", panel=_PANEL)
    )
    preset: Optional[Preset] = field(
        default=None,
        metadata=option(
            "--preset",
            help="For images: mean 123.675,116.28,103.53 and std 58.395,57.12,57.375 of R,G,B. Default for --gluon.",
            panel=_PANEL,
        ),
    )
    mean: Optional[str] = field(
        default=None,
        metadata=option(
            "--mean",
            metavar="R,G,B",
            help="For images: (pixel - mean) / std * scale is what the network gets, of pixels from 0 to 255; in the "
            "order of --color, or one number for all. Default: 0.",
            panel=_PANEL,
        ),
    )
    std: Optional[str] = field(
        default=None, metadata=option("--std", metavar="R,G,B", help="See --mean. Default: 1.", panel=_PANEL)
    )
    scale: Optional[float] = field(
        default=None, metadata=option("--scale", metavar="F", help="See --mean. Default: 1.", panel=_PANEL)
    )
    resize: Optional[str] = field(
        default=None,
        metadata=option(
            "--resize",
            metavar="N|none",
            help="For images: what the shorter side becomes. Default: 256/224 of --image-size, unless an image has "
            "this size.",
            panel=_PANEL,
        ),
    )
    crop: Optional[str] = field(
        default=None,
        metadata=option(
            "--crop",
            metavar="center|none|N|HxW",
            help="What is cut out of the middle; none: whole images are resized to --image-size. Default: center, of "
            "that size.",
            panel=_PANEL,
        ),
    )
    color: Optional[Color] = field(
        default=None,
        metadata=option("--color", help="What the channels are. Default: rgb, or gray if it fits.", panel=_PANEL),
    )
    layout: Optional[Layout] = field(
        default=None,
        metadata=option("--layout", help="How images lie in the network's input. Default: what fits it.", panel=_PANEL),
    )
    classes: Optional[Path] = field(
        default=None,
        metadata=option(
            "--classes",
            metavar="FILE",
            help="Names of class folders, one a line, from class 0 on; or a number and a name in each line.",
            panel=_PANEL,
            reads=the_file,
        ),
    )

    def open(self, net: Net, network: NetworkOptions, kept: Optional[Kept] = None, labels: bool = False) -> Data:
        """Return the examples.

        Parameters
        ----------
        net : Net
            The network that they are for.
        network : NetworkOptions
            How it was named.
        kept : Kept, optional
            How images became input of the int8 network that is judged.
        labels : bool
            Whether the command uses labels, so that it is told what they are.

        Returns
        -------
        Data
            All of them.

        Raises
        ------
        InputError
            If they are not there or cannot be read, or options do not fit them.
        """
        path = Path(self.data)
        url = "://" in self.data
        if (url and not self.data.endswith((".npy", ".npz"))) or path.is_dir() or _is_record(path):
            found = self._images(net, network, kept, labels)
        else:
            self._refuse_preprocessing()
            found = self._arrays(net, path) if url or path.is_file() else self._from_function(net, path)
        return replace(found, fitted=Fitting(net, self.data), network=net.network)

    def _arrays(self, net: Net, path: Path) -> Data:
        from mxquant.datasets.arrays import ArrayFile, read_arrays

        if path.suffix not in (".npy", ".npz"):
            raise self._unknown("has another suffix")
        if "://" in self.data:
            found = ArrayFile.of(self.data, net.inputs, self.batch_size)
            heads = next(iter(found.part(0, 1)))
            found = replace(found, batch_size=self._at_once(net, [part.shape[1:] for part in heads]))
            return Data(lambda: iter(found), net.inputs, self.data, len(found), dataset=lambda: found)
        arrays = read_arrays(path, net.inputs)
        size = self._at_once(net, [part.shape[1:] for part in arrays.inputs])
        return Data(
            lambda: arrays.batches(size),
            net.inputs,
            self.data,
            len(arrays),
            dataset=lambda: ArrayFile.of(self.data, net.inputs, size),
        )

    def _from_function(self, net: Net, path: Path) -> Data:
        match = _FUNCTION.fullmatch(self.data)
        if path.exists():
            raise InputError(f"--data: {missing(path)}")
        if match is None:
            raise self._unknown("does not exist")
        function = function_of(match["module"], match["name"])
        return Data(lambda: called(function, self.data), net.inputs, self.data, around=working_folder)

    def _unknown(self, problem: str) -> InputError:
        return InputError(
            f"--data: '{self.data}' {problem}; expected a folder of images, a .rec, .npy or .npz file, or "
            "module:function"
        )

    def _images(self, net: Net, network: NetworkOptions, kept: Optional[Kept], labels: bool) -> Data:
        if self.data.endswith(".rec"):
            return self._records(net, network, kept)
        from mxquant.datasets import ImageFiles
        from mxquant.datasets.images import class_folders, files_of, read_files

        name = self.data if "://" in self.data else str(Path(self.data))
        folders = class_folders(name)
        files = files_of(name, dict.fromkeys(folders, 0))
        how, options = self._preprocessing(net, network, kept, lambda: next(iter(read_files(files[:1]))).content)
        unlabelled = NO_LABELS
        if files[0][1] is not None:
            classes = labels_of(self.data, folders, _outputs(net, how.shape, self.batch_size), self.classes)
            if labels and not classes.problem:
                _log.info("%s", classes.told)
            unlabelled = classes.problem
            files = files_of(name, classes.classes)
        elif self.classes is not None:
            raise InputError(f"--classes names class folders, but '{self.data}' has images and no class folders")
        if unlabelled:
            files = [(path, None) for path, _ in files]
        found = ImageFiles(files, how, self._at_once(net, [how.shape]), name)
        return Data(
            lambda: iter(found),
            net.inputs,
            name,
            len(found),
            dataset=lambda: found,
            unlabelled=unlabelled or NO_LABELS,
            images=options,
        )

    def _records(self, net: Net, network: NetworkOptions, kept: Optional[Kept]) -> Data:
        from itertools import repeat

        from mxquant.datasets import RecordFile
        from mxquant.datasets.preprocessing import batches_of
        from mxquant.datasets.records import first_record, read_record, record_size

        if self.classes is not None:
            raise InputError(f"--classes names class folders, but '{self.data}' has labels of its own")
        first, numbers = first_record(self.data)
        how, options = self._preprocessing(net, network, kept, lambda: first.content)
        unlabelled = NO_LABELS
        if numbers > 1:
            unlabelled = f"the labels in '{self.data}' are of {numbers} numbers, which are no class; none are used"
        size = self._at_once(net, [how.shape])
        if "://" in self.data:
            found = RecordFile.of(self.data, how, size)
            data = Data(lambda: iter(found), net.inputs, self.data, len(found), dataset=lambda: found)
        else:
            name = str(Path(self.data))
            data = Data(
                lambda: batches_of(read_record(name), how, repeat(size)),
                net.inputs,
                name,
                record_size(name),
                dataset=lambda: RecordFile.of(name, how, size),
            )
        return replace(data, unlabelled=unlabelled, images=options)

    def _at_once(self, net: Net, examples: Sequence[Tuple[int, ...]]) -> int:
        """Return how many examples of some shapes a batch has: as many as the user says, or as the network takes."""
        for count in (self.batch_size, *_BATCHES):
            if not refusal(net, {name: (count, *shape) for name, shape in zip(net.inputs, examples)})[0]:
                if count != self.batch_size:
                    _log.info("batches are of %d, since the network takes none of %d", count, self.batch_size)
                return count
        return self.batch_size

    def _refuse_preprocessing(self) -> None:
        for name in ("preset", "mean", "std", "scale", "resize", "crop", "color", "classes"):
            if getattr(self, name) is not None:
                raise InputError(f"--{name} is for images, but --data '{self.data}' has none: it is taken as it is")

    def _preprocessing(
        self, net: Net, network: NetworkOptions, kept: Optional[Kept], first: Callable[[], bytes]
    ) -> Tuple[Preprocessing, str]:
        from mxquant.cli.images import Wanted, preprocessing
        from mxquant.datasets.image_size import image_size

        def size() -> Optional[Tuple[int, int]]:
            content = first()
            found = image_size(content) if len(content) >= _SHORTEST else None
            return None if found is None else (found[1], found[0])

        wanted = Wanted(
            image_size=network.image_size,
            resize=self.resize,
            crop=self.crop,
            color=None if self.color is None else self.color.value,
            layout=None if self.layout is None else self.layout.value,
            mean=self.mean,
            std=self.std,
            scale=None if self.scale is None else repr(self.scale),
        )
        return preprocessing(net, wanted, self.preset is Preset.IMAGENET, kept, network.size, self.batch_size, size)


def _is_record(path: Path) -> bool:
    return path.is_file() and path.suffix == ".rec"


def _outputs(net: Net, shape: Tuple[int, ...], batch_size: int) -> Optional[int]:
    """Return how many classes the network has, if its first output is a score for each."""
    for count in (1, batch_size):
        _, outputs = refusal(net, {net.inputs[0]: (count, *shape)})
        if outputs and outputs[0] is not None and len(outputs[0]) == 2:
            return outputs[0][1]
    return None
