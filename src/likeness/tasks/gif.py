"""Videos to GIFs by what is wrong with them, and restored: `python -m likeness.tasks.gif src=DIR dst=DIR`.

Lays out `raw_videos/`, `gifs/{noisy,blurry,low_res}/`, `frames/{input,enhanced}/NAME/` and `output_gifs/` below `dst`,
with a table of all clips. `confusion=FILE.md` instead degrades the clips of `src` on purpose, in each of the three
ways, and writes how often the class is right.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from omegaconf import MISSING
from PIL import Image

from likeness.errors import ConfigError, InputError, OutputError
from likeness.evaluation.report import provenance
from likeness.log import get_logger
from likeness.media.files import kind_of
from likeness.media.folders import find_media
from likeness.media.gif import GifReader, GifWriter
from likeness.media.video_reader import VideoReader
from likeness.metrics.clip_fault import FAULTS, Fault, clip_quality, fault
from likeness.metrics.gmsd import gmsd
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim
from likeness.metrics.temporal import temporal_error
from likeness.ops.tensors import stack_crops
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.restorer import Restorer
from likeness.tasks import arguments
from likeness.types import Frame, MediaInfo, Pixels

log = get_logger(__name__)


@dataclass
class GifOptions:
    """Options of the command.

    Attributes:
        src: a folder of videos.
        dst: where everything goes; needed unless `confusion` is given.
        truth: a folder with the good clips of the same names, where there are any.
        side: longest side of a GIF in pixels; larger clips are shrunk.
        rate: frames a second.
        seconds: at most so much of each clip.
        confusion: a Markdown file; see above.
        seed: of the degradations on purpose.
    """

    src: str = MISSING
    dst: str = ""
    truth: str = ""
    side: int = 480
    rate: float = 12.5
    seconds: float = 6.0
    confusion: str = ""
    seed: int = 0


def sampled(file: Path, options: GifOptions) -> Iterator[Frame]:
    """The frames of a GIF of this clip, before its colours are counted: even in time, at most `side` pixels long."""
    step = Fraction(options.rate).limit_denominator(100) ** -1
    due, index = Fraction(0), 0
    with VideoReader(file) as reader:
        for frame in reader:
            if frame.time >= Fraction(options.seconds).limit_denominator(1000):
                return
            while frame.time + (frame.duration or step) > due:
                yield Frame(_shrunk(frame.pixels, options.side), index, due, step)
                due, index = due + step, index + 1


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    height, width = eight.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return eight
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(eight, size, interpolation=cv2.INTER_AREA)


def write_gif(file: Path, frames: Sequence[Frame]) -> None:
    """Writes frames of one size as a GIF that plays for ever.

    Raises:
        OutputError: if it cannot be written.
    """
    height, width = frames[0].pixels.shape[:2]
    file.parent.mkdir(parents=True, exist_ok=True)
    with GifWriter(file, MediaInfo("gif", width, height, len(frames), loop=0, format="gif")) as writer:
        for frame in frames:
            writer.write(frame)


def convert(file: Path, restorer: Restorer, options: GifOptions) -> dict[str, Any]:
    """One clip through everything; returns its line of the table."""
    dst, name = Path(options.dst), file.stem
    raw = dst / "raw_videos" / file.name
    raw.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, raw)
    frames = list(sampled(file, options))
    quality = clip_quality([f.pixels for f in frames])
    kind = fault(quality)
    gif, out = dst / "gifs" / kind / f"{name}.gif", dst / "output_gifs" / f"{name}.gif"
    write_gif(gif, frames)
    out.parent.mkdir(parents=True, exist_ok=True)
    report = restorer.video(gif, out)
    line: dict[str, Any] = {"clip": file.name, "class": kind, **asdict(quality), "frames": len(frames)}
    line |= {"faces": report["totals"]["faces"], "restored": report["totals"]["restored"]}
    pictures = {role: [f.pixels for f in GifReader(path)] for role, path in (("input", gif), ("enhanced", out))}
    for role, pixels in pictures.items():
        folder = dst / "frames" / role / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / f"{i:04d}.png")
    good = Path(options.truth) / file.name if options.truth else None
    if good and good.is_file():
        truth = [f.pixels for f in sampled(good, options)][: len(frames)]
        for role, pixels in pictures.items():
            line |= {f"{role}_{figure}": value for figure, value in against(pixels, truth).items()}
    return line


def against(pictures: Sequence[Pixels], truth: Sequence[Pixels]) -> dict[str, float]:
    """Figures of frames against the true ones, which are brought to their size.

    Raises:
        InputError: if the clips are not equally long.
    """
    if len(pictures) != len(truth):
        raise InputError(f"truth: got {len(truth)} frames for {len(pictures)}; expected the same clip")
    height, width = pictures[0].shape[:2]
    good = [cv2.resize(t, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) for t in truth]
    ours = [p.astype(np.float32) for p in pictures]
    a, b = (stack_crops(x, torch.device("cpu")) / 255 for x in (ours, good))
    scores = {"psnr": float(psnr(a, b).mean()), "ssim": float(ssim(a, b).mean()), "gmsd": float(gmsd(a, b).mean())}
    if len(ours) > 1:
        pairs = zip(ours, ours[1:], good, good[1:], strict=False)
        scores["tmse_gt"] = float(np.mean([temporal_error(*pair) for pair in pairs]))
    return scores


def spoiled(frames: Sequence[Pixels], kind: Fault, rng: np.random.Generator) -> list[Pixels]:
    """Frames with one fault, as it occurs: noise of 8 to 16 grey levels, blur of 2 to 4 pixels, or 90 to 180 pixels."""
    if kind == "noisy":
        sigma = rng.uniform(8, 16)
        return [np.rint(np.clip(f + rng.normal(0, sigma, f.shape), 0, 255)).astype(np.uint8) for f in frames]
    if kind == "blurry":
        sigma = rng.uniform(2, 4)
        return [cv2.GaussianBlur(f, (0, 0), sigma) for f in frames]
    scale = rng.uniform(90, 180) / min(frames[0].shape[:2])
    size = (round(frames[0].shape[1] * scale), round(frames[0].shape[0] * scale))
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]


def confusion(files: Sequence[Path], options: GifOptions) -> dict[Fault, dict[Fault, int]]:
    """How often a clip that was spoiled in one way is given each class."""
    counts: dict[Fault, dict[Fault, int]] = {true: dict.fromkeys(FAULTS, 0) for true in FAULTS}
    for number, file in enumerate(files):
        frames = [f.pixels for f in sampled(file, options)][::6]
        for which, true in enumerate(FAULTS):
            rng = np.random.default_rng([options.seed, number, which])
            counts[true][fault(clip_quality(spoiled(frames, true, rng)))] += 1
    return counts


def confusion_table(counts: dict[Fault, dict[Fault, int]]) -> list[str]:
    """Markdown: a row a true class, with the fraction that was classified correctly."""
    head = "| spoiled | " + " | ".join(f"predicted {f}" for f in FAULTS) + " | right |"
    lines = [head, "|---" * (len(FAULTS) + 2) + "|"]
    for true, predicted in counts.items():
        accuracy = 100 * predicted[true] / max(1, sum(predicted.values()))
        lines.append(f"| {true} | " + " | ".join(str(predicted[f]) for f in FAULTS) + f" | {accuracy:.0f} % |")
    correct, total = sum(counts[f][f] for f in counts), sum(sum(row.values()) for row in counts.values())
    return [*lines, "", f"{100 * correct / max(1, total):.0f} % in all."]


def run(options: GifOptions) -> None:
    """Converts and restores, or measures the classes.

    Raises:
        ConfigError: without `dst` or `confusion`, or for a rate, a side or a length that makes no sense.
        InputError: if there is no video.
        OutputError: if the table cannot be written.
    """
    if not options.dst and not options.confusion:
        raise ConfigError("gif: got no dst, expected dst=DIR for the GIFs, or confusion=FILE.md for the classes alone")
    if min(options.rate, options.seconds) <= 0 or options.side < 16 or options.rate > 50:
        raise ConfigError(
            f"gif: got rate={options.rate}, seconds={options.seconds}, side={options.side}; expected 0 to 50 frames a "
            "second, a length above 0 and at least 16 pixels"
        )
    files = [f for f in find_media(options.src) if kind_of(f) == "video"]
    if not files:
        raise InputError(f"src: no video in {options.src}; expected MP4, MOV, MKV, WebM or others")
    if options.confusion:
        counts = confusion(files, options)
        lines = [f"{len(files)} clips, each spoiled on purpose in three ways.", "", *confusion_table(counts)]
        provenance.write_markdown(Path(options.confusion), "Noisy, blurry or low resolution?", lines)
        print("\n".join(lines))
        return
    restorer = Restorer(RestorerConfig(upscale="1"))
    lines_ = [convert(file, restorer, options) for file in files]
    columns = list(dict.fromkeys(key for line in lines_ for key in line))
    target = Path(options.dst) / "clips.csv"
    try:
        with target.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(lines_)
    except OSError as error:
        raise OutputError(f"dst: cannot write {target} ({error.strerror}); choose another dst") from error
    print(f"{len(files)} clips: {target}")


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(GifOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
