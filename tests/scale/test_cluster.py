"""Files restored on a cluster equal those of this process; workers may die, and long videos go in parts."""

from __future__ import annotations

import json
import os
import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

pytest.importorskip("distributed")
from distributed import Client, LocalCluster

from likeness.cli import main
from likeness.errors import ConfigError, InputError, MemoryExceeded, UnexpectedError
from likeness.media.video_reader import VideoReader
from likeness.nets.expert_f import ExpertF
from likeness.pipeline import parts
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import FileResult, Restorer
from likeness.scale import cluster as scale_cluster
from likeness.scale.cluster import restore_on_cluster
from likeness.scale.restoring import RestoreTask
from likeness.tasks.clips import write_clip
from likeness.weights.files import save_weights
from tests.tiny import FIRST

TIMES = ("milliseconds", "seconds", "seconds_by_stage", "frames_per_second", "peak_memory_mb")


@pytest.fixture
def options(tmp_path) -> list[str]:
    """Restores by a tiny network, every face."""
    torch.manual_seed(0)
    net = ExpertF(FIRST)
    file = tmp_path / "tiny.safetensors"
    save_weights(file, "expert_f", net.config.to_dict(), net.state_dict(), {})
    plain = [
        "device=cpu",
        "background.name=lanczos",
        "expert.name=expert_f",
        "guard.enabled=false",
        "composite.mask=face",
    ]
    return [f"weights.expert_f={file}", *plain]


@pytest.fixture
def threads():
    """A cluster of two workers in this process."""
    clear = scale_cluster.restorer_of.cache_clear
    clear()
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster.scheduler_address
    clear()


def portrait(shift: int = 0) -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:224, 110 + shift : 334 + shift])


def film(path: Path, frames: int) -> Path:
    """A portrait that sways, at 10 frames a second, with sound."""
    write_clip(path, (portrait(round(6 * np.sin(i / 3))) for i in range(frames)), 20, 10)
    return path


def comparable(value):
    """A report without times and paths."""
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items() if k not in (*TIMES, "outputs")}
    return [comparable(v) for v in value] if isinstance(value, list) else value


def log_of(path):
    return [comparable(json.loads(line)) for line in path.read_text().splitlines()]


def test_a_folder_gives_the_same_files_and_summary_as_one_process(tmp_path, options, threads, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(2):
        Image.fromarray(portrait(n)).save(folder / f"{n}.png")
    film(folder / "film.mp4", 12)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    said = []
    for out, words in (("one", []), ("many", [f"scale.scheduler={threads}"])):
        code = main(["restore", str(folder), f"output={tmp_path / out}", *words, *options])
        assert code == InputError.exit_code
        captured = capsys.readouterr()
        assert captured.err.count("broken.png: is no picture that can be read") == 1
        said.append(sorted(captured.out.replace(f"{tmp_path / out}", "").splitlines()))
    assert said[0] == said[1]
    assert any("1 face: 1 restored" in line for line in said[0])
    written = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert written == sorted(p.relative_to(tmp_path / "many") for p in (tmp_path / "many").rglob("*") if p.is_file())
    for name in written:
        one, many = tmp_path / "one" / name, tmp_path / "many" / name
        if name.suffix == ".json":
            assert comparable(json.loads(one.read_text())) == comparable(json.loads(many.read_text()))
        elif name.suffix == ".jsonl":
            assert log_of(one) == log_of(many)
        elif not name.stem.endswith("_faces"):  # cards show milliseconds
            assert one.read_bytes() == many.read_bytes()


def test_a_killed_worker_is_survived(tmp_path, options):
    """Eight photos by two processes, one of which is killed after the first result."""
    tasks = []
    for n in range(8):
        Image.fromarray(portrait(n)).save(tmp_path / f"{n}.png")
        tasks.append(
            RestoreTask(tmp_path / f"{n}.png", tmp_path / "many" / str(n), from_overrides([*options, "cards=0"]))
        )
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            victim = next(iter(client.run(os.getpid).values()))
        done = {}
        for source, finish in restore_on_cluster(cluster.scheduler_address, tasks):
            if not done:
                os.kill(victim, signal.SIGKILL)
            done[source] = finish()
    assert len(done) == 8
    alone = Restorer(from_overrides([*options, "cards=0"]))
    for n, task in enumerate(tasks):
        expected = alone.file(task.source, tmp_path / "one" / str(n)).outputs["restored"]
        assert done[task.source].outputs["restored"].read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("failures", "tries", "error"),
    [
        ([], 1, None),
        ([RuntimeError("a bug")], 2, None),
        ([RuntimeError("a bug")] * 3, 3, UnexpectedError),
        ([MemoryExceeded("no memory")] * 2, 3, None),
        ([InputError("damaged")], 1, InputError),
    ],
    ids=["none", "one", "always", "twice", "of the input"],
)
def test_what_may_not_recur_is_tried_twice_more(failures, tries, error, threads, tmp_path, monkeypatch):
    calls = []

    class Fragile:
        def file(self, source, folder, reference):
            calls.append(source)
            if len(calls) <= len(failures):
                raise failures[len(calls) - 1]
            return FileResult({"restored": folder / "a.png"}, {"summary": "done"})

    monkeypatch.setattr(scale_cluster, "restorer_of", lambda options: Fragile())
    ((_, finish),) = restore_on_cluster(threads, [RestoreTask(tmp_path / "a.png", tmp_path, from_overrides([]))])
    if error is None:
        assert finish().summary == "done"
    else:
        with pytest.raises(error):
            finish()
    assert calls == [tmp_path / "a.png"] * tries


def test_a_long_video_goes_in_parts(tmp_path, options, threads, monkeypatch):
    monkeypatch.setattr(parts, "PART_SECONDS", Fraction(1))
    monkeypatch.setattr(parts, "WARM_UP_SECONDS", Fraction(1, 2))
    source = film(tmp_path / "film.mp4", 25)
    ((name, finish),) = restore_on_cluster(threads, [RestoreTask(source, tmp_path / "out", from_overrides(options))])
    result = finish()
    assert name == source
    assert result.summary == "1 face: 1 restored"
    assert result.report["notes"] == ["restored in 2 parts"]
    assert result.report["totals"]["frames"] == len(list(VideoReader(result.outputs["restored"]))) == 25
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("case", ["no scheduler", "no worker", "another version"])
def test_a_cluster_that_cannot_work_is_named(case, tmp_path, monkeypatch, options):
    monkeypatch.setattr(scale_cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(scale_cluster, "_version", lambda: "0.0")
    tasks = [RestoreTask(tmp_path / "a.png", tmp_path / "out", from_overrides([]))]
    expected = {"no scheduler": "does not answer", "no worker": "has no worker", "another version": "likeness 0.0"}
    with LocalCluster(n_workers=case == "another version", processes=False, dashboard_address=None) as cluster:
        address = "tcp://127.0.0.1:9" if case == "no scheduler" else cluster.scheduler_address
        with pytest.raises(ConfigError, match=expected[case]):
            next(restore_on_cluster(address, tasks))


def test_scheduler_and_workers_exclude_each_other(capsys):
    assert main(["restore", "a.png", "workers=2", "scale.scheduler=tcp://a:8786"]) == ConfigError.exit_code
    assert "leave one of them out" in capsys.readouterr().err
