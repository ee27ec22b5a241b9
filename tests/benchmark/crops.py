"""Crops of natural photographs, on which top-1 agreement with fp32 says more than ten images can.

Runs in the peers' environment: ``python crops.py --out FILE.npz --per-photo 32 [PHOTO ...]``. To the photographs named
it adds those that the wheels of scikit-image and scikit-learn carry. Crops are as for training on ImageNet (Szegedy et
al., 'Going deeper with convolutions', 2015): area 0.3 to 1 of the photograph, aspect 3/4 to 4/3, flipped or not,
resized to 224. Always the same ones: the seed is fixed. Crops of one photograph are related, so the agreement's error
is larger than their number says.
"""

from __future__ import annotations

import argparse
import math
from importlib.util import find_spec
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
from PIL import Image

__all__ = ["crops_of", "packaged"]

SIZE = 224
AREA, ASPECT = (0.3, 1.0), (3 / 4, 4 / 3)
SEED = 20
BATCH = 10
PACKAGED = (
    *(("skimage", f"data/{name}") for name in ("astronaut.png", "chelsea.png", "coffee.png")),
    *(("skimage", f"data/{name}") for name in ("motorcycle_left.png", "rocket.jpg")),
    *(("sklearn", f"datasets/images/{name}") for name in ("china.jpg", "flower.jpg")),
)


def packaged() -> List[Path]:
    """Return the photographs that installed packages carry."""
    paths = [Path(find_spec(package).submodule_search_locations[0], path) for package, path in PACKAGED]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)}: another version of the package is pinned in requirements.txt")
    return paths


def crops_of(paths: Sequence[Path], per_photo: int) -> np.ndarray:
    """Return crops.

    Parameters
    ----------
    paths : sequence of Path
        Photographs.
    per_photo : int
        Crops of each.

    Returns
    -------
    numpy.ndarray
        Shape (n, 3, 224, 224), uint8, RGB; n is rounded down to whole batches of 10.
    """
    rng = np.random.RandomState(SEED)
    crops = []
    for path in paths:
        photo = Image.open(path).convert("RGB")
        for _ in range(per_photo):
            crop = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=_box(rng, *photo.size))
            pixels = np.asarray(crop)
            crops.append((pixels[:, ::-1] if rng.rand() < 0.5 else pixels).transpose(2, 0, 1))
    return np.stack(crops[: len(crops) // BATCH * BATCH])


def _box(rng: np.random.RandomState, width: int, height: int) -> Tuple[int, int, int, int]:
    """Return left, top, right, bottom of a random part; shapes that do not fit are drawn again."""
    while True:
        area = rng.uniform(*AREA) * width * height
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            left, top = rng.randint(width - w + 1), rng.randint(height - h + 1)
            return left, top, left + w, top + h


def main() -> None:
    """Write the crops."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--per-photo", type=int, default=32)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    np.savez(given.out, crops=crops_of([*given.photos, *packaged()], given.per_photo))


if __name__ == "__main__":
    main()
