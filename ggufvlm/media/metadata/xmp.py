"""XMP packets: ``dc:description`` put in or replaced, ``dc:subject`` added to; other bytes kept (ISO 16684-1)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from ggufvlm.media.metadata.block import Damaged, Said, not_among

_DC = "http://purl.org/dc/elements/1.1/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SUBJECT = [f"{_RDF} RDF", f"{_RDF} Description", f"{_DC} subject"]
_LANG = "http://www.w3.org/XML/1998/namespace lang"
_BEGIN, _END = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', '<?xpacket end="w"?>'
_ROOT = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="{_RDF}">\n{{}}\n</rdf:RDF>\n</x:xmpmeta>'
_IMPOSSIBLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_DECLARATION = re.compile(r"<\?xml\s[^>]*>\s*")
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16's, which is its beginning
    codecs.BOM_UTF32_BE: "utf-32-be",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
"""Those that are not UTF-8, by how a packet begins."""
_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")


@dataclass(slots=True)
class _PacketPlaces:
    """Where things lie in a packet, in bytes; ``None`` if they are not there.

    Attributes:
        about: what the packet is about: the same for all of it.
        rdf_end: the end tag of ``rdf:RDF``.
        description: all of ``dc:description``.
        first_item: the start of its first language.
        default: all of its text for every language.
        text: what stands there.
        subject: all of ``dc:subject``.
        bag_end: the end tag of the keywords in it.
        keywords: what they are.
    """

    about: str | None = None
    rdf_end: int | None = None
    description: slice | None = None
    first_item: int | None = None
    default: slice | None = None
    text: list[str] = field(default_factory=list)
    subject: slice | None = None
    bag_end: int | None = None
    keywords: list[str] = field(default_factory=list)


def described(packet: bytes | None, said: Said) -> bytes:
    """The packet with this description, or with these keywords added to its own; a new one if there is none.

    Raises:
        Damaged: it is not XMP, or has no place for it.
    """
    packet = _utf8(packet or b"")
    found = _find(packet) if packet else _PacketPlaces()
    return _with_description(packet, found, said) if isinstance(said, str) else _with_keywords(packet, found, said)


def _with_description(packet: bytes, found: _PacketPlaces, text: str) -> bytes:
    item = f'<rdf:li xmlns:rdf="{_RDF}" xml:lang="x-default">{_text(text)}</rdf:li>'
    if found.default is not None:
        return _replaced(packet, found.default, item)
    if found.first_item is not None:
        return _replaced(packet, slice(found.first_item, found.first_item), item)
    whole = f'<dc:description xmlns:dc="{_DC}"><rdf:Alt xmlns:rdf="{_RDF}">{item}</rdf:Alt></dc:description>'
    if found.description is not None:
        return _replaced(packet, found.description, whole)
    return _with_property(packet, found, whole)


def _with_keywords(packet: bytes, found: _PacketPlaces, words: tuple[str, ...]) -> bytes:
    new = not_among(words, found.keywords)
    if packet and not new:
        return packet
    items = "".join(f'<rdf:li xmlns:rdf="{_RDF}">{_text(word)}</rdf:li>' for word in new)
    if found.bag_end is not None:
        return _replaced(packet, slice(found.bag_end, found.bag_end), items)
    whole = f'<dc:subject xmlns:dc="{_DC}"><rdf:Bag xmlns:rdf="{_RDF}">{items}</rdf:Bag></dc:subject>'
    if found.subject is not None:
        return _replaced(packet, found.subject, whole)
    return _with_property(packet, found, whole)


def _with_property(packet: bytes, found: _PacketPlaces, whole: str) -> bytes:
    about = f"rdf:about={quoteattr(found.about or '')}"
    block = f'<rdf:Description xmlns:rdf="{_RDF}" {about}>{whole}</rdf:Description>'
    if found.rdf_end is None:
        return "\n".join((_BEGIN, _ROOT.format(block), _END)).encode()
    return _replaced(packet, slice(found.rdf_end, found.rdf_end), block + "\n")


def description(packet: bytes | None) -> str | None:
    """The description for all languages in a packet.

    Raises:
        Damaged: it is not XMP.
    """
    packet = _utf8(packet or b"")
    found = _find(packet) if packet else _PacketPlaces()
    return "".join(found.text) if found.default is not None else None


def keywords(packet: bytes | None) -> tuple[str, ...]:
    """The keywords in a packet.

    Raises:
        Damaged: it is not XMP.
    """
    packet = _utf8(packet or b"")
    return tuple(_find(packet).keywords) if packet else ()


def _text(text: str) -> str:
    return escape(_IMPOSSIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _replaced(packet: bytes, part: slice, new: str) -> bytes:
    return packet[: part.start] + new.encode() + packet[part.stop :]


def _utf8(packet: bytes) -> bytes:
    """The packet in the one encoding that all readers know, without what fills it up in its container.

    Its first characters tell the encoding: a byte order mark, which may be left out, and ``<`` (XMP part 1, 7.3).

    Raises:
        Damaged: some of it is no text in its encoding.
    """
    packet = packet.lstrip(b" \r\n\t")
    name = next((name for start, name in _ENCODINGS.items() if packet.startswith(start)), None)
    if name is None:
        return packet.removeprefix(codecs.BOM_UTF8).strip(b"\0 \r\n\t")
    try:
        text = packet[: len(packet) - len(packet) % (4 if "32" in name else 2)].decode(name)
    except UnicodeDecodeError as error:
        raise Damaged("its XMP is damaged") from error
    return _DECLARATION.sub("", text.strip("\ufeff\0 \r\n\t"), count=1).encode()


def _find(packet: bytes) -> _PacketPlaces:
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise Damaged("its XMP defines entities, which XMP does not allow")
    walker = _Walker(packet)
    try:
        walker.parse()
    except (ExpatError, ValueError) as error:
        raise Damaged("its XMP is damaged") from error
    if walker.found.rdf_end is None:
        raise Damaged("its XMP holds no rdf:RDF")
    return walker.found


class _Walker:
    """Reads a packet and notes where things are."""

    def __init__(self, packet: bytes) -> None:
        self.found = _PacketPlaces()
        self._packet = packet
        self._parser = ParserCreate("utf-8", " ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._path: list[tuple[str, int]] = []
        self._is_in_default = False
        self._is_in_keyword = False
        self._closing: dict[str, Callable[[int, int], None]] = {
            f"{_DC} description": self._end_description,
            f"{_DC} subject": self._end_subject,
            f"{_RDF} Bag": self._end_bag,
            f"{_RDF} li": self._end_item,
            f"{_RDF} RDF": self._end_rdf,
        }

    def parse(self) -> None:
        """Raises: ExpatError, it is no XML."""
        self._parser.Parse(self._packet, True)

    @property
    def _names(self) -> list[str]:
        return [name for name, _ in self._path]

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append((name, self._parser.CurrentByteIndex))
        names = self._names
        if names[-2:] == [f"{_RDF} RDF", f"{_RDF} Description"]:
            if self.found.about is None:
                self.found.about = attributes.get(f"{_RDF} about", attributes.get("about", ""))
            if f"{_DC} description" in attributes or f"{_DC} subject" in attributes:
                raise Damaged("its XMP holds a description or keywords in a form that XMP does not know")
        if self._is_item(names) and self.found.description is None:
            if self.found.first_item is None:
                self.found.first_item = self._parser.CurrentByteIndex
            self._is_in_default = self.found.default is None and attributes.get(_LANG, "x-default") == "x-default"

        if names[-5:] == [*_SUBJECT, f"{_RDF} Bag", f"{_RDF} li"] and self.found.subject is None:
            self._is_in_keyword = True
            self.found.keywords.append("")

    def _characters(self, text: str) -> None:
        if self._is_in_keyword:
            self.found.keywords[-1] += text
        if self._is_in_default:
            self.found.text.append(text)

    def _end(self, name: str) -> None:
        _, start = self._path[-1]
        close = self._closing.get(name)
        if close is not None:
            tag = _TAG.match(self._packet, start)
            if tag is None or not tag[0].endswith(b"/>"):
                tag = _TAG.match(self._packet, self._parser.CurrentByteIndex)
            assert tag is not None, "the parser has seen it"
            close(start, tag.end())
        self._path.pop()

    def _end_item(self, start: int, end: int) -> None:
        self._is_in_keyword = False
        if self._is_in_default and self._is_item(self._names):
            self.found.default = slice(start, end)
            self._is_in_default = False

    def _end_description(self, start: int, end: int) -> None:
        is_top = self._names[-3:-1] == [f"{_RDF} RDF", f"{_RDF} Description"]
        if is_top and self.found.description is None:
            self.found.description = slice(start, end)

    def _end_subject(self, start: int, end: int) -> None:
        if self._names[-3:] == _SUBJECT and self.found.subject is None:
            self.found.subject = slice(start, end)

    def _end_bag(self, _start: int, end: int) -> None:
        at = self._parser.CurrentByteIndex
        is_first = self.found.bag_end is None and self.found.subject is None
        if self._names[-4:-1] == _SUBJECT and is_first and at < end:  # else it is <rdf:Bag/>
            self.found.bag_end = at

    def _end_rdf(self, _start: int, end: int) -> None:
        at = self._parser.CurrentByteIndex
        if self.found.rdf_end is None and at < end:  # else it is <rdf:RDF/>
            self.found.rdf_end = at

    @staticmethod
    def _is_item(names: list[str]) -> bool:
        return names[-5:] == [
            f"{_RDF} RDF",
            f"{_RDF} Description",
            f"{_DC} description",
            f"{_RDF} Alt",
            f"{_RDF} li",
        ]
