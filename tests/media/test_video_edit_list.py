"""What an edit list hides stays hidden, in pictures and sound, and the rest stays in step."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter

RATE, SECONDS = 44100, 3
PITCHES = (300, 500, 700)  # Hz, one for each second


def make_clip(path: Path) -> Path:
    """Three seconds: frame i, of 30, has the grey level 16 + 7 i; the tone has another pitch in each second."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10, options={"qp": "0", "g": "5", "bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        packets = []
        for i in range(10 * SECONDS):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 16 + 7 * i, np.uint8), "rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 10)
            packets += video.encode(picture)
        packets += video.encode(None)
        time = np.arange(SECONDS * RATE) / RATE
        tone = np.sin(2 * np.pi * np.take(PITCHES, time.astype(int)) * time).astype(np.float32)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            packets += audio.encode(frame)
        for packet in sorted([*packets, *audio.encode(None)], key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return path


def boxes(data: bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the boxes in `data` from `start` on (ISO/IEC 14496-12, 4.2)."""
    while start + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], start, start + size
        start += size


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def edit(path: Path, edits: list[tuple[float, float | None]]) -> Path:
    """Replaces the edit list of every track: (seconds, start in the track or None for nothing) for each part."""
    data = path.read_bytes()
    place = {name: (start, end) for name, start, end in boxes(data, 0)}
    start, end = place[b"moov"]
    assert end == len(data), "the index must come last, so that nothing else moves"
    moov, clock = b"", 0
    for name, a, b in boxes(data[:end], start + 8):
        part = data[a:b]
        if name == b"mvhd":
            (clock,) = struct.unpack_from(">I", part, 20)
        if name == b"trak":
            inner = {n: part[x:y] for n, x, y in boxes(part, 8)}
            mdhd = next(inner[b"mdia"][x:y] for n, x, y in boxes(inner[b"mdia"], 8) if n == b"mdhd")
            (tick,) = struct.unpack_from(">I", mdhd, 20)
            (first,) = struct.unpack_from(">i", inner[b"edts"], 28)  # media time of the only edit: B-frames, priming
            entries = b"".join(
                struct.pack(">Iihh", round(length * clock), -1 if at is None else round(at * tick) + first, 1, 0)
                for length, at in edits
            )
            inner[b"edts"] = box(b"edts", box(b"elst", struct.pack(">II", 0, len(edits)) + entries))
            part = box(b"trak", b"".join(inner.values()))
        moov += part
    path.write_bytes(data[:start] + box(b"moov", moov))
    return path


def seen(path: Path) -> list[tuple[float, int]]:
    """Time in seconds and number of each frame, as FFmpeg plays them."""
    with av.open(str(path)) as container:
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="gray")) for f in container.decode(video=0)]
    return [(time, round((float(grey.mean()) - 16) / 7)) for time, grey in frames]


def heard(path: Path, time: float) -> int | None:
    """The pitch at a time, over a tenth of a second; None for silence."""
    track = np.zeros(RATE * (SECONDS + 1), np.float32)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            start, samples = round(frame.pts * frame.time_base * RATE), frame.to_ndarray()[0]
            samples, start = samples[max(0, -start) :], max(0, start)
            track[start : start + len(samples)] = samples
    part = track[round(time * RATE) :][: RATE // 10]
    if np.abs(part).max() < 0.05:
        return None
    strongest = np.abs(np.fft.rfft(part * np.hanning(len(part)))).argmax() * RATE / len(part)
    return min(PITCHES, key=lambda pitch: abs(pitch - strongest))


# Edits, frames that are shown, and the pitch at some times.
EDITS = {
    "the beginning is hidden": ([(1.5, 0.7)], range(7, 22), {0.1: 300, 0.5: 500, 1.2: 500, 1.36: 700, 1.7: None}),
    "it begins later": ([(0.5, None), (2.0, 0.0)], range(20), {0.2: None, 0.6: 300, 1.7: 500}),
    "the middle is cut out": ([(1.0, 0.0), (1.0, 2.0)], [*range(10), *range(20, 30)], {0.4: 300, 1.1: 700, 1.8: 700}),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", EDITS)
def test_a_result_shows_what_the_edit_list_shows(tmp_path, name, suffix):
    edits, shown, pitches = EDITS[name]
    source = edit(make_clip(tmp_path / "in.mp4"), edits)
    assert [number for _, number in seen(source)] == list(shown)
    target = tmp_path / f"out{suffix}"
    with VideoReader(source) as reader, VideoWriter(target, reader, 64, 48) as writer:
        for frame in reader:
            writer.write(frame)
    assert not any("missing" in note for note in reader.notes)
    assert [number for _, number in seen(target)] == list(shown)
    # Matroska has no time below 0: what a decoder needs before the first sample moves all by up to a twentieth second.
    later = seen(target)[0][0] - seen(source)[0][0]
    assert 0 <= later < (0.06 if suffix == ".mkv" else 0.001)
    assert all(abs(a[0] + later - b[0]) < 0.002 for a, b in zip(seen(source), seen(target), strict=True))
    assert {time: heard(source, time) for time in pitches} == pitches
    assert {time: heard(target, time + later) for time in pitches} == pitches


def test_a_file_that_breaks_off_is_still_told(tmp_path):
    source = make_clip(tmp_path / "in.mp4")
    data = source.read_bytes()
    place = {name: (start, end) for name, start, end in boxes(data, 0)}
    start = place[b"mdat"][0]
    # The sound and the pictures of the last second are gone, the index is not.
    source.write_bytes(data[: start + 3000] + bytes(place[b"mdat"][1] - start - 3000) + data[place[b"mdat"][1] :])
    with VideoReader(source) as reader:
        assert reader.info.frames == 30
        count = len(list(reader))
    assert count < 30
    assert any("missing" in note for note in reader.notes)
