"""The public API: arrays, files and videos, and what is written to disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness.errors import ConfigError, InputError, LikenessError, OutputError
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.models import load_models, pick_device
from likeness.pipeline.restorer import Restorer
from likeness.stages.background.lanczos import lanczos


@pytest.fixture
def restorer_with(make_models):
    def make(*faces, options=(), **models):
        restorer = Restorer(from_overrides(options))
        restorer._models = make_models(*faces, **models)
        return restorer

    return make


def sound_of(path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]


def test_inference_loads_no_framework():
    code = (
        "import sys, likeness, likeness.cli, likeness.tasks.demo; likeness.Restorer;"
        "names = {'hydra', 'lightning', 'pytorch_lightning', 'gradio', 'wandb'};"
        "sys.exit(', '.join(names & {n.split('.')[0] for n in sys.modules}) or 0)"
    )
    source = str(Path(likeness.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": source},
    )
    assert process.returncode == 0, process.stderr


def test_options_as_keywords():
    restorer = Restorer(upscale=2, strength=0.5, **{"faces.min": 60, "faces.max": None, "guard.enabled": False})
    assert restorer.config == from_overrides(["upscale=2", "strength=0.5", "faces.min=60", "guard.enabled=false"])
    assert Restorer().config == RestorerConfig()
    with pytest.raises(ConfigError, match="one or the other"):
        Restorer(RestorerConfig(), upscale=2)
    with pytest.raises(ConfigError, match="sharpen"):
        Restorer(sharpen=1)


def test_an_image_is_enlarged_and_restored_and_the_input_stays(restorer_with, scene, face_at):
    kept = scene.copy()
    result = restorer_with(face_at(150, 110, 90)).image(scene)
    assert result.pixels.shape == (480, 640, 3)  # auto enlarges photos twice
    assert (result.pixels != lanczos(scene, 2)).any()
    assert result.faces[0].final is not None
    np.testing.assert_array_equal(scene, kept)
    given = restorer_with().image(scene, face_at(150, 110, 90))
    np.testing.assert_array_equal(given.pixels, result.pixels)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), "a"])
def test_an_image_that_is_no_rgb_array_of_integers_is_refused(restorer_with, bad):
    with pytest.raises(InputError, match="expected"):
        restorer_with().image(bad)


def test_threads_that_share_a_restorer_give_what_one_gives(restorer_with, scene, face_at, together):
    restorer = restorer_with(together(face_at(150, 110, 90), face_at(260, 100, 60)))
    alone = restorer.image(scene).pixels
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(restorer.image(scene).pixels)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(r, alone) for r in results)


def portraits() -> list[np.ndarray]:
    """Eight pictures of one size with a different face in each: mirrored, turned, darker, of another width."""
    pictures = []
    for i in range(8):
        matrix = cv2.getRotationMatrix2D((225, 120), 3 * i - 10, 0.7 + 0.05 * i)
        matrix[:, 2] += (160 - 225, 120 - 120)
        picture = cv2.warpAffine(astronaut(), matrix, (320, 240), flags=cv2.INTER_AREA)
        picture = picture[:, ::-1] if i % 2 else picture
        pictures.append(np.ascontiguousarray((picture * (1 - 0.05 * i)).astype(np.uint8)))
    return pictures


def test_eight_threads_give_what_one_gives(released):
    """With the real networks, which load while all eight threads wait for them."""
    pictures = portraits()
    single = Restorer(upscale=1)
    single._models = released
    alone = [single.image(p) for p in pictures]
    assert all(len(r.faces) == 1 and r.faces[0].final is not None for r in alone)
    restorer = Restorer(upscale=1)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(restorer.image, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.faces[0].distance == other.faces[0].distance
        assert one.faces[0].verdict == other.faces[0].verdict


def test_networks_load_once_on_first_use_and_are_freed_on_release(monkeypatch, make_models, scene):
    loaded = []
    monkeypatch.setattr("likeness.pipeline.restorer.load_models", lambda config: loaded.append(1) or make_models())
    restorer = Restorer()
    restorer.release()
    assert loaded == []
    restorer.image(scene)
    first = weakref.ref(restorer.models.embedder)
    restorer.image(scene)
    assert loaded == [1]
    restorer.release()
    assert first() is None
    restorer.image(scene)
    assert loaded == [1, 1]


def test_a_photo_keeps_its_name_and_alpha(restorer_with, scene, face_at, tmp_path):
    rgba = np.dstack([scene, np.linspace(0, 255, scene.shape[1]).astype(np.uint8)[None].repeat(scene.shape[0], 0)])
    source = tmp_path / "in" / "ä [1], b=c.png"
    source.parent.mkdir()
    Image.fromarray(rgba).save(source)
    before = source.read_bytes()
    result = restorer_with(face_at(150, 110, 90), options=["upscale=2"]).file(source, tmp_path / "out")
    assert result.outputs["restored"] == tmp_path / "out" / source.name
    written = np.asarray(Image.open(result.outputs["restored"]))
    assert written.shape == (480, 640, 4)
    np.testing.assert_array_equal(written[..., 3], lanczos(rgba[..., 3].copy(), 2))
    assert source.read_bytes() == before
    compared = np.asarray(Image.open(result.outputs["compare"]))
    assert compared.shape[1] == 2 * 640 + 4
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        source.name, "ä [1], b=c_compare.png", "ä [1], b=c_faces.png", "ä [1], b=c_report.json",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("reason", ["no face", "too small", "already good", "strength"])
def test_a_photo_in_which_nothing_is_restored_is_copied(
    restorer_with, scene, face_at, together, tmp_path, suffix, reason
):
    source = tmp_path / f"a.{suffix}"
    Image.fromarray(scene).save(source)
    faces = {"too small": [face_at(150, 110, 30)], "already good": [face_at(150, 110, 160)],
             "strength": [face_at(150, 110, 90)], "no face": []}[reason]  # fmt: skip
    bare = ["compare=no", "cards=0", *(["strength=0"] if reason == "strength" else [])]
    result = restorer_with(*faces, options=["upscale=1", *bare]).file(source, tmp_path / "out")
    assert result.outputs["restored"].read_bytes() == source.read_bytes()
    assert any("copied" in note for note in result.report["notes"])
    larger = restorer_with(*faces, options=["upscale=2", *bare]).file(source, tmp_path / "out2")
    assert Image.open(larger.outputs["restored"]).size == (640, 480)


def test_a_clip_in_which_nothing_is_restored_is_copied(restorer_with, make_clip, make_gif, scene, tmp_path):
    for source in (make_clip("c.mp4", [scene] * 3), make_gif("g.gif", [scene, 255 - scene], [50, 90])):
        result = restorer_with().file(source, tmp_path / "out")
        assert result.outputs["restored"].read_bytes() == source.read_bytes()


def test_a_video_keeps_frames_times_and_sound(restorer_with, make_clip, scene, face_at, tmp_path):
    source = make_clip("clip.mp4", [np.roll(scene, i, 1) for i in range(10)])
    calls: list[tuple[int, int | None, int]] = []
    target = tmp_path / "out" / "better.mp4"
    report = restorer_with(face_at(150, 110, 90)).video(source, target, lambda *steps: calls.append(steps))
    assert calls == [(i, 10, 1) for i in range(1, 11)]
    assert report["totals"]["restored"] == 1
    assert list(target.parent.iterdir()) == [target]
    assert sound_of(target) == sound_of(source)
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert [float(f.time) for f in frames] == pytest.approx([i / 25 for i in range(10)])


def test_a_gif_keeps_delays_and_loop_count(restorer_with, make_gif, scene, face_at, tmp_path):
    source = make_gif("g.gif", [np.roll(scene, 3 * i, 1) for i in range(3)], [50, 90, 130])
    result = restorer_with(face_at(150, 110, 90)).file(source, tmp_path / "out")
    with Image.open(result.outputs["restored"]) as gif:
        delays = []
        for i in range(gif.n_frames):
            gif.seek(i)
            delays.append(gif.info["duration"])
        assert (delays, gif.info["loop"]) == ([50, 90, 130], 0)
    with Image.open(result.outputs["compare"]) as both:
        assert (both.size[0], both.n_frames) == (2 * 320 + 4, 3)


@pytest.mark.parametrize(
    ("compare", "kind", "written"),
    [
        ("auto", "photo", True),
        ("auto", "gif", True),
        ("auto", "video", False),
        ("yes", "video", True),
        ("no", "photo", False),
    ],
)
def test_a_comparison_is_written_for_photos_and_gifs_unless_said_otherwise(
    restorer_with, make_clip, make_gif, scene, tmp_path, compare, kind, written
):
    if kind == "photo":
        source = tmp_path / "p.png"
        Image.fromarray(scene).save(source)
    else:
        source = make_gif("g.gif", [scene, 255 - scene], [50, 50]) if kind == "gif" else make_clip("v.mp4", [scene] * 2)
    result = restorer_with(options=[f"compare={compare}"]).file(source, tmp_path / "out")
    assert ("compare" in result.outputs) is written
    if written:
        assert result.outputs["compare"].stat().st_size > 0


def test_a_reference_clip_of_another_length_is_refused_and_leaves_nothing(
    restorer_with, make_clip, scene, face_at, tmp_path
):
    source, short = make_clip("v.mp4", [scene] * 4), make_clip("t.mp4", [scene] * 2)
    with pytest.raises(InputError, match="ends before the input"):
        restorer_with(face_at(150, 110, 90)).file(source, tmp_path / "out", short)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_reference_leaves_nothing(restorer_with, scene, tmp_path):
    source, wide = tmp_path / "p.png", tmp_path / "wide.png"
    Image.fromarray(scene).save(source)
    Image.fromarray(scene[:100]).save(wide)
    for reference, message in ((wide, "proportions"), (tmp_path / "none.png", "no such file")):
        with pytest.raises(InputError, match=message):
            restorer_with().file(source, tmp_path / "out", reference)
        assert not list(tmp_path.glob("out/*"))


def test_a_photo_is_refused_where_a_clip_is_expected(restorer_with, make_clip, make_gif, scene, tmp_path):
    photo = tmp_path / "p.png"
    Image.fromarray(scene).save(photo)
    restorer = restorer_with()
    with pytest.raises(InputError, match="is a photo"):
        restorer.video(photo, tmp_path / "o.mp4")
    with pytest.raises(InputError, match="the reference of a photo"):
        restorer.file(photo, tmp_path / "o", make_clip("v.mp4", [scene] * 2))
    with pytest.raises(OutputError, match=r"\.gif"):
        restorer.video(make_gif("g.gif", [scene, 255 - scene], [50, 50]), tmp_path / "o.mp4")


def test_the_input_is_never_overwritten(restorer_with, scene, tmp_path):
    source = tmp_path / "p.png"
    Image.fromarray(scene).save(source)
    before = source.read_bytes()
    with pytest.raises(OutputError, match="never overwritten"):
        restorer_with().file(source, tmp_path)
    assert source.read_bytes() == before


def test_an_expert_that_fails_leaves_no_half_clip(restorer_with, make_clip, scene, face_at, stub_expert, tmp_path):
    class Failing(stub_expert):
        def restore(self, crops, conditions=None):
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().restore(crops)

    source = make_clip("v.mp4", [scene] * 6)
    with pytest.raises(KeyboardInterrupt):
        restorer_with(face_at(150, 110, 90), expert=Failing(), options=["compare=yes"]).file(source, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_photo_of_sixteen_bits_is_written_as_png(restorer_with, scene, face_at, tmp_path):
    source = tmp_path / "deep.tif"
    cv2.imwrite(str(source), (scene.astype(np.uint16) * 257)[..., ::-1])
    result = restorer_with(face_at(150, 110, 90), options=["upscale=1"]).file(source, tmp_path / "out")
    assert result.outputs["restored"].name == "deep.png"
    assert any(".tif became .png" in note for note in result.report["notes"])
    stored = cv2.imread(str(result.outputs["restored"]), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16


def test_a_bitmap_with_alpha_is_written_as_png(restorer_with, scene, face_at, tmp_path):
    rgba = np.dstack([scene, np.full(scene.shape[:2], 128, np.uint8)])
    cv2.imwrite(str(tmp_path / "a.bmp"), np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]))
    result = restorer_with(face_at(150, 110, 90), options=["upscale=1"]).file(tmp_path / "a.bmp", tmp_path / "out")
    assert ".bmp became .png, which can hold the result" in result.report["notes"]
    written = np.asarray(Image.open(result.outputs["restored"]))
    np.testing.assert_array_equal(written[..., 3], rgba[..., 3])


def test_loaded_models_report_the_hashes_of_all_weights(released):
    detector = {"mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"}
    background = {f"waifu2x_{level}" for level in ("up", 0, 1, 2, 3)}
    assert set(released.hashes) == {
        "expert_f", "expert_t", "gate", "prior", "embedder", "calibration", "quality", *detector, *background
    }  # fmt: skip
    assert all(len(h) == 64 for h in released.hashes.values())


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_missing_device_is_one_line(device):
    with pytest.raises(ConfigError, match="device") as caught:
        pick_device(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["weights.expert_f", "weights.calibration"])
def test_missing_weights_are_one_line(option, tmp_path):
    with pytest.raises(LikenessError) as caught:
        load_models(from_overrides([f"{option}={tmp_path / 'none'}", "device=cpu"]))
    assert "\n" not in str(caught.value)
