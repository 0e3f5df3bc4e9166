"""Live restoration between generated streams: the newest picture, sound, reconnections, statistics."""

from __future__ import annotations

import threading
import time
import urllib.request
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from likeness.errors import ConfigError, InputError, MemoryExceeded, OutputError
from likeness.media import live_source
from likeness.media.video_reader import VideoReader
from likeness.pipeline.config import from_overrides
from likeness.pipeline.live import LiveRestorer
from likeness.pipeline.restorer import Restorer
from likeness.tasks.live import run_live, take_addresses
from tests.pipeline.streams import Receiver, free_port, send


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(live_source, "OPEN_SECONDS", 2.0)


@pytest.fixture
def live(make_models, face_at):
    """A function that makes a live restorer with known networks."""

    def make(source, sink, *options, expert=None, tell=lambda _: None):
        restorer = Restorer(from_overrides(["route.skip_below=30", *options]))
        restorer._models = make_models(face_at(150, 110, 90), expert=expert)
        return LiveRestorer(restorer, str(source), str(sink), tell)

    return make


@pytest.fixture
def film(tmp_path, scene):
    """A file of twenty pictures at ten a second, with sound."""
    send(str(tmp_path / "film.ts"), scene, 20, paced=False)
    return tmp_path / "film.ts"


def slow(stub_expert, seconds):
    class Slow(stub_expert):
        def restore(self, crops, conditions=None):
            time.sleep(seconds)
            return super().restore(crops, conditions)

    return Slow()


def is_part(some, of):
    """Whether `some` stand one after another in `of`."""
    return any(of[i : i + len(some)] == some for i in range(len(of)))


def test_a_stream_goes_through_with_its_sound(live, scene, monkeypatch):
    monkeypatch.setattr(live_source, "READ_SECONDS", 3.0)
    here, there = (f"udp://127.0.0.1:{free_port()}" for _ in range(2))
    told = []
    job = live(here, there, tell=told.append)
    receiver = Receiver(there)
    thread = threading.Thread(target=lambda: told.append(job.run()))
    thread.start()
    time.sleep(0.5)
    sounds = send(here, scene, 40)
    time.sleep(0.5)
    job.stop()
    thread.join()
    receiver.join()
    *seconds, whole = told
    assert len(seconds) >= 3
    assert {second.faces for second in seconds if second.fps_out} == {1}
    shown = round(whole.fps_out * whole.seconds)
    assert shown + whole.dropped == job.source.counts.pictures > 20
    assert whole.errors == 0
    assert whole.memory_mb > 50
    assert len(receiver.times) > 3
    assert receiver.times == sorted(set(receiver.times))
    assert set(receiver.shapes) == {scene.shape[:2]}
    assert len(receiver.sounds) > 30
    assert is_part(receiver.sounds, sounds)


def test_a_slow_network_drops_pictures_and_keeps_the_delay_bounded(live, film, tmp_path, stub_expert):
    whole = live(film, tmp_path / "out.ts", expert=slow(stub_expert, 0.3)).run()
    assert whole.dropped >= 7
    assert 300 < whole.longest < 2500  # in a queue the last one would wait for 19 times 0.3 s less two
    frames = list(VideoReader(tmp_path / "out.ts"))
    assert len(frames) == round(whole.fps_out * whole.seconds) <= 12
    assert whole.seconds < 4
    assert whole.sound_delay < 2500


def test_a_file_is_shown_restored_at_its_own_pace(live, film, tmp_path):
    job = live(film, tmp_path / "out.mp4", "upscale=2")
    whole = job.run()
    assert 1.8 < whole.seconds < 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert "Likeness" in container.metadata["comment"]
    with VideoReader(tmp_path / "out.mp4") as reader:
        frames = list(reader)
    assert len(frames) + whole.dropped == job.source.counts.pictures == 19  # the first one is used up by probing
    assert frames[0].pixels.shape == (480, 640, 3)
    steps = [float(b.time - a.time) for a, b in pairwise(frames)]
    assert [round(step * 10) for step in steps].count(1) >= len(steps) - 2 * whole.dropped
    given = VideoReader(film)
    before = cv2.resize(list(given)[1].pixels, (640, 480), interpolation=cv2.INTER_LANCZOS4)
    change = np.abs(frames[0].pixels.astype(int) - before).mean(2)
    assert change[120:320, 200:400].mean() > 2 * change[:, :100].mean()  # the face was sharpened, its surroundings not


@pytest.mark.parametrize("target", ["out.ts", "out.mp4", "out.mkv"])
def test_sound_in_aac_is_passed_on_to_its_end(target, live, scene, make_clip, tmp_path):
    """MP4 and MPEG-TS hold AAC in different ways, which the muxer knows."""
    source = make_clip("a.mp4", [np.roll(scene, i, 1) for i in range(15)], seconds=0.6)
    live(source, tmp_path / target).run()
    lengths = []
    for path in (source, tmp_path / target):
        with av.open(str(path)) as container:
            lengths.append(sum(frame.samples for frame in container.decode(audio=0)) / 44100)
    assert lengths[1] == pytest.approx(lengths[0], abs=0.1)


def test_a_stream_that_never_comes_can_be_stopped(live, tmp_path):
    told = []
    job = live(f"udp://127.0.0.1:{free_port()}", tmp_path / "out.ts", tell=told.append)
    timer = threading.Timer(1.5, job.stop)
    timer.start()
    assert job.run().fps_in == 0
    assert told[0].fps_in == 0
    assert not (tmp_path / "out.ts").exists()


def test_a_stream_that_breaks_off_is_opened_again(live, scene, tmp_path, monkeypatch):
    """Another size and a clock that begins anew, as of another sender."""
    monkeypatch.setattr(live_source, "READ_SECONDS", 0.6)
    here = f"udp://127.0.0.1:{free_port()}"
    job = live(here, tmp_path / "out.ts")
    result = []
    thread = threading.Thread(target=lambda: result.append(job.run()))
    thread.start()
    time.sleep(0.5)
    seen = []
    for picture in (scene, scene[:160, :240], scene):
        send(here, np.ascontiguousarray(picture), 15)
        seen.append(job.source.counts.pictures)
        time.sleep(1.2)
    job.stop()
    thread.join()
    assert seen[0] > 5
    assert seen[1] > seen[0] + 3
    assert seen[2] > seen[1] + 3
    assert 2 <= result[0].reconnects <= 6  # a loaded machine may break off more often
    frames = list(VideoReader(tmp_path / "out.ts"))
    assert {frame.pixels.shape for frame in frames} == {scene.shape}
    assert float(frames[-1].time - frames[0].time) > 5  # the time between two senders passes


def test_a_picture_that_cannot_be_restored_is_shown_as_it_is(live, film, tmp_path, stub_expert):
    class Failing(stub_expert):
        def restore(self, crops, conditions=None):
            raise MemoryExceeded("one face does not fit")

    whole = live(film, tmp_path / "out.ts", expert=Failing()).run()
    assert whole.errors == round(whole.fps_out * whole.seconds) > 5
    assert whole.faces == 0


def test_the_page_shows_the_newest_picture(live, film, scene):
    port = free_port()
    job = live(film, f"page:{port}", "upscale=2")
    thread = threading.Thread(target=job.run)
    thread.start()
    time.sleep(0.7)
    assert b"<img src=stream" in urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=5) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        head = b"".join(iter(stream.readline, b"\r\n"))
        size = int(head.split(b"Content-Length: ")[1].split()[0])
        picture = cv2.imdecode(np.frombuffer(stream.read(size), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    assert np.abs(cv2.resize(picture[..., ::-1], (320, 240)).astype(int).mean() - scene.mean()) < 10
    thread.join()


def test_what_cannot_be_opened_is_named(live, film, tmp_path, scene):
    with pytest.raises(InputError, match=r"nothing\.ts: .*No such file"):
        live(tmp_path / "nothing.ts", tmp_path / "out.ts").run()
    (tmp_path / "text.ts").write_text("no stream")
    with pytest.raises(InputError, match=r"text\.ts: "):
        live(tmp_path / "text.ts", tmp_path / "out.ts").run()
    with pytest.raises(OutputError, match=r"out\.xyz: cannot be written"):
        live(film, tmp_path / "out.xyz").run()
    with pytest.raises(OutputError, match="never overwritten"):
        run_live(str(film), str(film), from_overrides([]))


@pytest.mark.parametrize("word", ["start=1", "end=2", "preview=2", "resume=true", "video.fps=2x", "compare=yes"])
def test_options_of_files_are_refused(word, live, film, tmp_path):
    with pytest.raises(ConfigError, match=r"live: got .*, which is for files"):
        live(film, tmp_path / "out.ts", word)


@pytest.mark.parametrize("words", [["source=a"], ["sink=b"], ["source=a", "source=b", "sink=c"], ["source=", "sink=b"]])
def test_source_and_sink_are_given_once(words):
    with pytest.raises(ConfigError, match=r"expected (source|sink)=ADDRESS once"):
        take_addresses(words)
