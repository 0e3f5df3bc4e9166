"""W&B: online with a key, offline without one, never a prompt; and the filter of harmless messages."""

from __future__ import annotations

import builtins
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from likeness.errors import ConfigError
from likeness.training import loggers
from likeness.training.loggers import has_wandb_key, wandb_logger
from likeness.training.quiet import quiet


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("WANDB")] + ["NETRC"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


ENTRIES = {
    "none": (None, False),
    "other host": ("machine example.org login a password b\n", False),
    "wandb": ("machine api.wandb.ai login user password secret\n", True),
    "damaged": ("machine\nmachine what\n", False),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_key_is_found_in_netrc(name: str, tmp_path: Path) -> None:
    text, expected = ENTRIES[name]
    if text:
        file = tmp_path / ".netrc"
        file.write_text(text)
        file.chmod(0o600)
    assert has_wandb_key() is expected


def test_key_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "")
    assert not has_wandb_key()


MODES = {
    "no key": (None, False, True),
    "key": (None, True, False),
    "forced offline": (True, True, True),
    "forced online": (False, False, False),
}


@pytest.mark.parametrize("name", MODES)
def test_mode_follows_the_key_unless_forced(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested, key, offline = MODES[name]
    options: dict[str, Any] = {}
    monkeypatch.setattr(loggers, "WandbLogger", lambda **given: options.update(given))
    if key:
        monkeypatch.setenv("WANDB_API_KEY", "x")
    wandb_logger("p", str(tmp_path / "w"), requested, name="run")
    assert options == {"project": "p", "save_dir": str(tmp_path / "w"), "offline": offline, "name": "run"}
    assert "WANDB_MODE" not in os.environ, "one run must not change the next"


def test_without_a_key_a_run_is_written_to_disk_without_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prompt(*_: object) -> str:
        raise AssertionError("W&B asked for input")

    monkeypatch.setattr(builtins, "input", prompt)
    monkeypatch.setattr("getpass.getpass", prompt)
    logger = wandb_logger("likeness", str(tmp_path / "w"), name="test")
    run = logger.experiment
    try:
        assert run.offline
        logger.log_metrics({"loss": 1.0}, step=0)
    finally:
        run.finish()
    (folder,) = (tmp_path / "w/wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))


def test_missing_wandb_is_an_error_that_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"logger=csv.*wandb is not installed; pip install 'likeness\[train\]'"):
        wandb_logger("p", str(tmp_path), offline=True)


def test_quiet_hides_the_known_messages_only(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(rank_zero, "filters", [])
    rank_zero.addHandler(caplog.handler)
    try:
        with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.INFO, rank_zero.name):
            warnings.simplefilter("always")
            quiet()
            quiet()
            assert len(rank_zero.filters) == 1
            warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use another", FutureWarning, stacklevel=1)
            warnings.warn("the learning rate is odd", UserWarning, stacklevel=1)
            rank_zero.info("💡 Tip: For seamless cloud logging and experiment tracking, try this")
            rank_zero.info("GPU available: False, used: False")
    finally:
        rank_zero.removeHandler(caplog.handler)
    assert [str(w.message) for w in seen] == ["the learning rate is odd"]
    assert set(caplog.messages) == {"GPU available: False, used: False"}
