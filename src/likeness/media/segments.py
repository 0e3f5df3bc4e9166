"""A video encoded in segments, so that a killed run keeps those that are finished.

Each segment has its own encoder with the same options and begins with a key frame: the decoded frames do not depend on
where a run was killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import cast

import av
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from likeness.errors import OutputError
from likeness.media.video_encoding import EncodedPacket, check_frame, codec_of, configure, holds_alpha, picture_of
from likeness.media.video_source import VideoSource
from likeness.types import Frame

# Without B-frames, which wait for later ones, the time stamps of the segments follow one another.
SEGMENT_OPTIONS = {"bf": "0"}


class SegmentEncoder:
    """Encodes the frames of one segment; `VideoWriter.write_encoded` joins the segments.

    Args:
        source: the video.
        suffix: of the result; decides on the codec.
        width, height: of the frames.
        effort: fast, medium or slow, how long the encoder searches.

    Raises:
        OutputError: if the encoder cannot be opened, or the result is transparent.
    """

    def __init__(self, source: VideoSource, suffix: str, width: int, height: int, effort: str = "medium") -> None:
        if holds_alpha(source, suffix):  # WebM stores alpha beside each packet, which a segment does not keep
            raise OutputError(f"{source.path}: a transparent video cannot be resumed; leave resume=true out")
        codec, options = codec_of(source, suffix, effort)
        self.source, self._size, self._last = source, (height, width), cast(Fraction | None, None)
        context = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
        context.options = {**options, **SEGMENT_OPTIONS}
        context.framerate = source.rate
        context.flags |= Flags.global_header
        self._format = configure(context, source, codec, suffix, self._size)
        try:
            context.open()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(f"segment: the encoder {codec} cannot be opened ({error})") from error
        self._context = context
        self.packets: list[EncodedPacket] = []

    def write(self, frame: Frame) -> None:
        """Encodes one frame.

        Raises:
            InputError: as `VideoWriter.write`.
        """
        self._last = check_frame(frame, self.source, self._size, self._last)
        self._take(self._context.encode(picture_of(frame, self.source, self._format)))

    def finish(self) -> list[EncodedPacket]:
        """All packets of the segment, which takes no more frames."""
        self._take(self._context.encode(None))
        return self.packets

    def _take(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is None or packet.dts is None:  # an encoder gives both
                raise OutputError("segment: the encoder gave a packet without a time")
            duration = packet.duration or 0
            self.packets.append(EncodedPacket(bytes(packet), packet.pts, packet.dts, duration, packet.is_keyframe))
