"""Whole files through the pipeline: pages, stills, animations, labels, notes about what is lost."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import UnexpectedError
from likeness.media.files import kind_of
from likeness.media.xmp import FILM, SOURCE_TYPE
from likeness.pipeline import job
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.types import Faces


@pytest.fixture
def restore(tmp_path, make_models, face_at):
    """Restores a file with known networks: `restore(source, *options, face=True)`."""

    def run(source, *options, face=True):
        restorer = Restorer(from_overrides(["upscale=1", *options]))
        restorer._models = make_models(face_at(150, 110, 90) if face else Faces.empty())
        return restorer.file(source, tmp_path / "out")

    return run


def pixels_of(path) -> list[np.ndarray]:
    with Image.open(path) as image:
        pages = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            pages.append(np.asarray(image.convert("RGB")))
        return pages


@pytest.mark.parametrize("name", ["album.tif", "album.png"])
def test_every_page_of_a_tiff_is_restored(name, scene, tmp_path, restore, make_models, face_at):
    pages = [scene, np.ascontiguousarray(scene[:, ::-1]), np.ascontiguousarray(scene[:200])]
    images = [Image.fromarray(page) for page in pages]
    images[0].save(tmp_path / name, "TIFF", save_all=True, append_images=images[1:])
    result = restore(tmp_path / name)
    assert result.outputs["restored"].name == "album.tif"
    restored = pixels_of(result.outputs["restored"])
    assert [page.shape for page in restored] == [page.shape for page in pages]
    assert all(not np.array_equal(*pair) for pair in zip(restored, pages, strict=True))
    right = 150 + 90  # of the face, where nothing changed
    assert all(np.array_equal(a[:, right:], b[:, right:]) for a, b in zip(restored, pages, strict=True))
    assert [page.shape[1] for page in pixels_of(result.outputs["compare"])] == [2 * 320 + 4] * 3
    assert result.report["input"]["frames"] == 3
    assert [face["face"] for face in result.report["faces"]] == [0, 1, 2]
    assert result.summary == "3 faces: 3 restored"
    alone = Restorer(from_overrides(["upscale=1"]))
    alone._models = make_models(face_at(150, 110, 90))
    for page, expected in zip(pages, restored, strict=True):
        assert np.array_equal(alone.image(page).pixels, expected), "a page is restored as the photo alone"


def test_pages_without_a_face_are_copied(scene, tmp_path, restore):
    images = [Image.fromarray(scene), Image.fromarray(scene[:99])]
    images[0].save(tmp_path / "a.tiff", save_all=True, append_images=images[1:])
    result = restore(tmp_path / "a.tiff", "background.name=lanczos", face=False)
    assert result.outputs["restored"].read_bytes() == (tmp_path / "a.tiff").read_bytes()
    assert result.report["notes"] == ["nothing to restore: the file was copied, not encoded again"]


@pytest.mark.parametrize("upscale", [1, 2])
def test_the_hidden_still_of_an_animated_png_is_kept(upscale, scene, tmp_path, restore):
    still = Image.fromarray(255 - scene)
    frames = [Image.fromarray(np.roll(scene, i, 1)) for i in range(2)]
    still.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=frames, duration=[40, 50])
    result = restore(tmp_path / "a.png", f"upscale={upscale}")
    for role, hidden in (("restored", True), ("compare", False)):
        with Image.open(result.outputs[role]) as image:
            assert bool(image.info.get("default_image")) is hidden
    first = pixels_of(result.outputs["restored"])[0]
    assert first.shape == (240 * upscale, 320 * upscale, 3)
    assert np.abs(first[::upscale, ::upscale].astype(int) - (255 - scene)).mean() < (0.01 if upscale == 1 else 8)
    renamed = tmp_path / "b.webp"
    (tmp_path / "a.png").rename(renamed)
    assert any("still for viewers" in note for note in restore(renamed).report["notes"])


def test_an_animated_avif_becomes_an_animated_webp_of_all_frames(scene, tmp_path, restore):
    images = [Image.fromarray(np.roll(scene, 3 * i, 1)) for i in range(4)]
    images[0].save(tmp_path / "a.avif", save_all=True, append_images=images[1:], duration=[40, 60, 80, 100])
    result = restore(tmp_path / "a.avif")
    assert result.outputs["restored"].name == "a.webp"
    assert kind_of(result.outputs["restored"]) == "gif"
    with Image.open(result.outputs["restored"]) as image:
        assert image.n_frames == 4
        assert image.info["loop"] == 0
    assert ".avif became .webp" in result.report["notes"]


def comment_of(path) -> str:
    with av.open(str(path)) as container:
        return container.metadata.get("comment", "")


@pytest.mark.parametrize("options", [[], ["label=false"]], ids=["label", "no label"])
@pytest.mark.parametrize("kind", ["photo", "gif", "webp", "video", "resumed video"])
def test_results_are_labelled(kind, options, scene, tmp_path, restore, make_clip, make_gif):
    moving = [np.roll(scene, i, 1) for i in range(3)]
    if kind == "photo":
        source = tmp_path / "a.jpg"
        Image.fromarray(scene).save(source)
    elif kind == "webp":
        source = tmp_path / "a.webp"
        Image.fromarray(scene).save(source, save_all=True, append_images=[Image.fromarray(moving[1])])
    else:
        source = make_gif("a.gif", moving, [50] * 3) if kind == "gif" else make_clip("a.mp4", moving, seconds=0.2)
    if kind == "resumed video":
        options = [*options, "resume=true"]
    result = restore(source, *options)
    written = ["restored", "cards"] if "video" in kind else ["restored", "cards", "compare"]
    for role in written:
        path = result.outputs[role]
        data = comment_of(path).encode() if path.suffix == ".mp4" else path.read_bytes()
        assert (SOURCE_TYPE.encode() in data) is ("label=false" not in options), role
    assert result.report["settings"]["label"] is ("label=false" not in options)


def test_a_photo_that_is_only_enlarged_is_not_labelled(scene, tmp_path, restore):
    Image.fromarray(scene).save(tmp_path / "a.png")
    result = restore(tmp_path / "a.png", "upscale=2", "background.name=lanczos", face=False)
    assert SOURCE_TYPE.encode() not in result.outputs["restored"].read_bytes()


def test_what_is_lost_is_told_but_not_of_a_copy(scene, tmp_path, restore):
    Image.fromarray(scene).save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(500))
    assert FILM in restore(tmp_path / "a.jpg").report["notes"]
    copied = restore(tmp_path / "a.jpg", "background.name=lanczos", face=False)
    assert copied.outputs["restored"].read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert FILM not in copied.report["notes"]


def test_cut_names_are_told_in_the_report(scene, tmp_path, restore):
    source = tmp_path / ("L" * 251 + ".png")
    Image.fromarray(scene).save(source)
    result = restore(source)
    report = json.loads(result.outputs["report"].read_text())
    assert any("the name is too long" in note for note in report["notes"])
    assert all(path.is_file() for path in result.outputs.values())


def test_an_unforeseen_error_says_what_where_and_how_to_report_it(scene, tmp_path, restore, monkeypatch):
    def failing(*arguments):
        raise BufferError("first line\nsecond")

    monkeypatch.setattr(job, "card_of", failing)
    Image.fromarray(scene).save(tmp_path / "a.png")
    with pytest.raises(UnexpectedError) as caught:
        restore(tmp_path / "a.png")
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'a.png'}: unexpected BufferError (first line second) in pipeline/job.py:")
    assert ", raised at pipeline/test_files.py:" in line
    assert "please report this line as an issue" in line
    assert isinstance(caught.value.__cause__, BufferError)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
