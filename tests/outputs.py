"""What Restorer makes of a dozen files, as hashes of decoded pixels: equal before and after a change of the code.

    python tests/outputs.py before.json            # on the old commit
    python tests/outputs.py after.json before.json # on the new one: names what differs, exit code 1

Needs LIKENESS_DATA. Processors round differently: compare on one machine and commit no hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageSequence

ROOT = Path(__file__).parents[1]
PHOTOS = (
    "real_photos/codeformer_whole_imgs_04.jpg",
    "real_photos/dfdnet_TestWhole_test1.jpg",
    "real_photos/diffbir_demo_bfr_whole_img_Queen.jpeg",
    "real_photos/dlib_faces_2008_007676.jpg",
    "real_photos/bopb_old_w_scratch_b.png",
    "real_photos/fr_obama-240p.jpg",
)
CLIPS = ("gifs/rg_are-you-a-cop.gif", "clips_good/az_duo_tv.mp4", "clips_good/sfr_two_cut.mp4")


def sample(folder: Path, data: Path) -> None:
    """Copies the inputs, and makes a 16-bit TIFF, a PNG with alpha and the pictures of the demo."""
    for name in (*PHOTOS, *CLIPS):
        shutil.copy(data / name, folder)
    deep = cv2.imread(str(data / "odd/made_face_16bit.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(folder / "deep.tiff"), deep)
    flat = cv2.imread(str(data / PHOTOS[3]))
    alpha = np.linspace(0, 255, flat.shape[1]).astype(np.uint8)[None].repeat(flat.shape[0], 0)
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([flat, alpha]))


def infer(*options: str) -> None:
    """Runs infer.py as a user would."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "infer.py", *options], cwd=ROOT, env=environment, check=True)


def decoded(path: Path) -> str:
    """sha256 of every pixel of a photo, video or GIF, of shapes and of durations."""
    digest = hashlib.sha256()
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                digest.update(f"{frame.pts} {frame.width} {frame.height}".encode())
                digest.update(frame.to_ndarray(format="yuv420p").tobytes())
    elif path.suffix in (".tiff", ".png"):  # cv2 keeps 16 bits
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        digest.update(f"{pixels.shape} {pixels.dtype}".encode() + pixels.tobytes())
    else:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                digest.update(f"{frame.size} {frame.info.get('duration')}".encode() + frame.convert("RGBA").tobytes())
    return digest.hexdigest()


def main(target: str, base: str | None = None) -> int:
    """Writes the hashes; with `base`, says which outputs differ."""
    with tempfile.TemporaryDirectory() as name:
        inputs, outputs = Path(name, "in"), Path(name, "out")
        inputs.mkdir()
        sample(inputs, Path(os.environ["LIKENESS_DATA"]))
        infer(f"input={inputs}", f"output={outputs}", "end=1", "compare=no", "cards=0")
        infer(f"output={outputs}")  # the demo
        files = [p for p in sorted(outputs.rglob("*")) if p.is_file() and not p.suffix.startswith(".json")]
        hashes = {str(p.relative_to(outputs)): decoded(p) for p in files}
    Path(target).write_text(json.dumps(hashes, indent=1) + "\n")
    if base is None:
        return 0
    before = json.loads(Path(base).read_text())
    different = sorted(n for n in before.keys() | hashes.keys() if before.get(n) != hashes.get(n))
    print(f"{len(hashes) - len(different)} of {len(hashes)} outputs equal", *different, sep="\n  differs: ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
