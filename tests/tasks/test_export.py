"""From a checkpoint to a released weight file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from likeness.errors import ConfigError, InputError, WeightsError
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.stages.restore.expert_f import load_expert_f
from likeness.tasks.arguments import parse
from likeness.tasks.export import ExportOptions, export
from likeness.weights.files import file_hash, load_into, load_weights

TINY = ExpertFConfig(widths=(8, 12, 16), encoder=(1, 1, 2), decoder=(1, 1), skips=(4, 8), fourier=8)


@pytest.fixture
def net() -> ExpertF:
    torch.manual_seed(0)
    made = ExpertF(TINY)
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return made


def checkpoint(path: Path, net: ExpertF, **more: Any) -> Path:
    """A checkpoint as Lightning writes it with an average: the average is the state, the last weights stand apart."""
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    last = {name: tensor + 1 for name, tensor in state.items()}
    torch.save(
        {
            "state_dict": state,
            "current_model_state": last,
            "averaging_state": {"n_averaged": torch.tensor(5)},
            "net_config": net.config.to_dict(),
            "images_seen": 1200,
            "global_step": 150,
            "epoch": 3,
            "metrics": {"val/cost": -0.123456},
            "callbacks": {"Timer": {"time_elapsed": {"train": 12.5}}},
            **more,
        },
        path,
    )
    return path


@pytest.fixture
def stored(tmp_path: Path, net: ExpertF) -> Path:
    return checkpoint(tmp_path / "last.ckpt", net)


def loaded(file: Path) -> ExpertF:
    weights = load_weights(file, "expert_f")
    net = ExpertF(ExpertFConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in weights.config.items()}))
    load_into(net, weights, file)
    return net


def outputs(net: ExpertF) -> torch.Tensor:
    x = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        image: torch.Tensor = net(x).image
    return image


def test_exported_weights_give_the_same_faces(stored: Path, tmp_path: Path, net: ExpertF) -> None:
    file = export(ExportOptions(str(stored), str(tmp_path / "out/expert_f.safetensors")))
    found, exact = outputs(loaded(file)), outputs(net)
    # Each weight is rounded to 11 bits (2^-12 relative on average); a dozen layers add up to a few thousandths
    # of the residual, far below one grey level.
    assert (found - exact).abs().max() < 0.5 / 255
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
    torch.testing.assert_close(found, outputs(net), rtol=0, atol=0)


def test_the_expert_of_the_pipeline_reads_it(stored: Path, tmp_path: Path) -> None:
    file = export(ExportOptions(str(stored), str(tmp_path / "expert_f.safetensors")))
    expert = load_expert_f(file)
    assert expert.sha256 == file_hash(file)
    assert expert.net.config == TINY


def test_facts_stand_in_the_file_and_beside_it(stored: Path, tmp_path: Path, net: ExpertF) -> None:
    file = export(ExportOptions(str(stored), str(tmp_path / "expert_f.safetensors")))
    facts = json.loads(file.with_suffix(".json").read_text())
    assert facts["sha256"] == file_hash(file)
    assert facts["bytes"] == file.stat().st_size
    assert facts["parameters"] == sum(p.numel() for p in net.parameters())
    assert facts["config"] == json.loads(json.dumps(asdict(TINY)))
    notes = facts["notes"]
    assert (notes["images"], notes["steps"], notes["epochs"], notes["averaged"]) == (1200, 150, 3, True)
    assert notes["metrics"] == {"val/cost": -0.123456}
    inside = load_weights(file, "expert_f")
    assert inside.notes == notes
    assert inside.config == facts["config"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["expert_f.json", "expert_f.safetensors", "last.ckpt"]


def test_card_carries_the_text_and_the_facts(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("# Expert-F\n\nNot for surveillance.\n")
    file = export(ExportOptions(str(stored), str(tmp_path / "e.safetensors"), card=str(tmp_path / "text.md")))
    card = file.with_suffix(".md").read_text()
    assert card.startswith("# Expert-F\n\nNot for surveillance.\n")
    for part in (file_hash(file), "| images | 1200 |", "| val/cost | -0.1235 |", "| config: widths | (8, 12, 16) |"):
        assert part in card


def options(ckpt: Path, dst: Path, *more: str) -> ExportOptions:
    return parse(ExportOptions, [f"ckpt={ckpt}", f"dst={dst}", *more])


GIVEN = [
    f"config.{name}={list(v) if isinstance(v, tuple) else v}".replace(" ", "") for name, v in TINY.to_dict().items()
]


def test_an_older_checkpoint_takes_its_size_from_the_options(tmp_path: Path, net: ExpertF) -> None:
    old = checkpoint(tmp_path / "old.ckpt", net, net_config=None, metrics=None)
    file = export(options(old, tmp_path / "e.safetensors", *GIVEN))
    assert loaded(file).config == TINY
    assert "metrics" not in load_weights(file, "expert_f").notes
    watched = {"ModelCheckpoint{}": {"monitor": "val/cost", "current_score": torch.tensor(0.5)}}
    old = checkpoint(tmp_path / "old.ckpt", net, net_config=None, metrics=None, callbacks=watched)
    file = export(options(old, tmp_path / "e.safetensors", *GIVEN))
    assert load_weights(file, "expert_f").notes["metrics"] == {"val/cost": 0.5}
    # The default size does not fit, and nothing unusable stays behind.
    with pytest.raises(WeightsError, match="does not fit"):
        export(options(old, tmp_path / "wrong.safetensors"))
    assert not list(tmp_path.glob("wrong*"))


def test_a_plain_checkpoint_says_that_nothing_was_averaged(tmp_path: Path, net: ExpertF) -> None:
    file = checkpoint(tmp_path / "a.ckpt", net)
    held: Mapping[str, Any] = torch.load(file, weights_only=False)
    torch.save({k: v for k, v in held.items() if k not in ("averaging_state", "current_model_state")}, file)
    assert load_weights(export(options(file, tmp_path / "e.safetensors")), "expert_f").notes["averaged"] is False


def test_the_last_weights_come_without_the_figures_of_the_averaged_ones(
    stored: Path, tmp_path: Path, net: ExpertF
) -> None:
    file = load_weights(export(options(stored, tmp_path / "e.safetensors", "averaged=false")), "expert_f")
    assert file.notes["averaged"] is False
    assert "metrics" not in file.notes
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(file.tensors[name], (tensor + 1).half().float())


BAD_OPTIONS = {
    "ending": (["dst=a.pt"], "dst: got 'a.pt', expected a file that ends in .safetensors"),
    "unknown size": (["config.width=[1,2,3]"], "config: got width, expected some of widths, encoder"),
    "contradiction": (["config.fourier=9"], "fourier contradict the checkpoint"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_refused(name: str, stored: Path, tmp_path: Path) -> None:
    more, message = BAD_OPTIONS[name]
    arguments = {"ckpt": str(stored), "dst": str(tmp_path / "e.safetensors")}
    arguments |= dict(a.split("=", 1) for a in more)
    with pytest.raises(ConfigError, match=message):
        export(parse(ExportOptions, [f"{k}={v}" for k, v in arguments.items()]))
    assert not list(tmp_path.glob("e.*"))


def test_what_agrees_with_the_checkpoint_may_be_given(stored: Path, tmp_path: Path) -> None:
    export(options(stored, tmp_path / "e.safetensors", *GIVEN))


def spoil(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    elif how == "damaged":
        file.write_bytes(b"no checkpoint")
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    elif how == "no checkpoint":
        torch.save({"weights": {}}, file)
    else:
        torch.save({"state_dict": {"gate.weight": torch.zeros(1)}}, file)


SPOILT = {
    "missing": "does not exist",
    "damaged": "cannot be read",
    "cut": "cannot be read",
    "no checkpoint": "holds no state_dict",
    "another network": "no weight begins with 'net.'",
}


@pytest.mark.parametrize("how", SPOILT)
def test_bad_checkpoints_are_named(how: str, stored: Path, tmp_path: Path) -> None:
    spoil(stored, how)
    with pytest.raises(InputError, match=SPOILT[how]) as error:
        export(options(stored, tmp_path / "e.safetensors"))
    assert "\n" not in str(error.value).split("(")[0]
    assert not list(tmp_path.glob("e.*"))


def test_missing_card_is_named_before_anything_is_written(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card: nowhere\.md cannot be read"):
        export(options(stored, tmp_path / "e.safetensors", "card=nowhere.md"))
    assert not list(tmp_path.glob("e.*"))
