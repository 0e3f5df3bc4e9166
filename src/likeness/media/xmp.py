"""XMP packets: what points at data that the result does not hold is removed, and the label is merged in.

Only the packet's own properties are touched; all others keep their text, order and prefixes (ISO 16684-1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from likeness.version import __version__

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOFTWARE = f"Likeness {__version__}"
_MADE_UP_ENTIRELY = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_DATA = tuple(f"http://ns.google.com/photos/1.0/{name}/" for name in ("image", "depthmap", "audio"))
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{}<?xpacket end="w"?>'
_MP4_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>'

FILM = "the film of the motion photo is not kept; it stays in the source"
GAIN_MAP = "the HDR gain map is not kept: the result has standard range"
ATTACHED = "what the camera attached (depth map, sound or another picture) is not kept"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
# Properties that would be wrong in the result: namespace and start of the name, and what their loss means to a person.
_POINTERS = {
    (_CAMERA, "MotionPhoto"): FILM,
    (_CAMERA, "MicroVideo"): FILM,
    ("http://ns.adobe.com/hdr-gain-map/1.0/", ""): GAIN_MAP,
    ("http://ns.apple.com/HDRGainMap/1.0/", ""): GAIN_MAP,
    (_CONTAINER, ""): None,  # the list of all parts
    ("http://ns.adobe.com/tiff/1.0/", "Orientation"): None,  # applied
    ("http://ns.adobe.com/tiff/1.0/", "Image"): None,  # width and length, which may change
    ("http://ns.adobe.com/exif/1.0/", "Pixel"): None,
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"): "the second part of the XMP is not kept",
} | {(namespace, ""): ATTACHED for namespace in _DATA}


class DamagedXmpError(ValueError):
    """A packet that is no XMP."""


def without_pointers(xmp: bytes) -> tuple[bytes, list[str]]:
    """Removes what points at data outside the picture, such as the film of a motion photo.

    Returns:
        The packet, `xmp` itself where nothing was removed, and for a person what is lost.

    Raises:
        DamagedXmpError: no XMP.
    """
    document = _parsed(xmp)
    notes: list[str] = []

    def points(namespace: str, name: str) -> bool:
        pointer = next((key for key in _POINTERS if key[0] == namespace and name.startswith(key[1])), None)
        note = _POINTERS[pointer] if pointer else None
        if note and note not in notes:
            notes.append(note)
        return pointer is not None

    removed = _remove(document, points)
    return (_written(document) if removed else xmp), notes


def labelled(xmp: bytes | None) -> bytes:
    """A packet that says that a network made part of the picture, and which software; merged into `xmp` if given.

    A picture that says that it was made up entirely goes on saying so.

    Raises:
        DamagedXmpError: `xmp` is no XMP.
    """
    document = _parsed(xmp or _EMPTY.encode())
    root = _root(document)
    kind = SOURCE_TYPE if xmp is None or _MADE_UP_ENTIRELY.encode() not in xmp else _MADE_UP_ENTIRELY
    replaced = {(_IPTC_EXTENSION, "DigitalSourceType"), (_XMP, "CreatorTool")}
    _remove(document, lambda namespace, name: (namespace, name) in replaced)
    first = next(iter(_descriptions(document)), None)
    label = document.createElementNS(_RDF, f"{root.prefix}:Description" if root.prefix else "Description")
    about = first.getAttributeNS(_RDF, "about") if first else ""
    attributes = {
        "xmlns:rdf": _RDF, "rdf:about": about, "xmlns:xmp": _XMP, "xmlns:Iptc4xmpExt": _IPTC_EXTENSION,
        "xmp:CreatorTool": SOFTWARE, "Iptc4xmpExt:DigitalSourceType": kind,
    }  # fmt: skip
    for name, value in attributes.items():
        label.setAttribute(name, value)
    root.appendChild(label)
    return _written(document)


def label_comment(comment: str | None = None) -> str:
    """The label as a line of text, for a container's comment; `comment` is that of the source, which stays."""
    label = f"Faces restored by a trained network, {SOFTWARE} ({SOURCE_TYPE})"
    return label if not comment else comment if SOFTWARE in comment else f"{comment}\n{label}"


def append_to_mp4(path: Path, xmp: bytes) -> None:
    """Puts a packet into a finished MP4 that has none, in a box at its end (XMP specification, part 3, 2.1.3.2)."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(_MP4_BOX) + len(xmp), b"uuid") + _MP4_BOX + xmp)


def _parsed(xmp: bytes) -> minidom.Document:
    if b"<!DOCTYPE" in xmp or b"<!ENTITY" in xmp:
        raise DamagedXmpError("declares entities, which XMP does not")
    try:
        document = minidom.parseString(xmp.strip(b"\x00 \t\r\n"))
    except (ExpatError, ValueError, LookupError) as error:
        raise DamagedXmpError(str(error)) from error
    _root(document)
    return document


def _root(document: minidom.Document) -> minidom.Element:
    found = document.getElementsByTagNameNS(_RDF, "RDF")
    if not found:
        raise DamagedXmpError("has no rdf:RDF")
    return found[0]


def _descriptions(document: minidom.Document) -> list[minidom.Element]:
    nodes = _root(document).childNodes
    return [
        n for n in nodes if isinstance(n, minidom.Element) and (n.namespaceURI, n.localName) == (_RDF, "Description")
    ]


def _remove(document: minidom.Document, matches: Callable[[str, str], bool]) -> bool:
    """Removes the properties that match by namespace and name, written as elements or attributes."""
    removed = False
    for description in _descriptions(document):
        for node in list(description.childNodes):
            if isinstance(node, minidom.Element) and matches(node.namespaceURI or "", node.localName or ""):
                description.removeChild(node)
                removed = True
        for attribute in list(description.attributes.values()):
            if matches(attribute.namespaceURI or "", attribute.localName or ""):
                description.removeAttributeNode(attribute)
                removed = True
    return removed


def _written(document: minidom.Document) -> bytes:
    root = document.documentElement
    return _PACKET.format("" if root is None else root.toxml()).encode()
