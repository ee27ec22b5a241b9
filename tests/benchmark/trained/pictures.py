"""Pictures for trained networks: photographs of a package, and text that Pillow draws, all from seeds."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["Photos", "captchas", "chw", "letterboxed", "pages", "photographs", "text_lines"]

Photos = Sequence[Path]

_WORDS = [
    "invoice",
    "total",
    "amount",
    "date",
    "number",
    "street",
    "balance",
    "order",
    "2026",
    "shipping",
    "address",
    "customer",
    "quantity",
    "price",
    "tax",
    "receipt",
    "No.",
    "4711",
    "station",
    "platform",
    "gate",
    "flight",
    "departure",
    "arrival",
    "exit",
    "caution",
    "open",
    "closed",
    "welcome",
    "sale",
    "50%",
    "menu",
    "coffee",
]


def photographs(size: int, numbers: Sequence[int], files: Photos) -> List[Image.Image]:
    """Return photographs, cut to squares: each number means one of the files, and a part of it beyond those."""
    found = []
    for number in numbers:
        random = Random(number)
        with Image.open(files[number % len(files)]) as file:
            image = file.convert("RGB")
        side = int(min(image.size) * (1.0 if number < len(files) else random.uniform(0.5, 0.9)))
        left, top = (random.randint(0, length - side) for length in image.size)
        found.append(image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC))
    return found


def _text(random: Random, words: int) -> str:
    return " ".join(random.choice(_WORDS) for _ in range(words))


def _colours(random: Random) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Return a dark and a light colour, or the other way round."""
    dark = tuple(random.randint(0, 90) for _ in range(3))
    light = tuple(random.randint(165, 255) for _ in range(3))
    return (dark, light) if random.random() < 0.8 else (light, dark)


def pages(size: int, numbers: Sequence[int], files: Photos) -> List[Image.Image]:
    """Return squares with lines of text, on paper or over photographs."""
    found = []
    for number in numbers:
        random = Random(1000 + number)
        ink, paper = _colours(random)
        if number % 3 == 0:
            image = photographs(size, [number], files)[0].filter(ImageFilter.GaussianBlur(2))
        else:
            image = Image.new("RGB", (size, size), paper)
        draw, top = ImageDraw.Draw(image), random.randint(8, 30)
        while top < size - 40:
            height = random.randint(14, 40)
            font = ImageFont.load_default(height)
            draw.text((random.randint(4, size // 3), top), _text(random, random.randint(1, 4)), ink, font)
            top += int(height * random.uniform(1.3, 2.2))
        if number % 4 == 3:
            image = image.rotate(random.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=paper)
        found.append(image)
    return found


def text_lines(height: int, width: int, numbers: Sequence[int]) -> List[Image.Image]:
    """Return lines of text; every second one stands on its head."""
    found = []
    for number in numbers:
        random = Random(2000 + number)
        ink, paper = _colours(random)
        font = ImageFont.load_default(random.randint(height // 2, height * 3 // 4))
        text = _text(random, random.randint(2, 4))
        left, top, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).textbbox((0, 0), text, font)
        image = Image.new("RGB", (int(right - left) + 10, int(bottom - top) + 10), paper)
        ImageDraw.Draw(image).text((5 - left, 5 - top), text, ink, font)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        found.append(image.rotate(180) if number % 2 else image)
    return found


def captchas(size: Tuple[int, int], numbers: Sequence[int], files: Photos) -> List[Image.Image]:
    """Return photographs with a few single letters, turned, in colours."""
    found = []
    for number in numbers:
        random = Random(3000 + number)
        image = photographs(max(size), [number], files)[0].resize(size, Image.Resampling.BICUBIC)
        for place in range(random.randint(3, 5)):
            height = random.randint(size[1] // 5, size[1] // 3)
            letter = Image.new("RGBA", (height + 8, height + 8))
            colour = (*(random.randint(0, 255) for _ in range(3)), 255)
            font = ImageFont.load_default(height)
            ImageDraw.Draw(letter).text((4, 0), random.choice("ABCDEFGHKMNPRSTUVWXY2345678"), colour, font)
            letter = letter.rotate(random.uniform(-35, 35), Image.Resampling.BICUBIC)
            left = 10 + place * (size[0] - height) // 5
            image.paste(letter, (left, random.randint(0, size[1] - height - 8)), letter)
        found.append(image)
    return found


def letterboxed(image: Image.Image, size: int, grey: int = 114) -> Image.Image:
    """Return an image scaled into a square, with grey below or to the right."""
    share = size / max(image.size)
    scaled = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.BILINEAR)
    square = Image.new("RGB", (size, size), (grey,) * 3)
    square.paste(scaled)
    return square


def chw(
    images: Sequence[Image.Image], mean: Sequence[float] = (0, 0, 0), std: Sequence[float] = (1, 1, 1)
) -> np.ndarray:
    """Return images as float32, shape (N, 3, H, W), less the mean and by the deviation, both of values up to 255."""
    values = np.stack([np.asarray(image, np.float32) for image in images])
    values = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
