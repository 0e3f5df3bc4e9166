"""Turns a checkpoint into weights: `python -m likeness.tasks.export ckpt=FILE dst=expert_f.safetensors`.

`format=onnx dst=DIR` writes the released networks for other runtimes instead, see `likeness.tasks.export_onnx`.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING
from torch import Tensor

from likeness import __version__
from likeness.errors import ConfigError, InputError, OutputError, WeightsError
from likeness.log import get_logger
from likeness.nets.prior import DECODER, PriorConfig
from likeness.tasks import arguments
from likeness.tasks import export_onnx as export_onnx_module
from likeness.tasks.export_onnx import OnnxOptions, export_onnx
from likeness.weights.files import file_hash, load_into, load_weights, save_weights
from likeness.weights.networks import NETWORKS, plain_config

log = get_logger(__name__)

_PREFIX = "net."


@dataclass
class ExportOptions:
    """Exports the weights of a training checkpoint, averaged (EMA) or last, as fp16 safetensors.

    A JSON file of the same name beside `dst` states its contents.

    Attributes:
        ckpt: a checkpoint of this package's training. Reading one may run code in it, so take only
            your own.
        dst: the file to write, ending in .safetensors.
        card: Markdown text about the network (data, use, limits, licence); copied beside `dst` with the
            facts of this export below it. Empty = none.
        prior: where to write the prior, if its decoder was trained with this Expert-T (model.tokens.decoder=true).
        averaged: the averaged weights; False = the last ones: after a GAN, an average has smoother texture than any of
            them.
        config: `config.widths=[64,128,192]` and the like: size of the network, only for a checkpoint
            that does not state it.
    """

    ckpt: str = MISSING
    dst: str = MISSING
    card: str = ""
    prior: str = ""
    averaged: bool = True
    config: dict[str, Any] = field(default_factory=dict)


def export(options: ExportOptions) -> Path:
    """Writes the weight file, its JSON and its card.

    Returns:
        The weight file.

    Raises:
        InputError: if the checkpoint or the card cannot be read.
        ConfigError: if `config` contradicts the checkpoint or names an unknown key.
        WeightsError: if the weights do not fit the network of that size.
        OutputError: if a file cannot be written.
    """
    target = Path(options.dst)
    if target.suffix != ".safetensors":
        raise ConfigError(f"dst: got {options.dst!r}, expected a file that ends in .safetensors")
    card = _read_card(options.card)
    checkpoint = read_checkpoint(options.ckpt)
    network = checkpoint.get("network", "expert_f")
    if network not in NETWORKS:
        raise InputError(f"ckpt: {options.ckpt} holds {network!r}, expected one of {', '.join(NETWORKS)}")
    _check_prior(options, checkpoint)
    kind = NETWORKS[network].config
    config = _config(kind, checkpoint.get("net_config"), options.config)
    notes = training_notes(checkpoint)
    read = averaged_weights if options.averaged else last_weights
    tensors = read(checkpoint)
    if not options.averaged:
        notes["averaged"] = False
        notes.pop("metrics", None)  # they were measured on the averaged ones
    facts = _save(target, network, config, tensors, notes)
    if options.prior:
        stored = checkpoint["prior"]
        under = PriorConfig(**plain_config(stored["net_config"]))
        drawn = {DECODER + name: tensor for name, tensor in read(checkpoint, DECODER).items()}
        _save(Path(options.prior), "prior", under, {**stored["weights"], **drawn}, notes)
    if card is not None:
        _write_text(target.with_suffix(".md"), f"{card.rstrip()}\n\n{_table(facts)}")
    log.info("%s: %.1f MB, %d weights, %s", target, facts["bytes"] / 1e6, facts["parameters"], notes)
    return target


def _check_prior(options: ExportOptions, checkpoint: Mapping[str, Any]) -> None:
    if options.prior and "prior" not in checkpoint:
        raise ConfigError(
            f"prior: got {options.prior}, but {options.ckpt} has no trained decoder (model.tokens.decoder=true); leave "
            "it out"
        )
    if "prior" in checkpoint and (not options.prior.endswith(".safetensors") or options.prior == options.dst):
        raise ConfigError(
            f"prior: got {options.prior!r}, but {options.ckpt} trained the prior's decoder too, and its Expert-T needs "
            "it; give another file that ends in .safetensors"
        )


def _save(
    target: Path, network: str, config: Any, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes weights and their facts, which it returns. A file that does not fit its config is removed again."""
    save_weights(target, network, config.to_dict(), tensors, notes)
    try:
        load_into(NETWORKS[network].make(config), load_weights(target, network), target)
    except WeightsError:
        target.unlink()
        raise
    facts: dict[str, Any] = {
        "network": network,
        "file": target.name,
        "sha256": file_hash(target),
        "bytes": target.stat().st_size,
        "parameters": sum(t.numel() for t in tensors.values()),
        "config": config.to_dict(),
        "notes": notes,
    }
    _write_text(target.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    return facts


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Reads a Lightning checkpoint.

    Raises:
        InputError: if it is missing, damaged or no checkpoint.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"ckpt: {file} does not exist; expected a checkpoint that train.py wrote")
    try:
        # The callbacks' state is plain Python, which the safe loader refuses.
        checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"ckpt: {file} cannot be read ({error}); expected a checkpoint that train.py wrote") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"ckpt: {file} holds no state_dict; expected a checkpoint that train.py wrote")
    return checkpoint


def averaged_weights(checkpoint: Mapping[str, Any], prefix: str = _PREFIX) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`; where an average was kept, Lightning stores it as the state.

    Raises:
        InputError: if there are none.
    """
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    tensors = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    if not tensors:
        raise InputError(f"ckpt: no weight begins with {prefix!r}; expected a checkpoint that train.py wrote")
    return tensors


def last_weights(checkpoint: Mapping[str, Any], prefix: str = _PREFIX) -> dict[str, Tensor]:
    """The same of the last weights, where Lightning keeps them beside the averaged ones.

    Raises:
        InputError: if there are none.
    """
    state: Mapping[str, Tensor] = checkpoint.get("current_model_state", checkpoint["state_dict"])
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return averaged_weights({"state_dict": plain}, prefix)


def training_notes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the training: images, steps, whether the weights are averaged, the last figures."""
    notes = {
        "likeness": __version__,
        "images": checkpoint.get("images_seen"),
        "steps": checkpoint.get("global_step"),
        "epochs": checkpoint.get("epoch"),
        "averaged": "averaging_state" in checkpoint,
        "metrics": checkpoint.get("metrics") or _watched(checkpoint.get("callbacks", {})),
    }
    return {name: value for name, value in notes.items() if value not in (None, {})}


def _watched(callbacks: Mapping[str, Any]) -> dict[str, float]:
    """Scores of Lightning's callbacks, for checkpoints that do not state their figures."""
    states = [s for s in callbacks.values() if s.get("monitor") and s.get("current_score") is not None]
    return {state["monitor"]: float(state["current_score"]) for state in states}


def _config(kind: type[Any], stored: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Any:
    known = [f.name for f in fields(kind)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"config: got {', '.join(unknown)}, expected some of {', '.join(known)}")
    values = {**kind().to_dict(), **(stored or {}), **given}
    if stored is not None:
        states = {**kind().to_dict(), **stored}
        clashes = [n for n in given if _plain(states[n]) != _plain(given[n])]
        if clashes:
            raise ConfigError(
                f"config: {', '.join(clashes)} contradict the checkpoint, which states {dict(stored)}; leave them out"
            )
    return kind(**plain_config(values))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _read_card(path: str) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"card: {path} cannot be read ({error}); expected a Markdown text") from error


def _table(facts: Mapping[str, Any]) -> str:
    notes = dict(facts["notes"])
    metrics = notes.pop("metrics", {})
    flat = {name: value for name, value in facts.items() if name not in ("notes", "config")} | notes
    flat |= {f"config: {name}": value for name, value in facts["config"].items()}
    flat |= {name: round(value, 4) for name, value in metrics.items()}
    rows = [f"| {name} | {value} |" for name, value in flat.items()]
    return "\n".join(["| fact | value |", "|---|---|", *rows]) + "\n"


def _write_text(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    try:
        partial.write_text(text)
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"dst: cannot write {file} ({error}); give another path") from error


def main(given: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = [word for word in given if word != "format=weights"]
    if any(word.startswith("format=") for word in words):
        return arguments.main(OnnxOptions, export_onnx, words, export_onnx_module.__doc__ or "")
    return arguments.main(ExportOptions, export, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
