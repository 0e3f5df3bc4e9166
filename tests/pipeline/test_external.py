"""A restorer and a background of the user's own, through the whole pipeline."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact as SRVGGNetCompact

from likeness.errors import ConfigError, InputError
from likeness.ops.color import to_float
from likeness.pipeline.config import from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.models import load_models
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import Context
from likeness.stages.align import align
from likeness.stages.background.base import BackgroundConfig
from likeness.stages.background.external import Enlarger
from likeness.stages.restore.external import ExternalExpert
from likeness.types import Restored
from likeness.weights.external import ExternalNet, load_external


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "compact.safetensors"
    save_file(SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).state_dict(), file)
    return file


def bright(scale):
    """A network that is known: enlarges by repetition and adds a tenth."""

    def run(x):
        return (x.repeat_interleave(scale, 2).repeat_interleave(scale, 3) + 0.1).clamp(0, 1)

    return ExternalNet(run, "bright", "FaceSR", scale, "0" * 64, torch.device("cpu"))


class Recording(ExternalExpert):
    """Keeps the crops that it was given."""

    def restore(self, crops, conditions=None):
        self.crops = list(crops)
        return super().restore(crops)


@pytest.mark.parametrize(("scale", "size"), [(1, 512), (2, 256), (1, 320), (4, 128)])
def test_the_expert_gets_crops_of_its_own_size(scale, size, scene, face_at, make_models):
    expert = Recording(bright(scale), size)
    models = replace(make_models(), experts={"external": expert})
    config = from_overrides(["expert.name=external", "expert.file=x", "composite.method=feather"])
    face = face_at(160, 110, 90)
    result = restore_image(scene, Context(models, config, "photo", 1), face)
    (got,) = result.faces
    np.testing.assert_array_equal(expert.crops[0], align(scene, face.landmarks[0], size).image)
    assert got.decision.expert == "external"
    assert got.decision.route == "expert_t"
    assert got.notes == ()
    # A tenth brighter in the middle of the face, whatever the size, and nothing outside of the mask.
    here = np.s_[100:115, 150:170]
    rise = result.pixels[here].astype(int) - scene[here].astype(int)
    assert 20 <= np.median(rise) <= 28
    np.testing.assert_array_equal(result.pixels[:30, :40], scene[:30, :40])


def test_restorers_from_a_file_and_the_report(network, scene, face_at, tmp_path):
    options = {"expert.name": "external", "expert.file": str(network), "precision": "fp32"}
    restorer = Restorer(**options)
    result = restorer.image(scene, face_at(160, 110, 90))
    assert result.faces[0].restored.image.shape == (512, 512, 3)
    assert result.faces[0].restored.confidence is None
    assert result.faces[0].expert_crop.image.shape == (256, 256, 3)
    hashes = restorer.weights_hashes()
    assert "external" in hashes
    assert "expert_f" not in hashes


def enlarged(net, pixels, factor, tile):
    config = BackgroundConfig("external", file="a.pth", tile=tile)
    background = Enlarger("external", net.run, net.scale, torch.device("cpu"), config)
    return background.enlarge(pixels, factor, background.plan(pixels, "photo"))


@pytest.mark.parametrize(("factor", "dtype"), [(1, np.uint8), (2, np.uint8), (4, np.uint16)])
def test_a_background_network_is_brought_to_the_factor(factor, dtype, network):
    smooth = np.random.default_rng(0).uniform(0.2, 0.8, (6, 8, 3)).astype(np.float32)
    image = cv2.resize(smooth, (80, 60), interpolation=cv2.INTER_CUBIC)
    pixels = np.rint(image * np.iinfo(dtype).max).astype(dtype)
    before = pixels.copy()
    made = enlarged(bright(2), pixels, factor, 32)
    assert made.shape == (60 * factor, 80 * factor, 3)
    assert made.dtype == dtype
    back = cv2.resize(to_float(made), (80, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(back - to_float(pixels) - 0.1).mean() < 0.01
    assert np.array_equal(pixels, before)


def test_the_background_is_the_network_in_tiles(network, scene):
    net = load_external(network, "background.file")
    with torch.no_grad():
        whole = net.run(torch.from_numpy(to_float(scene)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    made = enlarged(net, scene, 2, 64)
    inner = np.s_[40:-40, 40:-40]  # at the border the edge pixels are repeated, and the network pads with zeros
    assert np.abs(made.astype(int) - np.rint(whole * 255).astype(int))[inner].max() <= 1


def test_with_a_network_for_the_background_nothing_is_copied(network, scene, tmp_path):
    from PIL import Image

    source = tmp_path / "in.png"
    Image.fromarray(scene[:60, :80]).save(source)
    options = {"background.name": "external", "background.file": str(network), "upscale": "1", "cards": 0}
    result = Restorer(**options).file(source, tmp_path / "out")
    assert not any("copied" in note for note in result.report["notes"])
    assert "background" in result.report["weights"]


WRONG = {
    "external without a file": (["expert.name=external"], "expert.file=FILE"),
    "a file without external": (["expert.file=a.pth"], "expert.file=FILE"),
    "a size for the own expert": (["expert.size=512"], "for an external expert only"),
    "unknown": (["expert.name=gfpgan"], "auto, expert_f, expert_t, external"),
    "background without a file": (["background.name=external"], "background.file=FILE"),
    "tiny tiles": (["background.tile=8"], "at least 32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_make_no_sense(case):
    words, said = WRONG[case]
    with pytest.raises(ConfigError, match=said):
        from_overrides(words)


def test_a_size_that_the_network_cannot_read():
    def run(x):
        raise RuntimeError("Sizes of tensors must match\nmore")

    net = ExternalNet(run, "picky", "FaceSR", 1, "", torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"picky cannot read 512 px crops \(Sizes of tensors must match\)"):
        ExternalExpert(net).restore([np.zeros((512, 512, 3), np.float32)])
    with pytest.raises(InputError, match=r"expected \(512, 512, 3\)"):
        ExternalExpert(net).restore([np.zeros((256, 256, 3), np.float32)])
    assert ExternalExpert(net).restore([]) == []


def test_restored_faces_of_others_state_no_confidence():
    (made,) = ExternalExpert(bright(1)).restore([np.full((512, 512, 3), 0.5, np.float32)])
    assert isinstance(made, Restored)
    assert made.confidence is None
    np.testing.assert_allclose(made.image, 0.6, atol=1e-6)


def test_models_hold_only_what_is_needed(network):
    config = from_overrides(["expert.name=external", f"expert.file={network}"])
    assert set(load_models(config).experts) == {"external"}
