"""What depends on the build and the machine: torchvision beside a CPU build of torch, bf16 in the CPU.

torchvision's wheels are built for the CUDA build of torch. Beside the CPU build its compiled
operators cannot be loaded and `import torchvision` fails with "operator torchvision::nms does not
exist", although nothing here needs more of them than nms. `mend_torchvision` defines the two
operators that the import looks for; it does nothing where the compiled ones load.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_library: torch.library.Library | None = None  # keeps the definitions alive for the whole process


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 itself; elsewhere it is emulated, several times as slow as fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression in plain torch, as `torchvision.ops.nms` defines it.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: a box is dropped when its IoU with a kept, better box exceeds this.

    Returns:
        (K,) int64 indices of the kept boxes, best score first.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep: list[int] = []
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in order.tolist():
        if not alive[i]:
            continue
        keep.append(i)
        top_left = torch.maximum(boxes[i, :2], boxes[:, :2])
        bottom_right = torch.minimum(boxes[i, 2:], boxes[:, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        alive &= ~(overlap > iou_threshold * (area[i] + area - overlap))
    return torch.tensor(keep, dtype=torch.int64, device=boxes.device)


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to mend
    folder = Path(spec.origin).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        file = folder / f"_C{suffix}"
        if not file.exists():
            continue
        try:
            torch.ops.load_library(str(file))
        except OSError:
            return False
        return True
    return False


def mend_torchvision() -> bool:
    """Defines `torchvision::nms` and `torchvision::qnms` when the compiled ones cannot be loaded.

    Returns:
        True when it had to act. Calling it again changes nothing.
    """
    global _library
    if _library is not None:
        return True
    if _compiled_operators_load():
        return False
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, nms, "CompositeExplicitAutograd")
    _library = library
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True
    return True
