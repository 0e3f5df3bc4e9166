"""Carries everything but the pictures from one container into another, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream

_KEPT = ("audio", "subtitle")  # streams that travel as packets
_MUXER_TAGS = frozenset({"encoder", "major_brand", "minor_version", "compatible_brands"})  # the muxer writes its own


class Remux:
    """Hands a source's sound, subtitles, fonts, chapters and metadata over to the result, in step with it.

    One packet is held at a time.

    Args:
        source: the opened source.
        pictures: index of its picture stream, which is left out.
        target: the opened result, its picture stream added, nothing written yet.
        notes: gets a line for each stream that cannot be kept.
    """

    def __init__(self, source: InputContainer, pictures: int, target: OutputContainer, notes: list[str]) -> None:
        self._target, self._notes = target, notes
        self._copies: dict[int, Stream] = {}
        for stream in source.streams:
            if stream.index != pictures:
                self._add(stream)
        target.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _MUXER_TAGS})
        if chapters := source.chapters():
            target.set_chapters(chapters)
        kept = [source.streams[index] for index in self._copies]
        self._packets: Iterator[Packet[Stream]] = source.demux(*kept) if kept else iter(())
        self._waiting: Packet[Stream] | None = None

    def _add(self, stream: Stream) -> None:
        if stream.type == "attachment":
            font = cast(AttachmentStream, stream)
            self._target.add_attachment(font.name or "attachment", font.mimetype or "", font.data)
            return
        if stream.type not in _KEPT:
            self._notes.append(f"stream {stream.index} ({stream.type}) is not kept")
            return
        try:
            copy = self._target.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            self._notes.append(f"stream {stream.index} ({stream.type}) is not kept: {error}")
            return
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy

    def copy_until(self, time: Fraction | None) -> None:
        """Copies what is due up to `time` seconds, or, for None, all that is left."""
        while True:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            if packet is None:
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if time is not None and stamp is not None and stamp * packet.time_base > time:
                self._waiting = packet
                return
            self._waiting = None
            if packet.size:  # the empty one at the end only flushes decoders
                packet.stream = self._copies[packet.stream_index]
                self._target.mux(packet)
