"""Jobs as folders: what a killed server accepted is queued again, and old jobs are deleted."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest

from likeness.errors import OutputError
from likeness.scale.local import Pool
from likeness.web.jobs import Jobs, QueueFull
from tests.scale.runners import start_writing

from .conftest import PNG, StubPool


def upload(jobs, content=PNG):
    folder = jobs.new_folder()
    (folder / "input.png").write_bytes(content)
    return folder


def accept(jobs, content=PNG):
    return jobs.accept(upload(jobs, content), "a.png", "input.png", ("upscale=1",))


@pytest.fixture
def start(tmp_path):
    opened = []

    def make(pool=None, queue=9, ttl=60.0):
        opened.append(Jobs(tmp_path / "jobs", pool or StubPool(), ("device=cpu",), queue, ttl))
        return opened[-1]

    yield make
    for jobs in opened:
        jobs.close()


def test_what_a_killed_server_accepted_ends_after_the_restart(start):
    first = start()
    running, waiting, finished = accept(first, PNG + b"wait"), accept(first), None
    while first.get(running.id).status != "running":
        time.sleep(0.01)
    half = upload(first)  # its client has not sent everything
    first.close()
    stored = {p.parent.name: json.loads(p.read_text())["status"] for p in first.root.glob("*/job.json")}
    assert stored == {running.id: "running", waiting.id: "pending"}
    pool = StubPool()
    pool.go.set()
    second = start(pool)
    for job in (running, waiting):
        finished = second.wait(job.id, 10)
        assert (finished.status, finished.options, finished.created) == ("done", ("upscale=1",), job.created)
        assert second.output(finished, "restored").read_bytes().startswith(PNG)
    assert [task.source.parent.name for task in pool.tasks] == [running.id, waiting.id]
    assert not half.exists()
    third = start()
    assert third.get(running.id) == replace(second.get(running.id), done=third.get(running.id).done,
                                            total=third.get(running.id).total)  # fmt: skip


def test_finished_jobs_are_deleted_after_their_time(start):
    jobs = start(ttl=0.3)
    job = accept(jobs)
    assert jobs.wait(job.id, 10).status == "done"
    for _ in range(100):  # the job is forgotten first, its folder deleted next
        if not (jobs.root / job.id).exists():
            break
        time.sleep(0.05)
    assert jobs.get(job.id) is None
    assert not (jobs.root / job.id).exists()


def test_running_and_waiting_jobs_can_be_cancelled(start):
    jobs = start()
    running, waiting = accept(jobs, PNG + b"wait"), accept(jobs)
    while jobs.get(running.id).status != "running":
        time.sleep(0.01)
    for job in (waiting, running):
        jobs.cancel(job.id)
        assert jobs.wait(job.id, 10).status == "cancelled"


def test_the_files_of_a_deleted_job_do_not_come_back(start):
    jobs = start(Pool(start_writing, 1))
    job = accept(jobs)
    while not (jobs.root / job.id / "results" / "a").exists():
        time.sleep(0.01)
    assert jobs.delete(job.id)
    assert not jobs.delete(job.id)
    time.sleep(0.3)
    assert list(jobs.root.iterdir()) == []


def test_an_option_that_is_no_longer_known_fails_its_job_alone(start):
    first = start()
    old, good = accept(first, PNG + b"wait"), accept(first)
    first.close()
    state = first.root / old.id / "job.json"
    state.write_text(state.read_text().replace("upscale=1", "upscle=1"))
    pool = StubPool()
    pool.go.set()
    second = start(pool)
    assert "upscle" in second.get(old.id).error
    assert [second.wait(job.id, 10).status for job in (old, good)] == ["failed", "done"]


def test_a_full_queue_accepts_nothing(start):
    jobs = start(queue=1)
    first = accept(jobs, PNG + b"wait")
    while jobs.get(first.id).status != "running":
        time.sleep(0.01)
    accept(jobs)
    folder = upload(jobs)
    with pytest.raises(QueueFull, match="1 jobs wait"):
        jobs.accept(folder, "a.png", "input.png")
    jobs.discard(folder)
    assert len(list(jobs.root.iterdir())) == 2


def test_a_full_disk_refuses_the_job(start, monkeypatch):
    jobs = start()
    folder = upload(jobs)

    def full(*args, **more):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        jobs.accept(folder, "a.png", "input.png")
    assert jobs.get(folder.name) is None


def test_a_damaged_state_is_dropped(start, tmp_path):
    folder = tmp_path / "jobs" / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text("{")
    assert start().counts()["pending"] == 0
    assert not folder.exists()
