"""The pictures of the prior show what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from experiments.vq_prior.prior_views import PriorViewsOptions, main, portrait, run
from likeness.data.synthetic_faces import draw_face
from likeness.errors import OutputError
from likeness.nets.prior import Prior
from likeness.weights.files import save_weights
from tests.tiny import PRIOR as TINY


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = Prior(TINY)
    net.train()(torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)))
    file = tmp_path_factory.mktemp("weights") / "p.safetensors"
    save_weights(file, "prior", TINY.to_dict(), net.state_dict(), {})
    return file


def test_portrait_is_the_astronaut() -> None:
    portrait_pixels = portrait().astype(float)
    face = np.asarray(Image.fromarray(astronaut()[18:194, 138:314]).resize((256, 256))).astype(float)
    assert np.corrcoef(portrait_pixels.ravel(), face.ravel())[0, 1] > 0.7


def test_every_picture_is_written(weights: Path, tmp_path: Path) -> None:
    assert main([f"weights={weights}", f"dst={tmp_path}/new"]) == 0
    pictures = {f.name: np.asarray(Image.open(f)) for f in (tmp_path / "new").iterdir()}
    assert set(pictures) == {"codebook_0.png", "codebook_1.png", "reconstructions.png", "interpolation.png"}
    rows = pictures["reconstructions.png"]
    np.testing.assert_array_equal(rows[:256, :256], portrait())
    np.testing.assert_array_equal(rows[256:512, :256], draw_face(256, 1))
    assert pictures["interpolation.png"].shape == (256, 7 * 256, 3)
    # This prior has learnt nothing: what its codes decode to is the low band, on which no code shows.
    assert np.ptp(pictures["codebook_0.png"]) <= 1


def test_unwritable_folder_is_reported(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="dst"):
        run(PriorViewsOptions(str(weights), str(tmp_path / "file")))
