"""Files restored by workers equal those of this process, bit for bit; limits are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness import Restorer
from likeness.cli import main
from likeness.errors import ConfigError, InputError
from likeness.pipeline.config import from_overrides
from likeness.scale.restoring import Limits, RestoreTask, RestoreWork, check_size

QUICK = ["device=cpu", "background.name=lanczos", "cards=0"]


def photo(path: Path, shift: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(astronaut()[:224, 110 + shift : 334])).save(path)
    return path


def test_two_workers_write_what_one_process_writes(tmp_path, capsys):
    for n in range(3):
        photo(tmp_path / "in" / f"{n}.png", n)
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    codes = [
        main(["restore", str(tmp_path / "in"), f"output={tmp_path / out}", *words, *QUICK])
        for out, words in (("one", []), ("two", ["workers=2"]))
    ]
    assert codes == [InputError.exit_code] * 2
    captured = capsys.readouterr()
    assert captured.err.count("broken.png: is no picture that can be read") == 2
    written = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.png"))
    assert len(written) == 6  # results and comparisons
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_options_change_without_loading_the_networks_again():
    first = Restorer(from_overrides(QUICK))
    assert first.models.experts
    assert first.with_config(from_overrides([*QUICK, "strength=.5", "faces.min=60"])).models is first.models
    other = first.with_config(from_overrides([*QUICK, "expert_t.fidelity=.2"]))
    assert other._models is None


@pytest.mark.parametrize(("limits", "message"), [(Limits(pixels=2000), "megapixels|pixels than"),
                                                 (Limits(frames=3), "more than 3 frames")])  # fmt: skip
def test_large_and_long_files_are_refused(tmp_path, limits, message):
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(np.full((60, 80, 3), 40 * n, np.uint8)) for n in range(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    with pytest.raises(InputError, match=message):
        check_size(path, limits)
    check_size(path, Limits(pixels=5000, frames=5))


def test_large_photos_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # given back after the test
    config = from_overrides(QUICK)
    task = RestoreTask(photo(tmp_path / "a.png"), tmp_path / "out", config)
    work = RestoreWork(config, Limits(pixels=30_000))()
    with pytest.raises(InputError, match="more pixels"):
        work(task, lambda done, total, faces: None)


def test_limits_are_above_zero():
    with pytest.raises(ConfigError, match="frames=0"):
        Limits(frames=0)
