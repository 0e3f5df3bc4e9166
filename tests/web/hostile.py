"""Uploads that mean harm or make no sense. Every one is to be refused, and none may have the server touch `secret`."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

Make = bytes | Callable[[Path], bytes]  # the latter gets the path of a file that the upload tries to have read
LIMITS = ["megapixels=1", "frames=40", "seconds=20", "memory_mb=3000", "upload_mb=4"]
PNG, JPEG, FTYP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
SCRIPT = b"<script>alert(1)</script>"


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    """A grey PNG that claims a size."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return PNG + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG of 8 x 8 with 200 MB of text in 200 kB."""
    packed = zlib.compress(bytes(200_000_000), 9)
    return png(8, 8, chunk(b"zTXt", b"a\0\0" + packed), chunk(b"iCCP", b"a\0\0" + packed), rows=bytes(72))[: 2**22]


def animation(format: str, frames: int, side: int = 16) -> bytes:
    """An animation of plain frames, all different."""
    pages = [Image.fromarray(np.full((side, side, 3), 5 * n, np.uint8)) for n in range(frames)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format, save_all=True, append_images=pages[1:], duration=40)
    return buffer.getvalue()


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory; an entry is tag, type, count and value, and `following` where the next one lies."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following)


def clip(width: int = 64, height: int = 64, frames: int = 3, container: str = "mp4") -> bytes:
    """A short grey clip."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream("mpeg4", 10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 + n, np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    """A zip that holds one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(name, "x")
    return buffer.getvalue()


FILES: dict[str, tuple[str, Make]] = {
    # wrong types, whatever they are called
    "text": ("a.png", b"no picture"),
    "nothing": ("a.png", b""),
    "null bytes": ("a.jpg", bytes(5000)),
    "SVG with a script": ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    "SVG in UTF-16": ("a.png", "<svg onload='alert(1)'/>".encode("utf-16")),
    "SVG that reads a file": ("a.svg", lambda s: f'<!DOCTYPE a [<!ENTITY x SYSTEM "{s}">]><svg>&x;</svg>'.encode()),
    "entities that grow": ("a.svg", b'<!DOCTYPE a [' + b'<!ENTITY c "&b;&b;">' * 50 + b"]><svg>&c;</svg>"),
    "HTML": ("a.png", b"<!doctype html>" + SCRIPT),
    "zip": ("a.zip", zipped("a.png")),
    "zip of ../": ("a.png", zipped("../../../a.png")),
    "gzip": ("a.png", b"\x1f\x8b\x08" + bytes(50)),
    "7-Zip": ("a.gif", b"7z\xbc\xaf\x27\x1c" + bytes(50)),
    "tar": ("a.tar", b"../../a.png".ljust(257, b"\0") + b"ustar\x0000" + bytes(248)),
    "program of Linux": ("a.mp4", b"\x7fELF" + bytes(100)),
    "program of Windows": ("a.jpg", b"MZ\x90\0" + bytes(100)),
    "shell script": ("a.png", b"#!/bin/sh\nrm -rf /\n"),
    "PHP": ("a.php.jpg", b"<?php system($_GET['c']); ?>"),
    "pickle": ("a.png", b"\x80\x04\x95cos\nsystem\n(S'true'\ntR."),
    "PDF": ("a.jpg", b"%PDF-1.7\n"),
    "PostScript that reads a file": ("a.jpg", lambda s: f"%!PS\n({s}) (r) file".encode()),
    "Photoshop": ("a.png", b"8BPS\0\1" + bytes(50)),
    "icon": ("a.png", b"\0\0\1\0\1\0" + bytes(50)),
    "camera raw": ("a.tif", tiff((50706, 1, 4, 1))),
    "sound": ("a.mp4", b"RIFF\x24\0\0\0WAVEfmt " + bytes(50)),
    "playlist of a file": ("a.m3u8", lambda s: f"#EXTM3U\n#EXTINF:1,\nfile://{s}\n".encode()),
    "playlist as MP4": ("a.mp4", lambda s: f"\ufeff#EXTM3U\n#EXTINF:1,\n{s}\n".encode()),
    "concatenation of a file": ("a.mp4", lambda s: f"ffconcat version 1.0\nfile {s}\n".encode()),
    "DASH of a file": ("a.mp4", lambda s: f'<?xml version="1.0"?><MPD><BaseURL>file://{s}</BaseURL></MPD>'.encode()),
    "SDP": ("a.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    # polyglots: the first bytes of a medium before something else
    "PNG, then HTML": ("a.png", PNG + SCRIPT),
    "PNG, then a program": ("a.png", PNG + b"\x7fELF" + bytes(100)),
    "JPEG, then PHP": ("a.php", JPEG + b"<?php system('id'); ?>"),
    "GIF, then JavaScript": ("a.js", b"GIF89a=1;alert(1);//"),
    "GIF, then a zip": ("a.gif", b"GIF89a" + zipped("a.class")),
    "BMP, then JavaScript": ("a.bmp", b"BM=1;alert(1);//"),
    "MP4, then a playlist": ("a.mp4", lambda s: FTYP + f"#EXTM3U\n{s}\n".encode()),
    "transport stream of a playlist": ("a.ts", lambda s: (b"G" + f"#EXTM3U\n{s}\n".encode()).ljust(188, b" ") * 9),
    # bombs
    "PNG of 2.5 gigapixels": ("a.png", png(50_000, 50_000)),
    "PNG with 200 MB of text": ("a.png", lambda s: text_bomb()),
    "JPEG of 4 gigapixels": ("a.jpg", JPEG + bytes.fromhex("00046162 ffc0001108 ffdcffdc 03012200021101031101 ffd9")),
    "GIF of 4 gigapixels": ("a.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;"),
    "BMP of 4 gigapixels": ("a.bmp", b"BM" + struct.pack("<4I2i2H6I", 99, 0, 54, 40, 65535, 65535, 1, 24, *[0] * 6)),
    "PNM of 1e18 pixels": ("a.jpg", b"P6 999999999 999999999 255\n" + bytes(99)),
    "TIFF of 4 gigapixels": ("a.tif", tiff((256, 4, 1, 65535), (257, 4, 1, 65535), (258, 3, 1, 8), (262, 3, 1, 1),
                                            (273, 4, 1, 8), (279, 4, 1, 9))),
    "GIF of 50 frames": ("a.gif", lambda s: animation("GIF", 50)),
    "APNG of 50 frames": ("a.png", lambda s: animation("PNG", 50)),
    "WebP of 50 frames": ("a.webp", lambda s: animation("WEBP", 50)),
    "GIF of 1.2 megapixels": ("a.gif", lambda s: animation("GIF", 2, 1100)),
    "MP4 of 50 frames": ("a.mp4", lambda s: clip(frames=50)),
    "MP4 of 1.2 megapixels": ("a.mp4", lambda s: clip(1104, 1104, 2)),
    # damaged on purpose
    "PNG that ends early": ("a.png", png(300, 300, rows=bytes(5000))[:-20]),
    "PNG with wrong sums": ("a.png", png(8, 8, rows=bytes(72)).replace(b"IHDR", b"IHDS")),
    "TIFF in a circle": ("a.tif", tiff((256, 4, 1, 8), following=8)),
    "TIFF that points beyond its end": ("a.tif", b"II*\0\xff\xff\xff\xff"),
    "TIFF of a billion values": ("a.tif", tiff((256, 4, 2**30, 8), (257, 4, 2**30, 8))),
    "JPEG 2000 of nothing": ("a.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(60)),
    "AVIF of nothing": ("a.avif", b"\x00\x00\x00\x18ftypavif\0\0\0\0avifmif1" + bytes(60)),
    "WebP of nothing": ("a.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(60)),
    "MP4 of nothing": ("a.mp4", FTYP),
    "MP4 with endless boxes": ("a.mp4", FTYP + b"\0\0\0\1moov" + b"\xff" * 8 + bytes(90)),
    "MP4 without its index": ("a.mp4", lambda s: clip()[:900]),
    "Matroska of nothing": ("a.mkv", b"\x1aE\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xff" * 9),
    "AVI of nothing": ("a.avi", b"RIFF\xff\xff\xff\xffAVI LIST" + b"\xff" * 90),
    "Ogg of nothing": ("a.ogv", b"OggS" + bytes(200)),
}  # fmt: skip


def part(headers: str, content: bytes = PNG, boundary: str = "x") -> bytes:
    """The body of a form with one part."""
    return f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()


FILE = 'Content-Disposition: form-data; name="file"; filename="a.png"'
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
BODIES: dict[str, tuple[dict[str, str], bytes]] = {
    "no file": (FORM, part('Content-Disposition: form-data; name="options"', b"{}")),
    "the file as text": (FORM, part('Content-Disposition: form-data; name="file"')),
    "the file under another name": (FORM, part(FILE.replace("file", "flie", 1))),
    "no name": (FORM, part('Content-Disposition: form-data; filename="a.png"')),
    "no disposition": (FORM, part("Content-Type: image/png")),
    "a thousand files": (FORM, part(FILE)[:-7] * 999 + part(FILE)),
    "a thousand fields": (FORM, part('Content-Disposition: form-data; name="options"', b"{}")[:-7] * 999 + part(FILE)),
    "options of 2 MB": (FORM, part('Content-Disposition: form-data; name="options"', b" " * 2**21)),
    "nested multipart": (FORM, part(FILE + "\r\nContent-Type: multipart/mixed; boundary=y", part(FILE, boundary="y"))),
    "a name of 100 kB": (FORM, part(FILE.replace("a.png", "a" * 10**5))),
    "a thousand headers": (FORM, part(FILE + "\r\nA: b" * 1000)),
    "no boundary": ({"Content-Type": "multipart/form-data"}, part(FILE)),
    "another boundary": ({"Content-Type": "multipart/form-data; boundary=z"}, part(FILE)),
    "a boundary of 10 kB": ({"Content-Type": f"multipart/form-data; boundary={'z' * 10_000}"}, part(FILE)),
    "a codec as charset": ({"Content-Type": "multipart/form-data; charset=zlib; boundary=x"}, part(FILE, b"text")),
    "a form that never ends": (FORM, part(FILE)[:-6]),
    "gzip of a form": (FORM | {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08" + bytes(100)),
    "JSON": ({"Content-Type": "application/json"}, json.dumps({"file": "/etc/passwd"}).encode()),
    "an encoded form": ({"Content-Type": "application/x-www-form-urlencoded"}, b"file=/etc/passwd"),
    "a picture without a form": ({"Content-Type": "image/png"}, PNG),
    "more than the limit": (FORM, part(FILE, PNG + bytes(5 * 2**20))),
}

OPTIONS = {
    "a number of 5000 digits": '{"upscale": ' + "9" * 5000 + "}",
    "a half character": '{"strength": "\\ud800"}',
    "a null character": '{"composite.mask": "head\\u0000"}',
    "a line end": '{"composite.mask": "head\\nstrength=0"}',
    "a long text": json.dumps({"composite.mask": "a" * 10_000}),
    "a value that OmegaConf reads": '{"strength": "???"}',
    "not a number": '{"faces.min": NaN}',
    "endless": '{"faces.min": 1e999}',
    "900 levels": '{"a":' * 900 + "1" + "}" * 900,
}

HEAD = "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
RAW: dict[str, bytes] = {
    "a negative length": f"{HEAD}Content-Length: -5\r\n\r\n".encode(),
    "a length that is no number": f"{HEAD}Content-Length: 0x10\r\n\r\n".encode(),
    "two lengths": f"{HEAD}Content-Length: 5\r\nContent-Length: 500\r\n\r\nhello".encode(),
    "a length too short": f"{HEAD}Content-Length: 40\r\nConnection: close\r\n\r\n".encode() + part(FILE),
    "a length of 1 TB": f"{HEAD}Content-Length: 1099511627776\r\n\r\n".encode(),
    "a chunk of no size": f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
    "a header of 200 kB": f"{HEAD}A: {'a' * 200_000}\r\n\r\n".encode(),
    "an address of 200 kB": f"GET /v1/jobs/{'a' * 200_000} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
    "a null character in a header": f"{HEAD}A: a\0b\r\n\r\n".encode(),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "an address of ../": b"GET /v1/jobs/../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an address of %2e%2e": b"GET /v1/jobs/%2e%2e%2f%2e%2e%2fetc/result HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}  # fmt: skip
