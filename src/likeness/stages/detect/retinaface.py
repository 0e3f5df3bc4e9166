"""RetinaFace (Deng et al., CVPR 2020) with facexlib's network and weights that the user brings.

Only facexlib's forward pass is used: its `detect_faces` writes the size of the frame into the network,
which threads would share.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from likeness.errors import WeightsError
from likeness.stages.detect.base import DetectConfig, faces_of, shrink_frames
from likeness.stages.detect.plausibility import LOOK_SCORE, doubt
from likeness.types import Faces, Pixels
from likeness.weights.files import read_tensors

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))  # edges in pixels, two at each cell of each stride
VARIANCE_CENTRE, VARIANCE_SIZE = 0.1, 0.2
MEAN = (104.0, 117.0, 123.0)  # of blue, green and red, the order that the network reads
NMS_OVERLAP = 0.4


def anchors(height: int, width: int) -> Tensor:
    """(N, 4) centre x, centre y, width, height in pixels, in the order of the network's outputs."""
    anchors = []
    for stride, edges in zip(STRIDES, ANCHORS, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, edge = torch.meshgrid(
            (torch.arange(rows) + 0.5) * stride,
            (torch.arange(columns) + 0.5) * stride,
            torch.tensor(edges, dtype=torch.float32),
            indexing="ij",
        )
        anchors.append(torch.stack([x, y, edge, edge], -1).reshape(-1, 4))
    return torch.cat(anchors)


def decode(offsets: Tensor, points: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
    """Turns the network's offsets into pixels (SSD, Liu et al. 2016, eq. 2, with its variances).

    Args:
        offsets: (N, 4) of centre and logarithmic size.
        points: (N, 10) of five landmarks, x y.
        priors: (N, 4) of `anchors`.

    Returns:
        (N, 4) xyxy and (N, 5, 2), in pixels whose **corner** lies at 0.
    """
    centre = priors[:, :2] + offsets[:, :2] * VARIANCE_CENTRE * priors[:, 2:]
    half = priors[:, 2:] * torch.exp(offsets[:, 2:] * VARIANCE_SIZE) / 2
    marks = priors[:, None, :2] + points.view(-1, 5, 2) * VARIANCE_CENTRE * priors[:, None, 2:]
    return torch.cat([centre - half, centre + half], 1), marks


class RetinaFaceDetector:
    """Boxes, scores and five landmarks; the network (MobileNet 0.25 or ResNet-50) is read from the file.

    Raises:
        WeightsError: if the file is missing or fits neither network.
    """

    name = "retinaface"

    def __init__(self, config: DetectConfig, device: torch.device | str = "cpu") -> None:
        # facexlib loads its trackers and a compiler along with everything; only who asks for it pays.
        from facexlib.detection.retinaface import RetinaFace

        self.config, self.device = config, torch.device(device)
        tensors = {name.removeprefix("module."): t for name, t in read_tensors(config.file).items()}
        kind = "mobile0.25" if "body.stage1.0.0.weight" in tensors else "resnet50"
        self.net = RetinaFace(network_name=kind, device=self.device)
        try:
            self.net.load_state_dict(tensors)
        except RuntimeError as error:
            raise WeightsError(
                f"detect.file: {Path(config.file)} does not fit facexlib's RetinaFace with MobileNet 0.25 or "
                f"ResNet-50 ({str(error).splitlines()[-1].strip()}); give such a file"
            ) from error
        self.net.eval().requires_grad_(False)

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Finds the faces of HWC uint8 RGB frames of one common size; largest first.

        Raises:
            InputError: if a frame is not HWC RGB.
        """
        return self._search(frames, self.config.score)

    def detect_again(self, frames: Sequence[Pixels]) -> list[Faces]:
        """`detect` in the looks at a face that was found."""
        return self._search(frames, min(LOOK_SCORE, self.config.score))

    def _search(self, frames: Sequence[Pixels], score: float) -> list[Faces]:
        if not frames:
            return []
        batch, shrink = shrink_frames(frames, self.config.max_side)
        height, width = batch.shape[1:3]
        scale = np.array([frames[0].shape[1] / width, frames[0].shape[0] / height], np.float32)
        mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        x = torch.from_numpy(batch[..., ::-1].copy()).to(self.device).permute(0, 3, 1, 2).float() - mean
        # Whole cells only: what lies beyond the frame is the mean, which is zero here.
        x = F.pad(x, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        priors = anchors(*x.shape[2:])
        with torch.inference_mode():
            offsets, scores, points = (t.float().cpu() for t in self.net(x))
        return [
            self._faces((o, s[:, 1], p), priors, score, shrink, scale)
            for o, s, p in zip(offsets, scores, points, strict=True)
        ]

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """Why the landmarks of a face that it found are implausible; empty where they are plausible."""
        return doubt(self.detect_again, pixels, face, doubted)

    def _faces(
        self,
        outputs: tuple[Tensor, Tensor, Tensor],
        priors: Tensor,
        score: float,
        shrink: float,
        scale: np.ndarray,
    ) -> Faces:
        offsets, scores, points = outputs
        likely = scores >= score
        boxes, marks = decode(offsets[likely], points[likely], priors[likely])
        sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1)
        large = sizes >= self.config.min_face * shrink
        boxes, marks, scores = boxes[large], marks[large], scores[likely][large]
        kept = nms(boxes, scores, NMS_OVERLAP)
        # From corners at 0 to pixel centres at whole numbers.
        return faces_of(boxes[kept].numpy() - 0.5, scores[kept].numpy(), marks[kept].numpy() - 0.5, scale)
