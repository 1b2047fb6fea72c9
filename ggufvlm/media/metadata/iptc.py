"""IPTC records (IIM 4.2), and the Photoshop resources that hold them in JPEG files."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from ggufvlm.media.metadata.block import Damaged, Said, not_among

_CAPTION, _KEYWORD, _CHARSET = (2, 120), (2, 25), (1, 90)
_UTF8 = b"\x1b%G"
_VERSION = b"\x1c\x02\0\0\x02\0\x04"
_LONGEST = 2000  # bytes of a caption, by IIM
_LONGEST_KEYWORD = 64
_RECORDS, _DIGEST = 0x0404, 0x0425


class _DataSet(NamedTuple):
    number: tuple[int, int]
    value: bytes


def described(records: bytes, said: Said) -> bytes:
    """The records with this caption, or with these keywords added to their own, in UTF-8.

    Raises:
        Damaged: they cannot be read, or the caption exceeds 2000 bytes. Keywords of more than 64 bytes are left out.
    """
    old = _parse(records)
    new = [_caption(said)] if isinstance(said, str) else _new_keywords(old, said)
    is_ascii = all(data.value.isascii() for data in new)
    was_utf8 = _DataSet(_CHARSET, _UTF8) in old
    replaced = (_CHARSET, _CAPTION) if isinstance(said, str) else (_CHARSET,)
    kept = [found for found in old if found.number not in replaced]
    if not was_utf8 and not is_ascii:
        kept = [_to_utf8(found) for found in kept]
    if was_utf8 or not is_ascii:
        charset = [_DataSet(_CHARSET, _UTF8)]
    else:
        charset = [found for found in old if found.number == _CHARSET]
    if not old:
        return b"".join(map(_pack, charset)) + _VERSION + b"".join(map(_pack, new))
    # records in order; within one, as they stood
    number = new[0].number if new else _CAPTION
    return b"".join(
        map(_pack, sorted([*charset, *kept, *new], key=lambda found: (found.number[0], found.number == number)))
    )


def _caption(text: str) -> _DataSet:
    caption = text.replace("\0", "").encode("utf-8", "replace")
    if len(caption) > _LONGEST:
        raise Damaged(f"{len(caption)} bytes are too long for IPTC, which holds {_LONGEST}")
    return _DataSet(_CAPTION, caption)


def _new_keywords(old: list[_DataSet], words: tuple[str, ...]) -> list[_DataSet]:
    known = [_to_utf8(data).value.decode("utf-8", "replace") for data in old if data.number == _KEYWORD]
    encoded = [word.replace("\0", "").encode("utf-8", "replace") for word in not_among(words, known)]
    return [_DataSet(_KEYWORD, word) for word in encoded if len(word) <= _LONGEST_KEYWORD]


def keywords(records: bytes) -> tuple[str, ...]:
    """The keywords in IPTC records."""
    return tuple(_to_utf8(data).value.decode("utf-8", "replace") for data in _parse(records) if data.number == _KEYWORD)


def description(records: bytes) -> str | None:
    """The caption in IPTC records, ``None`` if there is none."""
    found = [data.value for data in _parse(records) if data.number == _CAPTION]
    return found[0].decode("utf-8", "replace") if found else None


def in_order(records: bytes) -> bytes:
    """Records in the byte order that is meant: some writers of TIFF store them as swapped 32-bit numbers."""
    if not records or records[:1] == b"\x1c" or len(records) % 4:
        return records
    swapped = struct.pack(f"<{len(records) // 4}I", *struct.unpack(f">{len(records) // 4}I", records))
    return swapped if swapped[:1] == b"\x1c" else records


def in_resources(resources: bytes, text: Said) -> bytes:
    """Photoshop resources (``8BIM`` ...) with this caption or these keywords in their IPTC records."""
    old = [data for number, _, data in _resources(resources) if number == _RECORDS]
    records = described(old[0] if old else b"", text)
    return with_records(resources, records) + (b"" if old else _resource(_RECORDS, b"\0\0", records))


def with_records(resources: bytes, records: bytes) -> bytes:
    """Photoshop resources with these IPTC records where they hold some, and the digest of these where they have one."""
    digest = hashlib.md5(records, usedforsecurity=False).digest()
    # tells Adobe's programs whether somebody changed the records
    new = {_RECORDS: records, _DIGEST: digest}
    return b"".join(_resource(number, name, new.get(number, data)) for number, name, data in _resources(resources))


def of_resources(resources: bytes) -> str | None:
    """The caption in Photoshop resources."""
    found = next((data for number, _, data in _resources(resources) if number == _RECORDS), None)
    return None if found is None else description(found)


def keywords_of_resources(resources: bytes) -> tuple[str, ...]:
    """The keywords in Photoshop resources."""
    return keywords(next((data for number, _, data in _resources(resources) if number == _RECORDS), b""))


def _parse(records: bytes) -> list[_DataSet]:
    found, at = [], 0
    while at < len(records) and records[at] == 0x1C:
        head = records[at : at + 5]
        if len(head) < 5:
            raise Damaged("its IPTC records are cut off")
        size, at = int.from_bytes(head[3:], "big"), at + 5
        if size & 0x8000:  # the length of the length
            n = size & 0x7FFF
            size, at = int.from_bytes(records[at : at + n], "big"), at + n
        if at + size > len(records):
            raise Damaged("its IPTC records are cut off")
        found.append(_DataSet((head[1], head[2]), records[at : at + size]))
        at += size
    if records[at:].strip(b"\0"):
        raise Damaged("its IPTC records are damaged")
    return found


def _pack(data: _DataSet) -> bytes:
    size = len(data.value)
    length = struct.pack(">H", size) if size < 0x8000 else struct.pack(">HI", 0x8004, size)
    return bytes((0x1C, *data.number)) + length + data.value


def _to_utf8(data: _DataSet) -> _DataSet:
    """Records without a character set are Latin-1 in practice, or UTF-8 already."""
    if data.number[0] != 2 or data.number == (2, 0) or data.value.isascii():
        return data
    try:
        data.value.decode()
    except UnicodeDecodeError:
        return data._replace(value=data.value.decode("latin-1").encode())
    return data


def _resources(data: bytes) -> list[tuple[int, bytes, bytes]]:
    found, at = [], 0
    while at + 12 <= len(data):
        if data[at : at + 4] not in (b"8BIM", b"8B64", b"AgHg", b"DCSR", b"MeSa", b"PHUT"):
            break
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        n_name = (data[at + 6] + 2) & ~1
        name, at = data[at + 6 : at + 6 + n_name], at + 6 + n_name
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            raise Damaged("its Photoshop resources are cut off")
        found.append((number, name, data[at + 4 : at + 4 + size]))
        at += 4 + size + size % 2
    if data[at:].strip(b"\0"):
        raise Damaged("its Photoshop resources are damaged")
    return found


def _resource(number: int, name: bytes, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">H", number) + name + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
