"""Where live pictures go: a stream or file with sound, or a page in the browser."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Protocol, Self

import av
import cv2

from likeness.errors import OutputError
from likeness.media.live_source import TICK, LiveInfo, LiveSound, is_network
from likeness.media.xmp import label_comment
from likeness.types import Pixels

PAGE_PORT = 7861
_BOUNDARY = "picture"
_PAGE = b"""<!doctype html><meta name=viewport content="width=device-width"><title>Likeness live</title>
<body style="margin:0;background:#111"><img src=stream style="width:100%;height:100vh;object-fit:contain">"""
_FAST = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20", "bf": "0"}
_AT_ONCE = {"flush_packets": "1", "max_interleave_delta": "100000"}


class LiveSink(Protocol):
    """Takes pictures and sound as they come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, pixels: Pixels, time: Fraction) -> None:
        """Shows HWC uint8 or uint16 pixels; `time` in seconds rises from picture to picture."""

    def write_sound(self, sound: LiveSound) -> None:
        """Passes a packet on as it is."""


def open_sink(address: str, info: LiveInfo, upscale: int, label: bool) -> LiveSink:
    """The sink of an address: `page`, `page:PORT`, udp://... or another that FFmpeg writes, or a file.

    Args:
        address: as the user gives it.
        info: of the source.
        upscale: by which pictures are enlarged.
        label: whether a file's comment says that a network made part of it.
    """
    name, _, port = address.partition(":")
    if name == "page" and (not port or port.isdecimal()):
        return PageSink(int(port or PAGE_PORT))
    return StreamSink(address, info, upscale, label)


class StreamSink:
    """H.264 without delay, and the source's sound, in MPEG-TS for addresses (FLV for rtmp), else by the file's suffix.

    Raises:
        OutputError: if it cannot be opened or written.
    """

    def __init__(self, address: str, info: LiveInfo, upscale: int, label: bool) -> None:
        self.address, self.info, self._label = address, info, label
        self._size = info.width * upscale, info.height * upscale
        self._sound_from = Fraction(-1)

    def __enter__(self) -> Self:
        format = "flv" if self.address.startswith("rtmp") else "mpegts" if is_network(self.address) else None
        width, height = self._size
        with ExitStack() as opened:
            try:
                container = av.open(self.address, "w", format=format, options=_AT_ONCE)
                self._container = opened.enter_context(container)
                if self._label:
                    container.metadata["comment"] = label_comment(None)
                rate = max(1, round(self.info.rate))
                self._video = container.add_stream("libx264", rate=rate, options=_FAST)
                self._video.width, self._video.height = width - width % 2, height - height % 2
                self._video.pix_fmt, self._video.gop_size = "yuv420p", rate
                self._video.time_base = self._video.codec_context.time_base = TICK
                colour, context = self.info.colour, self._video.codec_context
                context.colorspace, context.color_range = colour.matrix, colour.range
                context.color_primaries, context.color_trc = colour.primaries, colour.transfer
                audio = self.info.audio
                self._audio = None if audio is None else container.add_stream_from_template(audio)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise OutputError(f"{self.address}: cannot be written ({error}); choose another sink") from error
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            if error is None:
                self._container.mux(self._video.encode(None))

    def write(self, pixels: Pixels, time: Fraction) -> None:
        """See `LiveSink`."""
        height, width = pixels.shape[:2]
        picture = self.info.colour.from_rgb(pixels[: height - height % 2, : width - width % 2])
        picture.time_base, picture.pts = TICK, int(time / TICK)
        try:
            self._container.mux(self._video.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.address}: cannot be written ({error})") from error

    def write_sound(self, sound: LiveSound) -> None:
        """See `LiveSink`; a packet that is not later than the one before is left out."""
        packet = sound.packet
        if self._audio is None or sound.time <= self._sound_from or packet.dts is None:
            return
        self._sound_from = sound.time
        ahead = 0 if packet.pts is None else packet.pts - packet.dts
        packet.dts = round(sound.time / packet.time_base)
        packet.pts, packet.stream = packet.dts + ahead, self._audio
        try:
            self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.address}: sound cannot be written ({error})") from error


class PageSink:
    """A page on this machine that shows the newest picture as JPEG; it has no sound.

    Raises:
        OutputError: if the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._changed, self._jpeg, self._number, self._open = threading.Condition(), b"", 0, True
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise OutputError(f"page: port {port} cannot be used ({error}); give sink=page:PORT") from error
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def write(self, pixels: Pixels, time: Fraction) -> None:
        """See `LiveSink`."""
        shown = pixels if pixels.dtype == "uint8" else (pixels >> 8).astype("uint8")
        _, jpeg = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        with self._changed:
            self._jpeg, self._number = jpeg.tobytes(), self._number + 1
            self._changed.notify_all()

    def write_sound(self, sound: LiveSound) -> None:
        """A page has none."""

    def _handler(sink) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path not in ("/", "/stream"):
                    self.send_error(404)
                    return
                stream = self.path == "/stream"
                self.send_response(200)
                kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}" if stream else "text/html"
                self.send_header("Content-Type", kind)
                self.end_headers()
                try:
                    if stream:
                        sink._send(self)
                    else:
                        self.wfile.write(_PAGE)
                except ConnectionError:
                    return  # the browser has left

            def log_message(self, format: str, *values: object) -> None:
                """Says nothing."""

        return Handler

    def _send(self, request: BaseHTTPRequestHandler) -> None:
        """The newest picture whenever there is another one."""
        seen = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda seen=seen: self._number > seen or not self._open)  # type: ignore[misc]
                if not self._open:
                    return
                jpeg, seen = self._jpeg, self._number
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            request.wfile.write(head.encode() + jpeg + b"\r\n")
