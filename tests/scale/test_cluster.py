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
from likeness.errors import ConfigError, InputError
from likeness.media.video_reader import VideoReader
from likeness.nets.expert_f import ExpertF
from likeness.pipeline import parts, resume
from likeness.pipeline.config import from_overrides
from likeness.pipeline.parts import plan_parts, same_tracks
from likeness.pipeline.restorer import Restorer
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
    scale_cluster.restorer_of.cache_clear()
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster.scheduler_address
    scale_cluster.restorer_of.cache_clear()


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


@pytest.fixture
def short_parts(monkeypatch):
    """Parts of three seconds, and for the comparison one run that is encoded in the same segments."""
    monkeypatch.setattr(parts, "PART_SECONDS", Fraction(3))
    monkeypatch.setattr(parts, "WARM_UP_SECONDS", Fraction(1))
    monkeypatch.setattr(resume, "SEGMENT_SECONDS", Fraction(3))


def test_a_long_video_in_parts_equals_one_run_beyond_a_second_from_the_joints(tmp_path, options, threads, short_parts):
    source = film(tmp_path / "film.mp4", 90)
    assert [(p.first, p.warm_first, p.end) for p in plan_parts(source, from_overrides(options))] == [
        (0, 0, 3), (30, 20, 6), (60, 50, None),
    ]  # fmt: skip
    one = Restorer(from_overrides([*options, "resume=true"])).file(source, tmp_path / "one")
    ((_, finish),) = restore_on_cluster(threads, [RestoreTask(source, tmp_path / "many", from_overrides(options))])
    many = finish()
    pairs = zip(VideoReader(one.outputs["restored"]), VideoReader(many.outputs["restored"]), strict=True)
    for a, b in pairs:
        assert a.time == b.time
        near = any(abs(a.time - joint) < 1 for joint in (3, 6))
        assert np.abs(a.pixels.astype(int) - b.pixels).max() <= (24 if near else 0)
    assert many.summary == one.summary == "1 face: 1 restored"
    assert many.report["notes"] == ["restored in 3 parts"]
    face, other = many.report["faces"][0], one.report["faces"][0]
    assert [face[k] for k in ("track", "frames", "restored_frames")] == [0, 90, 90]
    assert face["identity_spread"] == pytest.approx(other["identity_spread"], abs=1e-3)
    for result in (one, many):
        lines = log_of(result.outputs["frames"])
        assert [(r["frame"], r["time"], [f["track"] for f in r["faces"]]) for r in lines] == [
            (i, i / 10, [0]) for i in range(90)
        ]
    assert not list((tmp_path / "many").glob(".*"))


@pytest.mark.parametrize("word", ["start=1", "end=8", "preview=2", "resume=true", "video.fps=2x", "compare=yes"])
def test_what_one_run_must_write_is_not_cut(tmp_path, short_parts, word):
    source = film(tmp_path / "film.mp4", 70)
    assert len(plan_parts(source, from_overrides([]))) == 2
    assert len(plan_parts(source, from_overrides([word]))) == 1
    assert len(plan_parts(film(tmp_path / "short.mp4", 40), from_overrides([]))) == 1


def test_tracks_of_two_parts_are_the_same_where_they_overlap():
    def face(track, x):
        return {"track": track, "box": [x, 0.0, x + 10, 10.0]}

    assert same_tracks([face(0, 0), face(1, 50), face(2, 90)], [face(7, 51), face(5, 1), face(6, 200)], 0.3) == {
        0: 5,
        1: 7,
    }
    assert same_tracks([], [face(0, 0)], 0.3) == {}


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
