"""The images of an example, of a folder or noise: the first to calibrate on, others to compare fp32 and int8 on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from imagenet_data import SUFFIXES, Preprocessing

__all__ = ["Images", "UsageError", "add_image_options", "images_of", "positive"]

# Of ImageNet, in the unit of the pixels.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class UsageError(ValueError):
    """Options that do not fit together, or files that are not what the options say."""


@dataclass(frozen=True)
class Images:
    """Images to calibrate on, and others to compare fp32 and int8 on; float32 of shape (n, 3, height, width)."""

    calibration: np.ndarray
    evaluation: np.ndarray


def add_image_options(
    parser: argparse.ArgumentParser, size: int = 224, num_calib: int = 8, num_images: int = 16, batch_size: int = 8
) -> None:
    """Add the options that :func:`images_of` reads, with these defaults, and ``--batch-size``."""
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="images, also in folders of it; default: noise")
    numbers = {
        "--size": (size, "side of the images"),
        "--num-calib": (num_calib, "images to calibrate on, the first"),
        "--num-images": (num_images, "images after them to compare on"),
        "--batch-size": (batch_size, "images that are run at once"),
    }
    for name, (default, meaning) in numbers.items():
        parser.add_argument(name, type=positive, default=default, metavar="N", help=f"{meaning}; default: {default}")


def positive(text: str) -> int:
    """Return a number from 1 that an option has."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1")
    return int(text)


def images_of(options: argparse.Namespace) -> Images:
    """Return the images that the options name, normalised as ImageNet's are, or noise of the same distribution.

    Raises
    ------
    UsageError
        If there are too few.
    DataError
        If one cannot be read.
    """
    wanted = options.num_calib + options.num_images
    if options.images is None:
        noise = np.random.RandomState(0).standard_normal((wanted, 3, options.size, options.size))
        return _divided(noise.astype(np.float32), options.num_calib)
    if not options.images.is_dir():
        raise UsageError(f"--images: there is no folder '{options.images}'")
    files = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(files) <= options.num_calib:
        raise UsageError(
            f"--images: '{options.images}' has {len(files)} images, of which --num-calib takes {options.num_calib}; "
            "none is left to compare on"
        )
    # Mixed, always in the same way, so that the first images are of many folders.
    order = np.random.RandomState(0).permutation(len(files))[:wanted]
    read = Preprocessing(options.size, options.size, MEAN, STD)
    return _divided(np.stack([read(files[i]) for i in order]), options.num_calib)


def _divided(images: np.ndarray, count: int) -> Images:
    return Images(images[:count], images[count:])
