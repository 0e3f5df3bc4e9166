"""Runs side by side: which weights are read, and the paired table against numpy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.expert_f import compare_checkpoints
from experiments.expert_f.compare_checkpoints import (
    SHIFTS,
    CompareCheckpointsOptions,
    chosen_faces,
    load_run,
    measure,
    restoring,
    run,
    spun,
    table,
)
from likeness.data.faces import FaceRecord
from likeness.data.pairs import FixedPairs
from likeness.data.sources import CartoonSource
from likeness.data.synthetic_faces import draw_face
from likeness.errors import DataError, InputError
from likeness.metrics.psnr import psnr
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import ExpertTConfig
from likeness.stages.restore.expert_f import load_expert_f
from likeness.weights.manifest import released
from likeness.weights.networks import load_prior

TINY = ExpertFConfig(widths=(8, 8, 8), encoder=(1, 1, 2), decoder=(1, 1), skips=(4, 8), fourier=4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A run whose averaged weights are those of seed 0, and whose last ones are those of seed 1."""
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = ExpertF(TINY)
        torch.nn.init.normal_(net.leave256.weight, std=0.02)
        states.append(net.state_dict())
    file = tmp_path / "last.ckpt"
    stored = {
        "state_dict": {f"net.{n}": t for n, t in states[0].items()},
        "current_model_state": {f"module.net.{n}": t for n, t in states[1].items()},
        "network": "expert_f",
        "net_config": TINY.to_dict(),
        "images_seen": 80,
        "global_step": 10,
    }
    torch.save(stored, file)
    return file


@pytest.mark.parametrize(("averaged", "seed"), [(True, 0), (False, 1)])
def test_averaged_or_last_weights_are_read(averaged: bool, seed: int, checkpoint: Path) -> None:
    net, seen = load_run(str(checkpoint), averaged)
    torch.manual_seed(seed)
    expected = ExpertF(TINY)
    torch.nn.init.normal_(expected.leave256.weight, std=0.02)
    assert all(
        torch.equal(a, b) for a, b in zip(net.state_dict().values(), expected.state_dict().values(), strict=True)
    )
    assert seen == {"images": 80, "steps": 10}


def test_figures_are_those_of_each_face_and_recipe(checkpoint: Path) -> None:
    net, _ = load_run(str(checkpoint), True)
    pairs = FixedPairs(CartoonSource(3), ["mild", "heavy"], 0)
    figures = measure(restoring(net), DataLoader(pairs, batch_size=4), {"PSNR": psnr})
    for recipe, which in (("mild", 0), ("heavy", 1)):
        for face in range(3):
            sample = pairs[2 * face + which]
            x = sample["input"].permute(2, 0, 1)[None].float() / 255
            with torch.no_grad():
                out = net(x).image.clamp(0, 1)
            small = (torch.nn.functional.avg_pool2d(out, 2)[0].permute(1, 2, 0) * 255).round().numpy() / 255
            truth = sample["truth"].float().view(256, 2, 256, 2, 3).mean((1, 3)).numpy() / 255
            expected = -10 * np.log10(np.mean((small - truth) ** 2))
            assert figures[recipe]["PSNR"][face] == pytest.approx(expected, abs=0.02)


def test_differences_are_paired() -> None:
    noise = np.random.default_rng(0).normal(0, 10, 50)
    runs = {"a": {"mild": {"PSNR": 30 + noise}}, "b": {"mild": {"PSNR": 31 + noise}}}
    lines = table(runs)
    assert lines[2] == f"| mild | a | {30 + noise.mean():.4g} |"
    assert lines[3] == f"| mild | b | {31 + noise.mean():.4g} (+1 [+1, +1]) |"


def test_one_run_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="got fewer than two"):
        run(CompareCheckpointsOptions(runs={"only": str(checkpoint)}))


def test_another_network_is_refused(tmp_path: Path) -> None:
    weights: dict[str, Tensor] = {"net.x": torch.zeros(1)}
    torch.save({"state_dict": weights, "network": "gate"}, tmp_path / "gate.ckpt")
    with pytest.raises(InputError, match="holds gate, expected a run of an expert or of the prior"):
        load_run(str(tmp_path / "gate.ckpt"), False)


@pytest.mark.parametrize("regress", [True, False])
def test_expert_t_runs_over_the_released_networks(regress: bool) -> None:
    net = ExpertT(ExpertTConfig(regress=regress)).eval()
    x = torch.from_numpy(draw_face(256, 1)).permute(2, 0, 1)[None].float() / 255
    prior = load_prior()[0]
    with torch.no_grad():
        image = restoring(net)(x)
        seen = F.avg_pool2d(load_expert_f().net(x).image, 2).clamp(0, 1) if regress else x
        features, low = prior.encode(seen)
        # Untrained, it draws the mean of the codes by their cosine to the prior's own reading.
        logits = net._logits(features, prior)
        expected = prior.decode(prior.codebook.interpolate(logits.softmax(-1)), low)
    torch.testing.assert_close(image, expected, atol=1e-4, rtol=0)


def test_faces_are_chosen_by_their_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [FaceRecord(f"{i}.avif", "set", "real", "", 512, 512, "val") for i in range(4)]
    monkeypatch.setattr(compare_checkpoints, "real_faces", lambda root, count=0: records)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,attributes\n0.avif,glasses\n1.avif,hat\n3.avif,child glasses\n")
    options = CompareCheckpointsOptions(attribute="glasses", labels=str(labels))
    assert [r.file for r in chosen_faces(tmp_path, options)] == ["0.avif", "3.avif"]
    with pytest.raises(InputError, match="got spectacles, expected one of glasses"):
        chosen_faces(tmp_path, replace(options, attribute="spectacles"))
    with pytest.raises(DataError, match="no real face of val has old"):
        chosen_faces(tmp_path, replace(options, attribute="old"))


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


def hatch(x: Tensor) -> Tensor:
    """Enlarges and adds stripes of a period of 4 pixels, which stay in place."""
    return enlarge(x) + 0.2 * (torch.arange(512) // 2 % 2)


@pytest.mark.parametrize("count", SHIFTS)
def test_mean_over_shifts_keeps_what_moves_with_the_face(count: int) -> None:
    x = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    inner = (..., slice(16, -16), slice(16, -16))  # what enters at an edge is not known
    torch.testing.assert_close(spun(enlarge, SHIFTS[count])(x)[inner], enlarge(x)[inner])


@pytest.mark.parametrize(("count", "left"), [(1, 0.1), (2, 0.0), (4, 0.0), (16, 0.0)])
def test_mean_over_shifts_loses_stripes_that_stay_in_place(count: int, left: float) -> None:
    x = torch.zeros(1, 3, 256, 256)
    inner = spun(hatch, SHIFTS[count])(x)[..., 16:-16, 16:-16]
    assert float(inner.std(unbiased=False)) == pytest.approx(left, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shifts": {"b": 3}}, r"shifts: got \{3\}"), ({"prior": {"c": "x"}}, "got c, which is no name in runs")],
)
def test_options_of_runs_are_checked(options: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(CompareCheckpointsOptions(runs={"a": "a.ckpt", "b": "b.ckpt"}, **options))


def test_weight_file_of_any_network_is_read(tmp_path: Path) -> None:
    net, _ = load_run(str(released("expert_t")), False)
    assert isinstance(net, ExpertT)
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"x\.safetensors is no weight file"):
        load_run(str(tmp_path / "x.safetensors"), False)
