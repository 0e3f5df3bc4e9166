"""The XMP of a clip stays where its container has a place for it, with the label merged in."""

from __future__ import annotations

import struct

import av
import pytest

from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.media.xmp import SOURCE_TYPE

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">\
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" \
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmp:Label="Größe 中"/></rdf:RDF></x:xmpmeta>\
<?xpacket end="w"?>"""


@pytest.fixture
def source(make_video, portrait):
    """An MP4 with a packet in the box that the XMP specification (part 3, 2.1.3.2) names."""
    path = make_video("in.mp4", [portrait] * 3, [0, 20, 40])
    xmp = PACKET.encode()
    box = struct.pack(">I4s", 24 + len(xmp), b"uuid") + bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + xmp
    path.write_bytes(path.read_bytes() + box)
    return path


def restored(source, target, label):
    with VideoReader(source) as reader, VideoWriter(target, reader, 80, 96, label=label) as writer:
        for frame in reader:
            writer.write(frame)
    with av.open(str(target), options={"export_xmp": "1"}) as container:
        assert len(list(container.decode(video=0))) == 3
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return tags.get("xmp"), writer.notes


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_packet_stays(source, tmp_path, suffix):
    assert restored(source, tmp_path / f"out{suffix}", label=False)[0] == PACKET
    labelled, _ = restored(source, tmp_path / f"labelled{suffix}", label=True)
    assert SOURCE_TYPE in labelled
    assert 'xmp:Rating="4"' in labelled
    assert "Größe 中" in labelled
    # Read again, and written to any container, it is there once.
    for name in (f"again{suffix}", "again.mp4"):
        assert restored(tmp_path / f"labelled{suffix}", tmp_path / name, label=True)[0].count(SOURCE_TYPE) == 1


def test_clips_without_a_packet_get_none(make_video, portrait, tmp_path):
    assert restored(make_video("in.mp4", [portrait] * 3, [0, 20, 40]), tmp_path / "out.mp4", label=True)[0] is None


def test_a_damaged_packet_is_told_and_left_out(source, tmp_path):
    source.write_bytes(source.read_bytes().replace(b"</rdf:RDF>", b"</rdf:RDG>"))
    packet, notes = restored(source, tmp_path / "out.mp4", label=True)
    assert packet is None
    assert any("XMP was left out: it is damaged" in note for note in notes)
