"""XMP: pointers at lost data go, the label comes, and every other property stays as it was."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from likeness import __version__
from likeness.media.xmp import (
    ATTACHED,
    FILM,
    GAIN_MAP,
    SOURCE_TYPE,
    DamagedXmpError,
    label_comment,
    labelled,
    without_pointers,
)

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
TITLE = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Größe &amp; 中</rdf:li></rdf:Alt></dc:title>'


def packet(attributes: str = "", elements: str = "", about: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in NAMESPACES.items())
    body = f'<rdf:Description rdf:about="{about}" {attributes}>{elements}</rdf:Description>'
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta {spaces}><rdf:RDF>{body}</rdf:RDF>'
        '</x:xmpmeta>\n   \n<?xpacket end="w"?>'
    ).encode()


def properties(xmp: bytes) -> dict[str, str]:
    """Every property with its text, by prefix and name, as an independent parser sees it; each must be there once."""
    found: list[tuple[str, str]] = []
    for description in ElementTree.fromstring(xmp.decode()).iter(f"{{{NAMESPACES['rdf']}}}Description"):
        found += description.attrib.items()
        found += [(child.tag, "".join(child.itertext())) for child in description]
    short = {f"{{{uri}}}": f"{name}:" for name, uri in NAMESPACES.items()}
    named = [(short[name.partition("}")[0] + "}"] + name.partition("}")[2], text) for name, text in found]
    names = [name for name, _ in named if name != "rdf:about"]
    assert len(names) == len(set(names))
    return dict(named)


LABEL = {"Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE, "xmp:CreatorTool": f"Likeness {__version__}"}


def test_the_source_type_is_the_one_of_the_standard():
    vocabulary = "http://cv.iptc.org/newscodes/digitalsourcetype/"
    assert vocabulary + "compositeWithTrainedAlgorithmicMedia" == SOURCE_TYPE


def test_a_new_packet_holds_the_label():
    assert properties(labelled(None)) == {"rdf:about": ""} | LABEL


@pytest.mark.parametrize(
    "given",
    [
        packet('xmp:Rating="5"', TITLE),
        packet('xmp:Rating="5" xmp:CreatorTool="Camera 1.0"', TITLE),
        packet('Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"',
               f"{TITLE}<xmp:Rating>5</xmp:Rating><xmp:CreatorTool>Camera</xmp:CreatorTool>"),
        packet('xmp:Rating="5"', TITLE, about="uuid:1"),
    ],
    ids=["attributes", "creator", "elements", "about"],
)  # fmt: skip
def test_the_label_is_merged_and_all_else_stays(given):
    expected = properties(given) | LABEL
    once = labelled(given)
    assert properties(once) == expected
    assert expected["xmp:Rating"] == "5"
    assert expected["dc:title"] == "Größe & 中"
    assert properties(labelled(once)) == expected


def test_what_was_made_up_entirely_goes_on_saying_so():
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    again = labelled(packet(f'Iptc4xmpExt:DigitalSourceType="{kind}"'))
    assert properties(again)["Iptc4xmpExt:DigitalSourceType"] == kind


DIRECTORY = (
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="MotionPhoto"/>'
    "</rdf:li></rdf:Seq></Container:Directory>"
)
POINTERS = {
    "motion photo": ('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"', DIRECTORY, [FILM]),
    "micro video": ('GCamera:MicroVideo="1" GCamera:MicroVideoOffset="30139"', "", [FILM]),
    "as elements": ("", "<GCamera:MotionPhoto>1</GCamera:MotionPhoto>", [FILM]),
    "gain map": ('hdrgm:Version="1.0"', DIRECTORY, [GAIN_MAP]),
    "depth": ('GDepth:Format="RangeLinear"', "", [ATTACHED]),
    "second part": ('xmpNote:HasExtendedXMP="ABC"', "", ["the second part of the XMP is not kept"]),
    "orientation": ('tiff:Orientation="6" tiff:ImageWidth="4000"', "", []),
}


@pytest.mark.parametrize("case", POINTERS)
def test_pointers_go_and_are_told(case):
    attributes, elements, expected = POINTERS[case]
    given = packet(f'xmp:Rating="5" GCamera:PortraitVersion="1" {attributes}', TITLE + elements)
    kept, notes = without_pointers(given)
    assert properties(kept) == {
        "rdf:about": "", "xmp:Rating": "5", "GCamera:PortraitVersion": "1", "dc:title": "Größe & 中",
    }  # fmt: skip
    assert notes == expected


def test_a_packet_without_pointers_stays_byte_for_byte():
    given = packet('xmp:Rating="5"', TITLE)
    assert without_pointers(given) == (given, [])


BOMB = b'<!DOCTYPE a [<!ENTITY b "c">]>' + packet().partition(b"?>")[2]


@pytest.mark.parametrize(
    "given", [b"", b"words", packet()[:200], b"<a/>", BOMB, packet().replace(b"rdf:RDF", b"rdf:X")]
)
def test_damaged_packets_are_refused(given):
    for function in (without_pointers, labelled):
        if given or function is without_pointers:
            with pytest.raises(DamagedXmpError):
                function(given)


def test_a_comment_gets_the_label_once():
    label = label_comment()
    assert SOURCE_TYPE in label
    assert f"Likeness {__version__}" in label
    assert label_comment("Holiday") == f"Holiday\n{label}"
    assert label_comment(label_comment("Holiday")) == label_comment("Holiday")
