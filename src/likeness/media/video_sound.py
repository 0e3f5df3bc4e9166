"""Sound that a container cannot hold is encoded again, so that no result loses it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream

from likeness.media.video_source import open_video

_MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_BITS_PER_CHANNEL = 128_000  # a second; both encoders are transparent there
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")  # by the number of channels, from 1


def unheld_sound(path: Path, suffix: str) -> set[int]:
    """Indices of the sound streams of a file that a container with this suffix does not hold.

    FFmpeg's tables of codecs promise more than its muxers do: the first packet of each stream is muxed on trial.
    """
    with open_video(path) as source:
        untried = {stream.index: stream for stream in source.streams.audio}
        unheld = set(untried)
        for packet in source.demux(*untried.values()) if untried else ():
            stream = untried.pop(packet.stream_index, None) if packet.size else None
            if stream is not None and _muxes(packet, stream, suffix):
                unheld.discard(stream.index)
            if not untried:
                break
    return unheld


def _muxes(packet: Packet[Stream], stream: AudioStream, suffix: str) -> bool:
    try:
        with av.open(BytesIO(), "w", format=_MUXERS[suffix]) as trial:
            packet.stream = trial.add_stream_from_template(stream)
            packet.pts = packet.dts = 0
            trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


class SoundEncoder:
    """Encodes a sound stream again: Opus for WebM, AAC for the rest, 128 kbit/s a channel.

    Time stamps are kept; gaps are filled with silence.

    Args:
        source: the stream, whose packets come in order.
        target: the opened result, nothing written yet.
        suffix: of the result.

    Attributes:
        stream: of the result.
        note: for a person.

    Raises:
        ValueError, av.FFmpegError: if FFmpeg cannot decode the stream, or the encoder does not take it.
    """

    def __init__(self, source: AudioStream, target: OutputContainer, suffix: str) -> None:
        if source.codec_context is None:
            raise ValueError("its codec is unknown to FFmpeg")
        codec = "libopus" if suffix == ".webm" else "aac"
        known = sorted(av.Codec(codec, "w").audio_rates or [])
        rate = source.codec_context.sample_rate
        # The next higher rate that the encoder has.
        rate = rate if rate in known or not known else next((r for r in known if r > rate), known[-1])
        channels = min(max(source.codec_context.channels, 1), len(_LAYOUTS))
        self.stream = cast(AudioStream, target.add_stream(codec, rate=rate, layout=_LAYOUTS[channels - 1]))
        self.stream.bit_rate = _BITS_PER_CHANNEL * channels
        self._decoder, self._encoder = source.codec_context, self.stream.codec_context
        self._graph: Graph | None = None
        self._heard = Fraction(0)  # seconds: the end of the last frame
        spoken = {"aac": "AAC", "libopus": "Opus"}[codec]
        self.note = f"sound: {self._decoder.codec.canonical_name} became {spoken}, since {suffix} does not hold it"

    def encode(self, packet: Packet[Stream], begin: Fraction, end: Fraction | None) -> list[Packet[AudioStream]]:
        """Encodes what a packet holds between two times in seconds; `begin` becomes 0. A damaged packet is silence."""
        try:
            frames = cast(Sequence[AudioFrame], packet.decode())
        except av.FFmpegError:
            return []
        done: list[Packet[AudioStream]] = []
        for frame in frames:
            self._time(frame)
            if _within(frame, begin, end):
                done += self._push(frame, begin)
        return done

    def finish(self) -> list[Packet[AudioStream]]:
        """What is left in the encoder."""
        if self._graph is None:
            return []
        self._graph.push(None)
        return [*self._ready(), *self.stream.encode(None)]

    def _time(self, frame: AudioFrame) -> None:
        """A frame without a time, such as the last ones of a WMA decoder, follows the one before it."""
        if frame.pts is None or frame.time_base is None:
            frame.time_base = frame.time_base or Fraction(1, frame.sample_rate)
            frame.pts = round(self._heard / frame.time_base)
        self._heard = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)

    def _push(self, frame: AudioFrame, begin: Fraction) -> list[Packet[AudioStream]]:
        assert frame.pts is not None
        assert frame.time_base is not None
        frame.pts -= round(begin / frame.time_base)
        if self._graph is None:
            self._graph = _converter(frame, self._encoder)
        self._graph.push(frame)
        return self._ready()

    def _ready(self) -> list[Packet[AudioStream]]:
        assert self._graph is not None
        done: list[Packet[AudioStream]] = []
        while True:
            try:
                frame = cast(AudioFrame, self._graph.pull())
            except (av.BlockingIOError, av.EOFError):  # it waits for more, or has given everything
                return done
            done.extend(self.stream.encode(frame))


def _within(frame: AudioFrame, begin: Fraction, end: Fraction | None) -> bool:
    assert frame.pts is not None
    assert frame.time_base is not None
    time = frame.pts * frame.time_base
    return time >= begin and (end is None or time < end)


def _converter(frame: AudioFrame, encoder: AudioCodecContext) -> Graph:
    """Samples as the encoder takes them, in step with their time stamps."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=frame.time_base,
    )
    filled = graph.add("aresample", "async=1")  # silence in gaps, overlaps cut
    shape = f"sample_fmts={encoder.format.name}:sample_rates={encoder.sample_rate}"
    form = graph.add("aformat", f"{shape}:channel_layouts={encoder.layout.name}")
    graph.link_nodes(source, filled, form, graph.add("abuffersink")).configure()
    encoder.open(strict=False)
    if encoder.frame_size:
        graph.set_audio_frame_size(encoder.frame_size)
    return graph
