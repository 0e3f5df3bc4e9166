"""Uses Likeness as a library: threads share one `Restorer`, which loads the networks once.

python examples/thread_pool.py RESULTS PHOTO...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from likeness import Restorer


def main(results: Path, photos: Sequence[Path], threads: int = 4) -> None:
    """Writes a PNG for every photo, and prints how each of its faces was treated."""
    restorer = Restorer(upscale=1)

    def restore(photo: Path) -> str:
        with Image.open(photo) as opened:
            pixels = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
        result = restorer.image(pixels)
        Image.fromarray(result.pixels).save(results / f"{photo.stem}.png")
        return f"{photo}: " + (", ".join(face.decision.route for face in result.faces) or "no face")

    results.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        for line in pool.map(restore, photos):
            print(line)


if __name__ == "__main__":
    target, *files = map(Path, sys.argv[1:])
    main(target, files)
