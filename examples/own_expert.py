"""An expert in one file: unsharp masking, added to the registry and used like the others.

python examples/own_expert.py photo.jpg results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import cv2
import numpy as np

from likeness import Restorer
from likeness.registry import Entry
from likeness.stages.restore.base import BaseExpert
from likeness.stages.restore.registry import EXPERTS
from likeness.types import Conditions, FloatArray, Restored


class UnsharpExpert(BaseExpert):
    """Doubles a 256 px crop and sharpens it."""

    name, input_size, output_size, sha256 = "unsharp", 256, 512, ""

    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        faces = []
        for crop in crops:
            large = cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC)
            sharp = large + 1.5 * (large - cv2.GaussianBlur(large, (0, 0), 3))
            faces.append(Restored(np.clip(sharp, 0, 1)))
        return faces


EXPERTS.add(Entry("unsharp", "256 px crops", "512 px faces", "nothing", lambda options: UnsharpExpert()))

if __name__ == "__main__":
    source, folder = sys.argv[1:]
    result = Restorer(**{"expert.name": "unsharp"}).file(source, folder)
    print(result.summary)
