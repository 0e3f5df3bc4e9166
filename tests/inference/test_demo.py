"""The demo's sample files, and the demo from end to end."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness.pipeline.config import RestorerConfig
from likeness.tasks.demo import degraded, make_sample, run_demo


def test_the_sample_is_degraded_moves_and_has_sound(tmp_path):
    files = make_sample(tmp_path / "in")
    assert set(files) == {"photo.png", "photo_truth.png", "clip.mp4", "clip_truth.mp4"}
    truth = np.asarray(Image.open(files["photo_truth.png"]))
    np.testing.assert_array_equal(truth, astronaut())
    photo = np.asarray(Image.open(files["photo.png"]))
    error = np.sqrt(((photo.astype(float) - truth) ** 2).mean())
    assert 5 < error < 40
    decoded = {}
    for name in ("clip.mp4", "clip_truth.mp4"):
        with av.open(str(files[name])) as container:
            assert [s.codec_context.name for s in container.streams] == ["h264", "aac"]
            frames = list(container.decode(video=0))
            decoded[name] = [f.to_ndarray(format="rgb24").astype(float) for f in frames]
        assert len(frames) == 50
        assert [float(f.time) for f in frames] == pytest.approx([i / 25 for i in range(50)])
        with av.open(str(files[name])) as container:
            sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        assert len(sound) / 44100 == pytest.approx(2, abs=0.1)
        assert 0.02 < sound.std() < 0.5  # something is heard, and nothing is clipped
        assert np.abs(sound).max() < 1
    clean, worse = decoded["clip_truth.mp4"], decoded["clip.mp4"]
    assert clean[0].shape == (320, 320, 3)
    assert np.abs(clean[0] - clean[12]).mean() > 5  # the window moves
    assert all(2 < np.abs(a - b).mean() < 40 for a, b in zip(clean[::10], worse[::10], strict=True))


def test_degrading_is_seeded_and_leaves_its_input_unchanged(tmp_path):
    image = np.ascontiguousarray(astronaut()[:64, :64])
    kept = image.copy()
    np.testing.assert_array_equal(degraded(image, 1), degraded(image, 1))
    assert (degraded(image, 1) != degraded(image, 2)).any()
    np.testing.assert_array_equal(image, kept)


@pytest.mark.slow
def test_the_demo_restores_and_measures_photo_and_clip(tmp_path, capsys):
    assert run_demo(tmp_path, RestorerConfig(device="cpu")) == 0
    out = capsys.readouterr().out
    assert out.count("psnr") == 2
    assert out.count("1 face: 1 restored") == 2
    for stem, frames in (("photo", 1), ("clip", 50)):
        folder = tmp_path / "demo" / stem
        report = json.loads((folder / f"{stem}_report.json").read_text())
        assert report["totals"]["frames"] == frames
        assert {"output", "input"} <= report["reference"].keys()
        assert str(folder) in out
    assert (tmp_path / "demo" / "clip" / "clip_compare.mp4").is_file()
    assert (tmp_path / "demo" / "photo" / "photo_compare.png").is_file()
