"""Sound is copied where the result's container holds it, else encoded again; it is never dropped."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from likeness.media.naming import VIDEO_CONTAINERS, video_suffix
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.types import TimeRange
from tests.media import dts

TONE = 440  # Hz


def make_clip(path: Path, pictures: str, sound: str, rate: int, layout: str, silent: tuple[float, float] = (9, 9)):
    """One second of grey pictures with a tone, by PyAV alone; the packets within `silent` seconds are left out."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(pictures, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        packets = sound_packets(out, sound, rate, layout)
        for i in range(25):
            packets += video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i, np.uint8), "rgb24"))
        packets += video.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            if packet.stream is video or not silent[0] <= packet.pts * packet.time_base < silent[1]:
                out.mux(packet)
    return path


def sound_packets(out, sound: str, rate: int, layout: str) -> list[av.Packet]:
    """The packets of a tone, of a stream that is added to `out`."""
    if sound == "dts":
        frames = dts.tone(TONE, 1)
        with av.open(BytesIO(b"".join(frames)), format="dts") as raw:
            audio, packets = out.add_stream_from_template(raw.streams.audio[0]), [av.Packet(frame) for frame in frames]
        for i, packet in enumerate(packets):
            packet.stream, packet.time_base = audio, Fraction(dts.SAMPLES, dts.RATE)
            packet.pts, packet.dts, packet.duration = i, i, 1
        return packets
    audio = out.add_stream(sound, rate=rate, layout=layout, options={"strict": "experimental"})
    audio.bit_rate = 12_200 if "amr" in sound else 128_000
    audio.codec_context.open()
    wave = np.sin(2 * np.pi * TONE * np.arange(rate) / rate) * 0.5
    channels = audio.codec_context.channels
    resampler = av.AudioResampler(audio.format, layout, rate, audio.codec_context.frame_size or 1024)
    frame = av.AudioFrame.from_ndarray(np.tile(wave.astype(np.float32), (channels, 1)), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    pieces = [*resampler.resample(frame), *resampler.resample(None), None]
    return [packet for piece in pieces for packet in audio.encode(piece)]


def rewrite(source: Path, time_range: TimeRange | None = None, suffix: str = "") -> tuple[Path, list[str]]:
    target = source.with_name(f"out{suffix or video_suffix(source.suffix)}")
    with VideoReader(source, time_range) as reader, VideoWriter(target, reader, 64, 48) as writer:
        for frame in reader:
            writer.write(frame)
    return target, writer.notes


def heard(path: Path) -> tuple[str, np.ndarray, int, float]:
    """Codec, samples of the first channel, rate, and time of the first sample."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        rate = frames[0].sample_rate
        to_float = av.AudioResampler("fltp", "mono", rate)
        start = float(frames[0].pts * frames[0].time_base)
        samples = np.concatenate([piece.to_ndarray()[0] for f in frames for piece in to_float.resample(f)])
        return stream.codec_context.codec.canonical_name, samples, rate, start


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def end_of_tone(path: Path) -> float:
    """The time of the last loud sample, in seconds."""
    _, samples, rate, start = heard(path)
    return start + float(np.flatnonzero(np.abs(samples) > 0.2).max()) / rate


# File, pictures, sound, sampling rate, layout, codec in the result.
PAIRS = {
    "AMR in 3GP": ("a.3gp", "mpeg4", "libopencore_amrnb", 8000, "mono", "aac"),
    "WMA in WMV": ("a.wmv", "wmv2", "wmav2", 44100, "stereo", "aac"),
    "Microsoft ADPCM in AVI": ("a.avi", "mpeg4", "adpcm_ms", 22050, "mono", "aac"),
    "IMA ADPCM in AVI": ("a.avi", "mpeg4", "adpcm_ima_wav", 22050, "mono", "aac"),
    "Nellymoser in FLV": ("a.flv", "flv", "nellymoser", 22050, "mono", "aac"),
    "mu-law in MOV": ("a.mov", "mpeg4", "pcm_mulaw", 8000, "mono", "pcm_mulaw"),
    "PCM in AVI": ("a.avi", "mpeg4", "pcm_s16le", 44100, "stereo", "pcm_s16le"),
    "PCM in MOV": ("a.mov", "mpeg4", "pcm_s16be", 48000, "stereo", "pcm_s16be"),
    "MP3 in AVI": ("a.avi", "mpeg4", "libmp3lame", 44100, "stereo", "mp3"),
    "MP2 in MPEG": ("a.mpg", "mpeg1video", "mp2", 44100, "stereo", "mp2"),
    "AC-3 in a transport stream": ("a.ts", "mpeg2video", "ac3", 48000, "stereo", "ac3"),
    "AAC in a transport stream": ("a.ts", "libx264", "aac", 44100, "stereo", "aac"),
    "FLAC in MKV": ("a.mkv", "libx264", "flac", 44100, "stereo", "flac"),
    "FLAC in MP4": ("a.mp4", "libx264", "flac", 44100, "stereo", "flac"),
    "Opus in MP4": ("a.mp4", "libx264", "libopus", 48000, "stereo", "opus"),
    "Opus in WebM": ("a.webm", "libvpx-vp9", "libopus", 48000, "stereo", "opus"),
    "Vorbis in WebM": ("a.webm", "libvpx-vp9", "vorbis", 44100, "stereo", "vorbis"),
    "ALAC in MOV": ("a.mov", "libx264", "alac", 44100, "stereo", "alac"),
    "WavPack in MKV": ("a.mkv", "libx264", "wavpack", 44100, "stereo", "wavpack"),
    "Enhanced AC-3, six channels": ("a.mkv", "libx264", "eac3", 48000, "5.1", "eac3"),
    "DTS in MKV": ("a.mkv", "libx264", "dts", 48000, "mono", "dts"),
    "DTS in MP4": ("a.mp4", "libx264", "dts", 48000, "mono", "dts"),
    "DTS in a transport stream": ("a.ts", "mpeg2video", "dts", 48000, "mono", "dts"),
}
# Of each sound above, the containers that hold it; the other ones get it encoded again.
HELD = {
    "AMR in 3GP": {".mov"},
    "WMA in WMV": set(),
    "Microsoft ADPCM in AVI": set(),
    "PCM in MOV": {".mp4", ".mov", ".mkv"},
    "DTS in MKV": {".mp4", ".mov", ".mkv"},
    "Opus in MP4": {".mp4", ".mkv", ".webm"},
}


@pytest.mark.parametrize("name", PAIRS)
def test_no_sound_is_dropped(tmp_path, name):
    source = make_clip(tmp_path / PAIRS[name][0], *PAIRS[name][1:5])
    codec = check_sound(source, *rewrite(source))
    assert codec == PAIRS[name][5]


@pytest.mark.parametrize("suffix", VIDEO_CONTAINERS)
@pytest.mark.parametrize("name", HELD)
def test_every_container_gets_the_sound(tmp_path, name, suffix):
    source = make_clip(tmp_path / PAIRS[name][0], *PAIRS[name][1:5])
    codec = check_sound(source, *rewrite(source, suffix=suffix))
    assert codec == (heard(source)[0] if suffix in HELD[name] else "opus" if suffix == ".webm" else "aac")


def check_sound(source: Path, target: Path, notes: list[str]) -> str:
    """The result's codec; it must sound like the source, for as long."""
    before, (codec, samples, rate, start) = heard(source), heard(target)
    assert abs(pitch(samples[len(samples) // 4 : -len(samples) // 4], rate) - TONE) < 5
    assert abs(len(samples) / rate - len(before[1]) / before[2]) < 0.13
    assert abs(start - before[3]) < 0.06
    assert abs(end_of_tone(target) - end_of_tone(source)) < 0.02
    told = [note for note in notes if note.startswith("sound: ")]
    assert len(told) == (codec != before[0]), notes
    assert not any("not kept" in note or "lost" in note for note in notes)
    return codec


def test_a_gap_in_the_sound_stays_silent_and_the_rest_in_step(tmp_path):
    source = make_clip(tmp_path / "a.3gp", "mpeg4", "libopencore_amrnb", 8000, "mono", silent=(0.4, 0.6))
    target, _ = rewrite(source)
    _, samples, rate, start = heard(target)
    loud = [np.abs(samples[round((t - start) * rate) :][: rate // 50]).max() > 0.1 for t in (0.3, 0.5, 0.7)]
    assert loud == [True, False, True]


def test_a_part_of_a_clip_gets_its_part_of_the_sound(tmp_path):
    source = make_clip(tmp_path / "a.3gp", "mpeg4", "libopencore_amrnb", 8000, "mono", silent=(0.5, 0.7))
    target, _ = rewrite(source, TimeRange(Fraction(2, 5), Fraction(9, 10)))
    _, samples, rate, start = heard(target)
    assert abs(len(samples) / rate - 0.5) < 0.13
    loud = [np.abs(samples[round((t - start) * rate) :][: rate // 50]).max() > 0.1 for t in (0.04, 0.2, 0.4)]
    assert loud == [True, False, True]


def test_the_times_of_the_pictures_stay_beside_encoded_sound(tmp_path):
    source = make_clip(tmp_path / "a.avi", "mpeg4", "adpcm_ms", 22050, "mono")
    target, _ = rewrite(source)
    times = [[frame.time for frame in VideoReader(path)] for path in (source, target)]
    assert times[0] == times[1]


def test_sound_that_nobody_decodes_is_named_as_lost(tmp_path, caplog):
    source = make_clip(tmp_path / "a.avi", "mpeg4", "adpcm_ms", 22050, "mono")
    data = bytearray(source.read_bytes())
    place = data.index(b"\x02\x00\x01\x00\x22\x56")  # WAVEFORMATEX: format tag 2, one channel, 22050 Hz
    data[place : place + 2] = b"\xfe\x7e"
    source.write_bytes(data)
    _, notes = rewrite(source)
    assert any("sound is lost" in note for note in notes)
    assert "sound is lost" in caplog.text
