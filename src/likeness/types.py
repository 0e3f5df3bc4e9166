"""The frozen data that travels between the stages.

Conventions: images are RGB. Frames are HWC uint8 (uint16 where the source is deeper); crops and
restored faces are HWC float32 in [0, 1]; network tensors are BCHW float32 in [0, 1]. Boxes are xyxy
in pixels, pixel centres lie at integers, times are `Fraction` seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]  # (H, W)
Pixels = npt.NDArray[Any]  # HWC uint8 or uint16

Route = Literal["skip", "expert_t", "expert_f", "resize"]
VerdictName = Literal["same", "reduced", "undecided"]
MediaKind = Literal["photo", "video", "gif"]


def check_pixels(pixels: np.ndarray, name: str = "image") -> None:
    """Raises InputError unless `pixels` is a non-empty HWC RGB array of uint8 or uint16."""
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        shape = getattr(pixels, "shape", type(pixels).__name__)
        raise InputError(f"{name}: got {shape}, expected a non-empty RGB array of shape (height, width, 3)")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name}: got dtype {pixels.dtype}, expected uint8 or uint16; convert it first")


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a photo, video or GIF.

    Attributes:
        pixels: HWC uint8 or uint16, RGB.
        index: position in the file, from 0.
        time: presentation time in seconds; 0 for photos.
        duration: how long it is shown, in seconds; None where the source does not say.
        alpha: HW of the same dtype, or None.
    """

    pixels: Pixels
    index: int = 0
    time: Fraction = Fraction(0)
    duration: Fraction | None = None
    alpha: Pixels | None = None

    def __post_init__(self) -> None:
        check_pixels(self.pixels, f"frame {self.index}")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Frames of a clip: those that begin within the range, in seconds after the clip's first frame.

    Attributes:
        start: from here on.
        end: exclusive; None = to the clip's end.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            end = "the end" if self.end is None else f"{float(self.end):g} s"
            raise InputError(f"time range: got {float(self.start):g} s to {end}, expected 0 <= start < end")


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces found in one frame.

    Attributes:
        boxes: (N, 4) float32, xyxy pixels.
        scores: (N,) float32 in [0, 1].
        landmarks: (N, 5, 2) float32, x y pixels: left eye, right eye, nose, left and right mouth
            corner, left and right as seen in the picture.
        looks: (N,) text, the second look that found each; empty where the first one did.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray
    looks: npt.NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if n and not len(self.looks):
            object.__setattr__(self, "looks", np.zeros(n, np.str_))
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.landmarks.shape != (n, 5, 2):
            raise InputError(
                f"faces: got boxes {self.boxes.shape}, scores {self.scores.shape}, landmarks "
                f"{self.landmarks.shape}; expected (N, 4), (N,), (N, 5, 2)"
            )

    @classmethod
    def empty(cls) -> Faces:
        """No face at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Faces]:
        return (self.select([i]) for i in range(len(self)))

    def select(self, index: list[int] | npt.NDArray[Any]) -> Faces:
        """The faces at `index` (positions or a mask), in that order."""
        return Faces(self.boxes[index], self.scores[index], self.landmarks[index], self.looks[index])

    def joined(self, others: Faces) -> Faces:
        """These faces and, after them, `others`."""
        pairs = [(getattr(self, f.name), getattr(others, f.name)) for f in fields(self)]
        return Faces(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class Crop:
    """An aligned face.

    Attributes:
        image: (size, size, 3) float32 in [0, 1].
        matrix: (2, 3) float64 similarity, frame pixels to crop pixels.
        inside: share of the crop that lies inside the frame, 0..1.
    """

    image: FloatArray
    matrix: npt.NDArray[np.float64]
    inside: float = 1.0

    @property
    def size(self) -> int:
        """Edge length in pixels."""
        return int(self.image.shape[0])


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured on a face; the router's only input.

    Attributes:
        width: w, face width in source pixels, twice the eye distance of a frontal face.
        qvol: variance of the Laplacian of the grey 128-px crop, raw (0..255 scale).
        sharpness: the same less what the noise contributes, at least 0.
        detail: percent of contrast lost when the native-size crop is halved and doubled again.
        blockiness: excess of gradients on the 8x8 grid over those off it, in grey levels.
        noise: Immerkaer's sigma on source pixels, in grey levels.
    """

    width: float
    qvol: float
    sharpness: float
    detail: float
    blockiness: float
    noise: float


@dataclass(frozen=True, slots=True)
class Pose:
    """The turn of a head in degrees, relative to the line of sight.

    Attributes:
        yaw: above 0, towards the picture's right.
        pitch: above 0, downwards.
        roll: above 0, clockwise.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class Obstructions:
    """What lies over a face.

    Attributes:
        probabilities: (7, 128, 128) float32 of `nets.obstructions.CLASSES` for each pixel of the aligned crop; they
            sum to 1.
        fractions: of the face under each of them, 0..1, by name.
    """

    probabilities: FloatArray
    fractions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FaceProfile(Profile):
    """All that is measured on a face before it is restored; brightness runs from 0 to 1.

    Attributes:
        resolution: pixels between the eyes in the source against those that the experts read; 1 and more loses nothing.
        exposure: median luma of the face.
        entropy: of the histogram of the face's luma, 0 to 8 bits; low where light or contrast is missing.
        crushed, burnt: fraction of the face that is black or white without detail.
        imbalance: difference of the mean luma of both halves over their sum, -1..1; above 0 the right one is brighter.
        pose: of the head.
        symmetry: difference of the nose's distances to both eyes over their sum, 0..1; 0 = frontal.
        high_band: percent of the contrast in the upper half of the frequencies of blocks of 8 pixels.
        jpeg_quality: by which the pixels were quantised; None where no trace is seen, as in pictures that were resized
            since or stored above about 90.
        contours: how far contours stand out from noise, in grey levels, in the octaves that end at crops of 256, 128
            and 64 pixels.
        quality: 1 less the expected identity distance between the restored face and the true one, 0..1.
        remarks: what is wrong with the picture of the face, in words, worst first.
        obstructions: what lies over the face, where that was asked for.
    """

    resolution: float
    exposure: float
    entropy: float
    crushed: float
    burnt: float
    imbalance: float
    pose: Pose
    symmetry: float
    high_band: float
    jpeg_quality: int | None
    contours: tuple[float, float, float]
    quality: float = 0.0
    remarks: tuple[str, ...] = ()
    obstructions: Obstructions | None = None


@dataclass(frozen=True, slots=True)
class GateOutput:
    """What the learned gate returns for a face.

    Attributes:
        probability: that Expert-T restores it at lower cost than Expert-F, 0..1; in clips the mean over the track.
        leave: that it costs less left alone than restored, likewise.
        features: the gate's inputs in the last frame, by name.
        observations: number of frames of the track in that mean.
    """

    probability: float
    leave: float
    features: Mapping[str, float]
    observations: int = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a face goes and why.

    Attributes:
        route: by the width bands, or by the gate.
        reason: one sentence with the figures that decided.
        expert: name of the expert that runs; None keeps the background's pixels.
        gate: the gate's output, where it decided.
    """

    route: Route
    reason: str
    expert: str | None = None
    gate: GateOutput | None = None

    @property
    def left_alone(self) -> bool:
        """Whether the gate left the face alone; `repair` may still fill it."""
        return self.gate is not None and self.route == "resize"


@dataclass(frozen=True, slots=True)
class Restored:
    """What an expert returns for one face.

    Attributes:
        image: (size, size, 3) float32 in [0, 1], size = the expert's output size.
        confidence: (h, w) float32 in [0, 1], low where the network invents detail; None without such a head.
        state: state for the next frame of this face, from experts that are steady over time; else None.
    """

    image: FloatArray
    confidence: FloatArray | None = None
    state: Any = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an expert gets with a crop of a clip.

    Attributes:
        state: `Restored.state` of this face's last frame; None for a new face.
        weight: above 0, weight of this frame's texture in the track's mean; sharper frames weigh more.
        gain: exposure gain, smooth over the track; None lets the expert measure it.
        unknown: pixels of the crop that are to be invented, already filled smoothly; only in photos.
    """

    state: Any
    weight: float
    gain: float | None = None
    unknown: Mask | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the identity guard measured and did.

    Attributes:
        verdict: "same", "reduced" or "undecided".
        distance: between the input and the expert's output, by the guard's recogniser; each embedding is the mean of
            its views.
        final_distance: the same after the guard acted.
        bound: largest distance that passes at this quality; None where the guard is undecided.
        alpha: fraction of the restored face that remains, 0..1.
    """

    verdict: VerdictName
    distance: float
    final_distance: float
    bound: float | None
    alpha: float


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What an input file is.

    Attributes:
        kind: photo, video or gif.
        width, height: displayed size in pixels.
        frames: number of frames where the container says so, else None.
        fps: average frame rate, None for photos.
        duration: seconds, None for photos or where unknown.
        format: short name of the format ("jpeg", "png", "mp4", "gif").
        codec: video codec, empty for the rest.
        audio: codecs of the sound streams.
        loop: GIF loop count as stored (0 = for ever), None where there is none.
    """

    kind: MediaKind
    width: int
    height: int
    frames: int | None = 1
    fps: Fraction | None = None
    duration: Fraction | None = None
    format: str = ""
    codec: str = ""
    audio: tuple[str, ...] = ()
    loop: int | None = None
