"""Expert-T behind its protocol: files in, the network's own result out, at every setting of the knobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, InputError
from likeness.evaluation.methods.base import MethodContext
from likeness.evaluation.methods.crops import METHODS
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen, Knobs
from likeness.nets.prior import Prior
from likeness.pipeline.config import from_overrides
from likeness.pipeline.models import load_models
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.types import FloatArray
from likeness.weights.files import file_hash, save_weights
from tests.tiny import FIRST, PRIOR, TINY


@pytest.fixture(scope="module")
def crop() -> FloatArray:
    return (draw_face(256, 3) / 255).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, crop: FloatArray) -> dict[str, str]:
    """Weight files of three tiny networks, every weight of which does something."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    nets = {"prior": (Prior(PRIOR), PRIOR), "expert_f": (ExpertF(FIRST), FIRST), "expert_t": (ExpertT(TINY), TINY)}
    for net, _ in nets.values():
        for weight in net.parameters():
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.2)
    nets["prior"][0].train()(torch.from_numpy(crop).permute(2, 0, 1)[None])  # starts the codes
    made = {}
    for name, (net, config) in nets.items():
        made[name] = str(folder / f"{name}.safetensors")
        save_weights(made[name], name, config.to_dict(), net.state_dict(), {})
    return made


def load(files: dict[str, str], **knobs: Any) -> Any:
    return load_expert_t(files["expert_t"], files["prior"], files["expert_f"], KnobsConfig(**knobs))


@pytest.mark.parametrize(
    "knobs",
    [{}, {"fidelity": 0.0}, {"fidelity": 1.0}, {"quality": 0.0}, {"lookup": "hard"}, {"lookup": "nearest"}],
    ids=str,
)
def test_it_returns_what_its_network_does(files: dict[str, str], crop: FloatArray, knobs: dict[str, Any]) -> None:
    expert = load(files, **knobs)
    (found,) = expert.restore([crop])
    with torch.no_grad():
        out = expert.net(torch.from_numpy(crop).permute(2, 0, 1)[None], expert.frozen, Knobs(**knobs))
    np.testing.assert_allclose(found.image, out.image[0].clamp(0, 1).permute(1, 2, 0), atol=1e-5)
    np.testing.assert_allclose(found.confidence, 1 / (1 + np.exp(out.log_scale[0, 0]) / 0.02), rtol=1e-4)
    assert expert.sha256 == file_hash(files["expert_t"])


def test_every_knob_changes_the_face(files: dict[str, str], crop: FloatArray) -> None:
    usual = load(files).restore([crop])[0].image
    for knobs in ({"fidelity": 0.0}, {"fidelity": 1.0}, {"quality": 0.0}, {"lookup": "hard"}):
        assert np.abs(load(files, **knobs).restore([crop])[0].image - usual).max() > 1e-3, knobs


def test_a_batch_is_its_faces_one_by_one(files: dict[str, str], crop: FloatArray) -> None:
    expert = load(files)
    both = expert.restore([crop, crop[:, ::-1].copy()])
    for got, one in zip(both, (crop, crop[:, ::-1].copy()), strict=True):
        np.testing.assert_allclose(got.image, expert.restore([one])[0].image, atol=2e-3)
    assert expert.restore([]) == []


def test_a_crop_of_another_size_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expert_t: got a crop of shape"):
        load(files).restore([np.zeros((128, 128, 3), np.float32)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"fidelity": 1.5}, "fidelity: got 1.5"), ({"quality": -0.1}, "quality"), ({"lookup": "best"}, "soft, hard")],
    ids=str,
)
def test_knobs_beyond_their_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KnobsConfig(**wrong)


def words(files: dict[str, str]) -> list[str]:
    return [f"weights.{name}={file}" for name, file in files.items()]


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", {"expert_t", "expert_f"}), ("expert_t", {"expert_t"}), ("expert_f", {"expert_f"})]
)
def test_the_experts_that_may_be_needed_are_loaded(name: str, expected: set[str], files: dict[str, str]) -> None:
    models = load_models(from_overrides([f"expert.name={name}", "device=cpu", *words(files)]))
    assert set(models.experts) == expected
    if "expert_t" in expected:
        assert models.hashes["prior"] == file_hash(files["prior"])


def test_the_knobs_reach_the_expert(files: dict[str, str], crop: FloatArray) -> None:
    config = from_overrides(["expert_t.fidelity=0.2", "expert_t.quality=0.7", "device=cpu", *words(files)])
    got = load_models(config).experts["expert_t"].restore([crop])[0].image
    np.testing.assert_allclose(got, load(files, fidelity=0.2, quality=0.7).restore([crop])[0].image, atol=1e-5)


def test_knobs_of_an_expert_that_does_not_run_are_refused(files: dict[str, str]) -> None:
    config = from_overrides(["expert.name=expert_f", "expert_t.fidelity=0.2", "device=cpu", *words(files)])
    with pytest.raises(ConfigError, match="Expert-T does not run"):
        load_models(config)


def test_the_rows_of_the_tables_are_its_settings(files: dict[str, str], crop: FloatArray) -> None:
    rows = {
        "expert_t": {},
        "expert_t_fidelity_0": {"fidelity": 0.0},
        "expert_t_fidelity_1": {"fidelity": 1.0},
        "expert_t_hard": {"lookup": "hard"},
    }
    for method, knobs in zip(METHODS.make(list(rows), MethodContext(weights=files)), rows.values(), strict=True):
        (found,) = method.run([crop])
        np.testing.assert_allclose(found, load(files, **knobs).restore([crop])[0].image, atol=1e-5)
        assert method.weights == {"expert_t": file_hash(files["expert_t"])}


def test_frozen_networks_come_from_the_files(files: dict[str, str]) -> None:
    expert = load(files)
    assert isinstance(expert.frozen, Frozen)
    assert expert.frozen.prior.config == PRIOR
    assert expert.frozen.expert_f.config == FIRST
