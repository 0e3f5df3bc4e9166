"""Brings everything but the pictures from one container into another, packet by packet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream

from likeness.log import get_logger
from likeness.media.video_sound import SoundEncoder, unheld_sound
from likeness.media.video_source import VideoSource

_log = get_logger(__name__)

_INTERLEAVED = 30  # seconds: the largest offset between streams of one file
_PREROLL = Fraction(1, 20)  # seconds of sound before time 0, which decoders need and players skip
_KEPT = ("audio", "subtitle")  # streams that are copied as packets
_MUXER_TAGS = frozenset({"encoder", "major_brand", "minor_version", "compatible_brands"})  # the muxer writes its own


class Remux:
    """Copies a source's sound, subtitles, fonts, chapters and metadata to the result, interleaved with its pictures.

    Sound that the result's container does not hold is encoded again. What an edit list hides is left out, but for
    `_PREROLL`. Few packets are held at a time.

    Args:
        source: the opened source.
        facts: its description; its picture stream is left out, and only its time range is copied.
        target: the opened result with its picture stream, nothing written yet.
        suffix: of the result.
        notes: gets a line for each stream that cannot be kept.
    """

    def __init__(
        self, source: InputContainer, facts: VideoSource, target: OutputContainer, suffix: str, notes: list[str]
    ) -> None:
        self._source, self._target, self._notes = source, target, notes
        self._copies: dict[int, Stream] = {}
        self._encoders: dict[int, SoundEncoder] = {}
        self._preroll: dict[int, deque[Packet[Stream]]] = {}  # of streams that have not begun
        self._start = Fraction(0)
        self._end: Fraction | None = None
        self._cut = facts.time_range is not None
        if facts.time_range is not None and facts.time_range.end is not None:
            self._end = facts.begin + facts.time_range.end
        unheld = unheld_sound(facts.path, suffix)
        for stream in source.streams:
            if stream.index in unheld:
                self._encode(cast(AudioStream, stream), suffix)
            elif stream.index != facts.stream:
                self._add(stream)
        target.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _MUXER_TAGS})
        if chapters := source.chapters():
            if self._cut:
                notes.append("chapters are not kept in a part")
            else:
                target.set_chapters(chapters)
        kept = [source.streams[index] for index in sorted(self._copies | self._encoders)]
        self._packets: Iterator[Packet[Stream]] = source.demux(*kept) if kept else iter(())
        self._waiting: Packet[Stream] | None = None

    def _add(self, stream: Stream) -> None:
        if stream.type == "attachment":
            font = cast(AttachmentStream, stream)
            self._target.add_attachment(font.name or "attachment", font.mimetype or "", font.data)
            return
        if stream.type not in _KEPT:
            cover = stream.disposition & Disposition.attached_pic
            self._notes.append(f"stream {stream.index} ({'cover picture' if cover else stream.type}) is not kept")
            return
        try:
            copy = self._target.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            self._notes.append(f"stream {stream.index} ({stream.type}) is not kept: {error}")
            return
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._copies[stream.index], self._preroll[stream.index] = copy, deque()

    def _encode(self, stream: AudioStream, suffix: str) -> None:
        try:
            encoder = SoundEncoder(stream, self._target, suffix)
        except (av.FFmpegError, ValueError) as error:
            note = f"sound is lost: {suffix} does not hold stream {stream.index}, and FFmpeg cannot encode it ({error})"
            self._notes.append(note)
            _log.warning("%s", note)
            return
        encoder.stream.metadata.update(stream.metadata)
        encoder.stream.disposition = stream.disposition
        self._encoders[stream.index] = encoder
        self._notes.append(encoder.note)

    def cut(self, start: Fraction) -> None:
        """From now on only what begins at `start` or later is copied, and `start` becomes 0."""
        self._start = start
        if start > 0 and (self._copies or self._encoders):
            try:
                self._source.seek(int(start * av.time_base))
            except av.FFmpegError:
                return  # packets before it are then read and dropped

    def copy_until(self, time: Fraction | None) -> None:
        """Copies what is due up to `time` seconds, or, for None, all that is left."""
        while True:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            if packet is None:
                self._flush()
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if time is not None and stamp is not None and stamp * packet.time_base > time:
                self._waiting = packet
                return
            self._waiting = None
            if self._end is not None and stamp is not None and stamp * packet.time_base > self._end + _INTERLEAVED:
                self._packets = iter(())
                continue
            # The empty packet at the end, which flushes a decoder, knows its stream but not its index.
            if packet.stream.index in self._encoders:
                begin = self._start if self._cut else Fraction(0)
                self._target.mux(self._encoders[packet.stream.index].encode(packet, begin, self._end))
            elif packet.size:
                for played in self._played(packet):
                    self._copy(played)

    def _copy(self, packet: Packet[Stream]) -> None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        if not self._wanted(stamp, packet.time_base):
            return
        shift = round(self._start / packet.time_base) if self._cut else 0
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._copies[packet.stream_index]
        self._target.mux(packet)

    def _played(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        """The packet unless an edit list hides it; the first one after those that its decoder needs."""
        before = self._preroll.get(packet.stream_index)
        if packet.is_discard and packet.pts is not None:
            if before is not None:
                before.append(packet)
                while (packet.pts - (before[0].pts or 0)) * packet.time_base > _PREROLL:
                    before.popleft()
            return []
        self._preroll.pop(packet.stream_index, None)
        earliest = (packet.pts or 0) - _PREROLL / packet.time_base
        return [*(held for held in before or () if earliest <= (held.pts or 0) < 0), packet]

    def _flush(self) -> None:
        for encoder in self._encoders.values():
            self._target.mux(encoder.finish())
        self._encoders = {}

    def _wanted(self, stamp: int | None, tick: Fraction) -> bool:
        if not self._cut or stamp is None:
            return True
        time = stamp * tick
        return time >= self._start and (self._end is None or time < self._end)
