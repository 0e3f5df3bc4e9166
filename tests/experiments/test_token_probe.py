"""The token probe's faces and views, and its table of knobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from experiments.expert_t.token_probe import TokenProbeOptions, Views, knob_table, main, views_of
from likeness.data.synthetic_faces import draw_face
from likeness.errors import DataError
from likeness.nets.expert_t_data import Knobs, Tokens


class Drawn(NamedTuple):
    image: Tensor


class Dimmer:
    """Fidelity darkens by half its value, quality adds a checker of that amplitude."""

    def __call__(self, x: Tensor, frozen: Any, knobs: Knobs) -> Drawn:
        checker = torch.tensor([[1.0, 1, -1, -1]] * 2 + [[-1.0, -1, 1, 1]] * 2).repeat(128, 128)
        dark = 1 - float(knobs.fidelity) / 2
        return Drawn(F.interpolate(x * dark, scale_factor=2) + 0.1 * (1 - float(knobs.quality)) * checker)

    def encode(self, x: Tensor, frozen: Any) -> Any:
        return (x,)

    def tokenize(self, encoded: Any) -> Tokens:
        (x,) = encoded
        return Tokens(x, x, x, (x, x, x))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = ["file,set,kind,group,size,native_px,laplacian_256,split,source_md5"]
    for i, (kind, split) in enumerate([("real", "val"), ("synthetic", "val"), ("real", "val"), ("real", "train")]):
        Image.fromarray(draw_face(256, i)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,s,{kind},,256,256,0,{split},x")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_views_are_of_real_faces_and_clean_is_undegraded(root: Path) -> None:
    options = TokenProbeOptions(recipes=["clean", "mild", "heavy"], faces=5)
    views = views_of(Dimmer(), None, root, "val", options)  # type: ignore[arg-type]
    faces = np.stack([draw_face(256, i) for i in (0, 2)])
    np.testing.assert_array_equal((views.truths.permute(0, 2, 3, 1) * 255).round().byte(), faces)
    assert torch.equal(views.inputs["clean"], views.truths)
    errors = {r: float((x - views.truths).abs().mean()) for r, x in views.inputs.items()}
    assert 0 < errors["mild"] < errors["heavy"]
    again = views_of(Dimmer(), None, root, "val", options)  # type: ignore[arg-type]
    assert torch.equal(views.inputs["heavy"], again.inputs["heavy"])


def test_knob_table_states_measured_distances_and_sharpness() -> None:
    rng = torch.Generator().manual_seed(0)
    x = F.interpolate(0.3 + 0.4 * torch.rand(2, 3, 32, 32, generator=rng), (256, 256), mode="bilinear")
    truth = (x + 0.1).clamp(0, 1)
    views = Views(truth, {"mild": x}, {}, {})
    lines = knob_table(Dimmer(), None, views, "mild", lambda images: images.mean((1, 2, 3))[:, None])  # type: ignore[arg-type]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]
    assert [(c[0], float(c[1])) for c in cells] == [
        (k, v) for k in ("fidelity", "quality") for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    level = float(x.mean())
    for _, at, to_input, to_truth, _ in cells[:5]:
        dark = level * (1 - float(at) / 2)
        assert float(to_input) == pytest.approx(level - dark, abs=2e-3)
        assert float(to_truth) == pytest.approx(level + 0.1 - dark, abs=2e-3)
    sharp = [float(c[4]) for c in cells[5:]]
    assert sharp == sorted(sharp, reverse=True)
    assert sharp[0] > 2 * sharp[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["recipes=[mild,heavy]"], "expected clean and at least two more"), (["recipes=[clean]"], "at least two more")],
    ids=["no clean view", "clean alone"],
)
def test_missing_views_are_named(
    words: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, f"root={root}"]) == DataError.exit_code
    assert message in capsys.readouterr().err
