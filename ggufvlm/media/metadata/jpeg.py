"""JPEG files, segment by segment (ITU T.81, Exif 2.32, XMP part 3). What follows the first scan stays as it is."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ggufvlm.media.metadata import iptc, xmp
from ggufvlm.media.metadata.block import Damaged, Said
from ggufvlm.media.metadata.new_exif import JpegHeader, new_exif
from ggufvlm.media.metadata.tiff import TiffFile

_EXIF, _XMP, _PHOTOSHOP, _MPF = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0", b"MPF\0"
_JFIF, _PROFILE, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"
_APP0, _APP1, _APP2, _APP13, _APP14, _SCAN = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LARGEST = 65_533  # bytes behind a segment's length
_MP_ENTRIES, _MP_ENTRY = 0xB002, 16


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    payload: bytes

    def is_a(self, marker: int, signature: bytes) -> bool:
        return self.marker == marker and self.payload.startswith(signature)

    def to_bytes(self) -> bytes:
        return struct.pack(">BBH", 0xFF, self.marker, len(self.payload) + 2) + self.payload


class JpegFile:
    """A JPEG file.

    Raises:
        Damaged: it is cut off before its image.
    """

    def __init__(self, data: bytes) -> None:
        self._segments: list[_Segment] = []
        at = 2
        while True:
            while data[at : at + 2] == b"\xff\xff":  # fill bytes
                at += 1
            marker = data[at + 1 : at + 2]
            if data[at : at + 1] != b"\xff" or not marker:
                raise Damaged("the JPEG file is damaged before its image")
            if marker[0] == _SCAN:
                break
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if size < 2 or at + 2 + size > len(data):
                raise Damaged("the JPEG file is cut off before its image")
            self._segments.append(_Segment(marker[0], data[at + 4 : at + 2 + size]))
            at += 2 + size
        self._rest = data[at:]
        self._length_before = len(data)
        self._after_index = _behind_index(self._segments)

    @staticmethod
    def is_one(data: bytes) -> bool:
        """Whether it begins like one."""
        return data[:3] == b"\xff\xd8\xff"

    FIELDS = ("xmp", "exif", "iptc")
    """What it has places for."""

    def describe(self, field: str, text: Said) -> None:
        """Put a description into ``xmp``, ``exif`` or ``iptc``."""
        if field == "exif":
            old = self._get(_APP1, _EXIF)
            block = TiffFile(old) if old else new_exif(self._header())
            block.describe("exif", text)
            self._put(_APP1, _EXIF, block.to_bytes(), "EXIF")
        elif field == "xmp":
            self._put(_APP1, _XMP, xmp.described(self._get(_APP1, _XMP), text), "XMP")
        else:
            self._put_resources(iptc.in_resources(self._resources(), text))

    def description(self, field: str) -> str | None:
        """What stands in ``xmp``, ``exif`` or ``iptc``."""
        if field == "exif":
            block = self._get(_APP1, _EXIF)
            return TiffFile(block).description("exif") if block else None
        if field == "xmp":
            return xmp.description(self._get(_APP1, _XMP))
        return iptc.of_resources(self._resources())

    def keywords(self, field: str) -> tuple[str, ...]:
        """The keywords in a field; EXIF has none."""
        if field == "xmp":
            return xmp.keywords(self._get(_APP1, _XMP))
        if field == "iptc":
            return iptc.keywords_of_resources(self._resources())
        return ()

    def to_bytes(self) -> bytes:
        """The file with what was put in."""
        grown = sum(len(segment.payload) + 4 for segment in self._segments) + 2 + len(self._rest) - self._length_before
        behind = _behind_index(self._segments) - self._after_index
        segments = [_moved(segment, grown, behind) if grown else segment for segment in self._segments]
        return b"\xff\xd8" + b"".join(segment.to_bytes() for segment in segments) + self._rest

    def image(self) -> bytes:
        """Everything in the file but the fields for descriptions."""
        kept = [
            segment.to_bytes()
            for segment in self._segments
            if not (segment.is_a(_APP1, _EXIF) or segment.is_a(_APP1, _XMP) or segment.is_a(_APP13, _PHOTOSHOP))
            and not segment.is_a(_APP2, _MPF)
        ]
        return b"".join(kept) + self._rest

    def _get(self, marker: int, signature: bytes) -> bytes | None:
        found = next((segment for segment in self._segments if segment.is_a(marker, signature)), None)
        return found.payload[len(signature) :] if found else None

    def _put(self, marker: int, signature: bytes, payload: bytes, name: str) -> None:
        new = _Segment(marker, signature + payload)
        if len(new.payload) > _LARGEST:
            raise Damaged(f"no room for it in the {name} of this file")
        for place, segment in enumerate(self._segments):
            if segment.is_a(marker, signature):
                self._segments[place] = new
                return
        self._segments.insert(self._place_for(signature), new)

    def _header(self) -> JpegHeader:
        """What a new EXIF block repeats of the file."""
        frame = next((segment.payload for segment in self._segments if segment.marker in _FRAMES), b"")
        if len(frame) < 6:
            raise Damaged("the JPEG file has no image")
        height, width, n_channels = struct.unpack_from(">HHB", frame, 1)
        adobe = self._get(_APP14, _ADOBE) or b""
        jfif = self._get(_APP0, _JFIF) or b""
        unit, x, y = struct.unpack_from(">BHH", jfif, 2) if len(jfif) >= 7 else (0, 0, 0)
        return JpegHeader(
            width=width,
            height=height,
            n_channels=n_channels,
            is_rgb=adobe[6:7] == b"\0",
            has_profile=self._get(_APP2, _PROFILE) is not None,
            density=(unit, x, y),
        )

    def _place_for(self, signature: bytes) -> int:
        """Behind the JFIF header, EXIF before all others."""
        before = [_APP0] if signature == _EXIF else [_APP0, _APP1]
        place = 0
        while place < len(self._segments) and self._segments[place].marker in before:
            place += 1
        return place

    def _resources(self) -> bytes:
        """The Photoshop resources of all segments: what is too long for one goes on in the next."""
        return b"".join(
            segment.payload[len(_PHOTOSHOP) :] for segment in self._segments if segment.is_a(_APP13, _PHOTOSHOP)
        )

    def _put_resources(self, data: bytes) -> None:
        places = [place for place, segment in enumerate(self._segments) if segment.is_a(_APP13, _PHOTOSHOP)]
        place = places[0] if places else self._place_for(_PHOTOSHOP)
        self._segments = [segment for segment in self._segments if not segment.is_a(_APP13, _PHOTOSHOP)]
        room = _LARGEST - len(_PHOTOSHOP)
        pieces = [data[at : at + room] for at in range(0, len(data), room)]
        self._segments[place:place] = [_Segment(_APP13, _PHOTOSHOP + piece) for piece in pieces]


def _behind_index(segments: list[_Segment]) -> int:
    """Bytes of segments behind the index of further images in the file."""
    places = [place for place, segment in enumerate(segments) if segment.is_a(_APP2, _MPF)]
    return sum(len(segment.payload) + 4 for segment in segments[places[0] + 1 :]) if places else 0


def _moved(segment: _Segment, grown: int, behind: int) -> _Segment:
    """The index of further images (CIPA DC-007), after the first one has grown.

    Args:
        grown: bytes by which the first image is longer.
        behind: bytes of these that lie between the index and the further images.
    """
    if not segment.is_a(_APP2, _MPF):
        return segment
    index = bytearray(segment.payload[len(_MPF) :])
    order = "<" if index[:2] == b"II" else ">"
    try:
        entries = TiffFile(bytes(index)).get(_MP_ENTRIES) or b""
    except Damaged:
        return segment
    at = bytes(index).find(entries) if entries else -1
    for place in range(at, at + len(entries) if at >= 0 else at, _MP_ENTRY):
        size, offset = struct.unpack_from(f"{order}II", index, place + 4)
        if place == at:
            struct.pack_into(f"{order}I", index, place + 4, size + grown)
        elif offset:
            struct.pack_into(f"{order}I", index, place + 8, offset + behind)
    return replace(segment, payload=_MPF + bytes(index))
