"""The types of the report, from which `make schema` writes docs/report.schema.json.

Lengths are in source pixels and times in seconds where nothing else is said.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict  # typing's own lacks what pydantic needs until Python 3.12

from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.report_numbers import Amount, Bounds, Count, Fraction
from likeness.stages.background.base import BackgroundPlan
from likeness.types import MediaKind, Route, VerdictName


class GateRecord(TypedDict):
    """What the learned gate measured and said.

    Attributes:
        probability: that Expert-T restores this face at lower cost than Expert-F.
        leave: that it costs less left alone than restored.
        features: what it read, by name.
    """

    probability: Fraction
    leave: Fraction
    features: dict[str, float]


class GuardRecord(TypedDict):
    """What the identity guard measured on four views, and what it did.

    Attributes:
        verdict: `same`, within the bound; `reduced`, mixed with the input until within; `undecided`, at this quality
            different people lie as close, so nothing was done.
        distance: between the embeddings of the input and of the expert's face.
        final_distance: the same after the guard acted.
        bound: largest distance that passes at this face's sharpness, strictness applied; null where undecided.
        alpha: fraction of the restored face that the guard lets through.
    """

    verdict: VerdictName
    distance: Amount
    final_distance: Amount
    bound: Amount | None
    alpha: Fraction


class ProfileRecord(TypedDict):
    """What else was measured on a face before it was restored.

    Attributes:
        resolution: pixels between the eyes against those that the experts read; 1 and more loses nothing.
        exposure: median luma of the face, 0..1.
        entropy: of the histogram of the face's luma, in bits; low where light or contrast is missing.
        crushed: fraction of the face that is black without detail.
        burnt: fraction of the face that is white without detail.
        imbalance: difference of the mean luma of the face's halves over their sum; above 0 the right one is brighter.
        yaw: degrees that the head is turned relative to the line of sight, above 0 to the picture's right.
        pitch: above 0 downwards.
        roll: above 0 clockwise.
        symmetry: difference of the nose's distances to both eyes over their sum; 0 = frontal.
        high_band: percent of the contrast in the upper half of the frequencies of blocks of 8 pixels.
        jpeg_quality: by which the pixels were quantised; null where no trace of it is seen.
        remarks: what is wrong with the picture of the face, in words.
        obstructions: fraction of the face under glasses, a mask, hair, a hand or object, damage and text; empty where
            it was not looked for.
    """

    resolution: Amount
    exposure: Fraction
    entropy: Annotated[float, Bounds(0, 8)]
    crushed: Fraction
    burnt: Fraction
    imbalance: Annotated[float, Bounds(-1, 1)]
    yaw: Annotated[float, Bounds(-90, 90)]
    pitch: Annotated[float, Bounds(-180, 180)]
    roll: Annotated[float, Bounds(-180, 180)]
    symmetry: Fraction
    high_band: Amount
    jpeg_quality: Annotated[int, Bounds(1, 100)] | None
    remarks: list[str]
    obstructions: dict[str, Fraction]


class FaceRecord(TypedDict):
    """One face of one frame.

    Attributes:
        face: its number in the frame, 0 = largest box.
        track: its number within the clip, the same in all frames; null in photos.
        box: x0, y0, x1, y1 of the detector's box; pixel centres lie at integers.
        score: the detector's.
        landmarks: x and y of left eye, right eye, nose, left and right mouth corner, left and right as seen.
        inside: fraction of the aligned crop that lies inside the frame.
        w: face width, twice the eye distance of a frontal face, from the scale of the alignment.
        qvol: variance of the Laplacian of the grey aligned face at 128 px, on the 0..255 scale.
        sharpness: qvol less what the measured noise contributes, at least 0.
        detail: percent of the contrast that is lost when the face is halved and doubled; sharp faces 7 to 17.
        blockiness: excess of the gradients on an 8x8 grid over those off it, in grey levels.
        noise: standard deviation of the noise, in grey levels.
        quality: 1 less the expected identity distance between the restored and the true face.
        profile: light, pose, compression.
        route: what the rule or the gate chose: left alone, an expert, or plain resizing.
        reason: why, with the figures that decided.
        expert: the network that ran; null where none did.
        gate: null where the rule decided, or nothing was to be restored.
        identity_distance: between the embeddings (one view) of the input crop and of what was used of the restored
            face; one person below 0.6. Null where no expert ran, or with guard.every_frame=false.
        guard: null where no expert ran, or the guard was off.
        confidence: mean of the expert's confidence map; null where it has none.
        alpha: fraction of the restored face in what was pasted; the rest is the enlarged input.
        propagated: clips: the residual of an earlier frame was used instead of the expert.
        invented: fraction of the face's crop that `repair` filled; confidence is 0 there.
        milliseconds: spent on this face.
        notes: fallbacks that this face met.
    """

    face: Count
    track: Count | None
    box: list[float]
    score: Fraction
    landmarks: list[list[float]]
    inside: Fraction
    w: Amount
    qvol: Amount
    sharpness: Amount
    detail: Amount
    blockiness: Amount
    noise: Amount
    quality: Fraction
    profile: ProfileRecord
    route: Route
    reason: str
    expert: str | None
    gate: GateRecord | None
    identity_distance: Amount | None
    guard: GuardRecord | None
    confidence: Fraction | None
    alpha: Fraction
    propagated: bool
    invented: Fraction
    milliseconds: Amount
    notes: list[str]


class ShotRecord(TypedDict):
    """One of the best shots of a face.

    Attributes:
        file: the picture.
        frame: its number, from 0.
        time: when it is shown.
        quality: of the face in it.
    """

    file: str
    frame: Count
    time: float
    quality: Fraction


class FaceTotals(FaceRecord):
    """One face of a photo, or one track of a clip as it was in its last frame.

    Attributes:
        frames: with this face.
        restored_frames: those in which it was restored.
        propagated_frames: restored ones that were propagated from an earlier one.
        identity_spread: root mean square distance of the restored face's embeddings to their mean over the frames;
            null for fewer than two.
        card: row of its card in the picture of all cards, from 0; null without one.
        best_frames: its best shots, best first; empty in photos, and with best_frames=0.
    """

    frames: Count
    restored_frames: Count
    propagated_frames: Count
    identity_spread: Amount | None
    card: Count | None
    best_frames: list[ShotRecord]


class FrameRecord(TypedDict):
    """One line of the frames log.

    Attributes:
        schema: version of this format.
        frame: its number, from 0.
        time: when it is shown.
        faces: largest first.
    """

    schema: Literal[1]
    frame: Count
    time: float
    faces: list[FaceRecord]


class InputRecord(TypedDict):
    """Facts of the input file.

    Attributes:
        file: path as it was given.
        kind: animated WebP and PNG count as gif.
        format: short name such as jpeg, png, mp4, gif.
        width, height: as displayed.
        frames: as the file says; null where it does not.
        fps: average frame rate as a fraction such as 30000/1001; null for photos.
        seconds: length; null for photos, or where unknown.
        codec: of the video; empty for the rest.
        audio: codecs of the sound streams.
        loop: GIF loop count as stored, 0 = for ever; null where there is none.
    """

    file: str
    kind: MediaKind
    format: str
    width: Count
    height: Count
    frames: Count | None
    fps: str | None
    seconds: Amount | None
    codec: str
    audio: list[str]
    loop: Count | None


class Totals(TypedDict):
    """Sums over the file.

    Attributes:
        frames: that were processed.
        faces: of a photo, or tracks of a clip.
        restored: those that were restored in at least one frame.
        invented: fraction of the pixels that `repair` filled in the whole picture; what it removed from faces stands
            with them.
        seconds: wall-clock time, with the comparison against the reference, without loading models.
        seconds_by_stage: only stages that ran.
        frames_per_second: without the comparison against the reference.
        peak_memory_mb: largest resident memory of the process so far, in 2^20 bytes; null where it is unknown.
        fallbacks: how often something else ran than asked for, per face and frame.
        errors: how often something broken was met and passed over, such as damaged packets.
    """

    frames: Annotated[int, Bounds(1)]
    faces: Count
    restored: Count
    invented: Fraction
    seconds: Amount
    seconds_by_stage: dict[str, Amount]
    frames_per_second: Amount
    peak_memory_mb: Amount | None
    fallbacks: dict[str, Count]
    errors: dict[str, Count]


class Figures(TypedDict):
    """Means over frames and faces, at the reference's size.

    Attributes:
        psnr: over RGB, in dB; null where the pictures are equal.
        ssim: 1 = equal.
        gmsd: gradient magnitude similarity deviation, 0 = equal.
        lpips: with the SqueezeNet backbone, 0 = equal; absent where its file is missing.
        identity_distance: of embeddings (four views), over the faces found in the reference; absent without faces.
        identity_cosine: of the same embeddings.
    """

    psnr: float | None
    ssim: float
    gmsd: Amount
    lpips: NotRequired[Amount]
    identity_distance: NotRequired[Amount]
    identity_cosine: NotRequired[float]


class ReferenceRecord(TypedDict):
    """Figures against the true file.

    Attributes:
        file: path of the true picture or clip.
        output: of the restored file.
        input: of the input, enlarged by bicubic interpolation.
        faces: found in the reference, over all frames.
        missing: figures that could not be measured, and why.
    """

    file: str
    output: Figures
    input: Figures
    faces: Count
    missing: list[str]


class Report(TypedDict):
    """What was given, what was done to every face, and what it cost.

    Attributes:
        schema: version of this format; it grows when a key changes its meaning or goes away.
        likeness: version of the package.
        input: facts of the input file.
        outputs: paths of what was written, by role: restored; where they are wanted compare, frames, cards, report.
        settings: every option as it was set.
        upscale: the factor that was chosen.
        background: what was done to it; decided on the first frame.
        weights: SHA-256 (hexadecimal) of every weight file that was loaded, by name.
        device: where the networks ran, such as cpu or cuda:0.
        machine: processor architecture.
        faces: of a photo, or the tracks of a clip.
        totals: sums over the file.
        notes: for a person: what was converted, copied or could not be kept.
        summary: the line for a person.
        reference: figures against the true file; absent without one.
    """

    schema: Literal[1]
    likeness: str
    input: InputRecord
    outputs: dict[str, str]
    settings: RestorerConfig
    upscale: Annotated[int, Bounds(1, 4)]
    background: BackgroundPlan | None
    weights: dict[str, str]
    device: str
    machine: str
    faces: list[FaceTotals]
    totals: Totals
    notes: list[str]
    summary: str
    reference: NotRequired[ReferenceRecord]
