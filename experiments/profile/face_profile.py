"""Measures the profile of faces on held-out people: `python experiments/profile/face_profile.py mesh=FILE.obj`.

Pose: the detector's landmarks on each face, on the mirrored one and on one turned by 20°; and, where `mesh` is given,
the pose by dlib's 68 landmarks and a 3-D face of as many points, which is used for this comparison only. Quality:
photos of every recipe are restored as the pipeline does; the rank correlation of quality, and of sharpness alone, with
the identity distance that is left. Time: of the stages measure and profile on one thread.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from likeness.data.faces import FaceRecord, read_face
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.report.provenance import weight_hashes, write_markdown
from likeness.metrics.landmarks import nearest_face
from likeness.nets.face_embedder import weights_file
from likeness.ops.pose import DISTANCE, angles, head_pose
from likeness.stages.align import align
from likeness.stages.detect.base import DetectConfig, Detector
from likeness.stages.detect.registry import DETECTORS, DetectorOptions
from likeness.stages.measure import measure
from likeness.stages.profile import profile_face, read_quality
from likeness.tasks import arguments
from likeness.tasks.fit_quality import RECIPES, Sample, profiled, restored_samples
from likeness.types import FaceProfile, Pixels
from likeness.weights.manifest import released

matplotlib.use("Agg")
Array = npt.NDArray[np.float64]
SIZE, ROTATION, WIDEST = 512, 20.0, 45.0
# The 51 landmarks of dlib's model (Sagonas et al. 2013) without the jaw, as vertices of MediaPipe's canonical face.
VERTICES = (
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153,
    144, 362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317,
    14, 87,
)  # fmt: skip


@dataclass
class FaceProfileOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table and the plot.
        faces: real ones of `val` whose photos are restored, spread evenly; 0 = all.
        posed: the same, for the pose.
        samples: CSV file of what restoring left, see `likeness.tasks.fit_quality`.
        mesh: Wavefront file of MediaPipe's canonical face model (468 vertices); empty leaves out the 68 landmarks.
        seed: of the photos.
    """

    root: str = ""
    dst: str = "experiments/profile"
    faces: int = 39
    posed: int = 60
    samples: str = ""
    mesh: str = ""
    seed: int = 0


def found(detector: Detector, image: Pixels) -> Array | None:
    """Landmarks of the face nearest to the middle, (5, 2); None without a face."""
    face = nearest_face(detector.detect([image])[0], (image.shape[1] / 2, image.shape[0] / 2))
    return face.landmarks[0].astype(np.float64) if len(face) else None


def pose_errors(images: Sequence[Pixels], detector: Detector) -> dict[str, Array]:
    """Absolute errors in degrees: of yaw under mirroring, and of roll under a rotation, with landmarks found anew."""
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), -ROTATION, 1)
    errors: dict[str, list[float]] = {"mirrored": [], "turned": []}
    for image in images:
        mirrored, turned = np.ascontiguousarray(image[:, ::-1]), cv2.warpAffine(image, turn, (SIZE, SIZE))
        points = [found(detector, picture) for picture in (image, mirrored, np.asarray(turned))]
        if any(p is None for p in points):
            continue
        here, there, rolled = (head_pose(p) for p in points if p is not None)
        errors["mirrored"].append(abs(here.yaw + there.yaw))
        errors["turned"].append(abs(rolled.roll - here.roll - ROTATION))
    return {name: np.array(values) for name, values in errors.items()}


def agreement(images: Sequence[Pixels], detector: Detector, mesh: Path) -> Array:
    """(N, 6): yaw, pitch and roll by five landmarks, and by dlib's without the jaw."""
    lines = [line.split()[1:] for line in mesh.read_text().splitlines() if line.startswith("v ")]
    face = np.array(lines, np.float64)[list(VERTICES)] * [1, -1, -1]  # x right, y down, z away from the camera
    face = (face - face.mean(0)) / (np.linalg.norm(face[19:25].mean(0) - face[25:31].mean(0)))
    dlib = importlib.import_module("dlib")
    predictor = dlib.shape_predictor(str(weights_file().with_name("shape_predictor_68_face_landmarks.dat")))
    rows = []
    for image in images:
        five, box = found(detector, image), dlib.rectangle(90, 138, 420, 468)  # where a face lies in FFHQ's crop
        points = np.array([(p.x, p.y) for p in predictor(image, box).parts()], np.float64)[17:]
        focal = DISTANCE * float(np.linalg.norm(points[19:25].mean(0) - points[25:31].mean(0)))
        camera = np.diag([focal, focal, 1.0])
        _, turn, _ = cv2.solvePnP(face, points - points.mean(0), camera, None, flags=cv2.SOLVEPNP_SQPNP)
        if five is not None:
            rows.append([*astuple(head_pose(five)), *astuple(angles(np.asarray(cv2.Rodrigues(turn)[0], np.float64)))])
    return np.array(rows)


def pose_table(images: Sequence[Pixels], mesh: str) -> list[str]:
    """The figures of the pose as Markdown."""
    detector = DETECTORS["mtcnn"].load(DetectorOptions(DetectConfig()))
    lines = ["| pose | faces | mean error | median | 95th percentile |", "|---|---|---|---|---|"]
    names = {"mirrored": "yaw, mirrored picture", "turned": f"roll, picture turned by {ROTATION:g}°"}
    rows = {names[name]: errors for name, errors in pose_errors(images, detector).items()}
    if mesh:
        both = agreement(images, detector, Path(mesh))
        both = both[np.abs(both[:, 3]) <= WIDEST]
        for i, name in enumerate(("yaw", "pitch", "roll")):
            rows[f"{name}, against 68 landmarks"] = np.abs(both[:, i] - both[:, i + 3])
    for name, errors in rows.items():
        figures = (errors.mean(), np.median(errors), np.percentile(errors, 95))
        lines.append(f"| {name} | {len(errors)} | {' | '.join(f'{value:.1f}°' for value in figures)} |")
    if mesh:
        lines += ["", f"The 68 landmarks' yaw runs from {both[:, 3].min():.0f}° to {both[:, 3].max():.0f}°."]
    return lines


def quality_table(pairs: Sequence[tuple[Sample, FaceProfile]]) -> list[str]:
    """Rank correlations by recipe, and the calibration by fifths of the quality, as Markdown."""
    left = np.array([sample.distance for sample, _ in pairs])
    quality, sharp = (np.array([getattr(p, name) for _, p in pairs]) for name in ("quality", "sharpness"))
    recipes = np.array([sample.recipe for sample, _ in pairs])
    lines = ["| recipe | photos | Spearman, quality | Spearman, sharpness |", "|---|---|---|---|"]
    for name in ("all", *RECIPES):
        part = np.full(len(left), True) if name == "all" else recipes == name
        ranks = [float(spearmanr(values[part], -left[part]).statistic) for values in (quality, sharp)]
        lines.append(f"| {name} | {int(part.sum())} | {ranks[0]:.2f} | {ranks[1]:.2f} |")
    lines += ["", "| quality | photos | expected distance | measured distance |", "|---|---|---|---|"]
    for part in np.array_split(np.argsort(quality), 5):
        q, d = quality[part], left[part]
        lines.append(f"| {q.min():.2f} to {q.max():.2f} | {len(part)} | {1 - q.mean():.3f} | {d.mean():.3f} |")
    return lines


def plot(pairs: Sequence[tuple[Sample, FaceProfile]], file: Path) -> None:
    """Measured distance over quality, by recipe."""
    import matplotlib.pyplot as plt

    drawing, axis = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for recipe in RECIPES:
        part = np.array([(p.quality, s.distance) for s, p in pairs if s.recipe == recipe]).reshape(-1, 2)
        axis.scatter(part[:, 0], part[:, 1], s=9, alpha=0.6, label=recipe)
    axis.plot([0, 1], [1, 0], "k-", linewidth=0.8, label="expected")
    axis.set(xlim=(0.2, 1), ylim=(0, 1), xlabel="quality", ylabel="identity distance after restoring")
    axis.legend()
    drawing.savefig(file, dpi=90)
    plt.close(drawing)


def milliseconds(images: Sequence[Pixels]) -> tuple[float, float]:
    """Median time of the stages measure and profile, for faces of 252 px at FFHQ's place."""
    fit, detector = read_quality(released("quality")), DETECTORS["mtcnn"].load(DetectorOptions(DetectConfig()))
    times = []
    for image in images:
        points = found(detector, image)
        if points is None:
            continue
        crop = align(image, points.astype(np.float32), 256)
        start = time.perf_counter()
        measured = measure(image, crop)
        middle = time.perf_counter()
        profile_face(image, crop, points, measured, fit)
        times.append((middle - start, time.perf_counter() - middle))
    first, second = 1000 * np.median(np.array(times), axis=0)
    return float(first), float(second)


def run(options: FaceProfileOptions) -> None:
    """Measures, and writes the table and the plot.

    Raises:
        DataError: where no faces are named.
    """
    cv2.setNumThreads(1)
    root, folder = face_folder(options.root), Path(options.dst)
    posed: list[FaceRecord] = real_faces(root, options.posed)
    images = [np.ascontiguousarray(read_face(root, record, SIZE)) for record in posed]
    samples = Path(options.samples) if options.samples else None
    restored = restored_samples(root, real_faces(root, options.faces), samples, options.seed)
    pairs = list(profiled(root, restored, options.seed, read_quality(released("quality"))))
    first, second = milliseconds(images)
    lines = [
        *("## Pose", "", *pose_table(images, options.mesh), ""),
        *("## Quality", "", *quality_table(pairs), ""),
        *("## Time", "", f"measure {first:.1f} ms, profile {second:.1f} ms a face, median of {len(images)} faces."),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_markdown(folder / "table.md", "The profile of faces", lines, weight_hashes({"quality": released("quality")}))
    plot(pairs, folder / "calibration.png")
    sys.stdout.write("\n".join(lines) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FaceProfileOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
