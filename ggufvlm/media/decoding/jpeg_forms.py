"""Forms of JPEG that libjpeg calls broken although they are whole (ITU-T T.81, table B.1)."""

from __future__ import annotations

import struct

from ggufvlm.media.decoding.decode_errors import UnreadForm

_PROCESSES = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical, progressive",
    0xC7: "hierarchical, lossless",
    0xCB: "lossless, arithmetic coding",
    0xCD: "hierarchical, arithmetic coding",
    0xCE: "hierarchical, progressive, arithmetic coding",
    0xCF: "hierarchical, lossless, arithmetic coding",
    0xF7: "JPEG-LS",
}
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_START_OF_SCAN = 0xDA
_LARGEST_SIDE = 65_500  # of libjpeg: JPEG_MAX_DIMENSION


def check_jpeg(data: bytes) -> None:
    """Refuse what cannot be read, by the header of the frame; anything but a whole header passes.

    Raises:
        UnreadForm: another process than those of photographs, or 12 bits.
        ValueError: more pixels in a row or a column than libjpeg takes.
    """
    at = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _PROCESSES:
            raise UnreadForm("JPEG", _PROCESSES[marker])
        if marker in _FRAMES:
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            if bits == 12:
                raise UnreadForm("JPEG", "12 bits a sample")
            if max(width, height) > _LARGEST_SIDE:
                raise ValueError(f"{width}x{height} pixels, and the limit is {_LARGEST_SIDE} a side")
        if marker in _FRAMES or marker == _START_OF_SCAN:
            return
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
