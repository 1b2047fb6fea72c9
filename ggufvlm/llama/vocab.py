"""The tokenizer inside a model: text to token ids, token ids to bytes."""

from __future__ import annotations

import copy
import ctypes
import functools
from typing import Any

from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import llama

_SENTENCEPIECE = 1  # llama_vocab_type
_UNKNOWN, _CONTROL, _USER_DEFINED, _LSTRIP = 1 << 0, 1 << 3, 1 << 4, 1 << 7  # llama_token_attr
_PIECE = 8192  # characters
_TRIES = 8


class Vocab:
    """Owned by a :class:`~ggufvlm.llama.model.Model`; valid as long as it is open."""

    def __init__(self, model_handle: Any) -> None:
        self._handle = llama.llama_model_get_vocab(model_handle)
        self._buffer = ctypes.create_string_buffer(512)
        self.size: int = llama.llama_vocab_n_tokens(self._handle)
        self.adds_bos = bool(llama.llama_vocab_get_add_bos(self._handle))
        self.adds_eos = bool(llama.llama_vocab_get_add_eos(self._handle))
        self.starts_words_with_space = llama.llama_vocab_type(self._handle) == _SENTENCEPIECE

    def twin(self) -> Vocab:
        """The same vocabulary for another thread."""
        twin = copy.copy(self)
        twin._buffer = ctypes.create_string_buffer(512)  # noqa: SLF001 - one of its own kind
        return twin

    @property
    def bos_id(self) -> int:
        """The token that begins a sequence, -1 if there is none."""
        return int(llama.llama_vocab_bos(self._handle))

    @property
    def eos_id(self) -> int:
        """The token that ends a sequence, -1 if there is none."""
        return int(llama.llama_vocab_eos(self._handle))

    @property
    def bos(self) -> str:
        """Text of the token that begins a sequence, empty if there is none."""
        return self._text(self.bos_id)

    @property
    def eos(self) -> str:
        """Text of the token that ends a sequence, empty if there is none."""
        return self._text(self.eos_id)

    def _text(self, token: int) -> str:
        return self.piece(token, special=True).decode("utf-8", "replace") if self._is_valid(token) else ""

    def _is_valid(self, token: int) -> bool:
        # the library throws through ctypes, which ends the process, for an id outside the vocabulary
        return 0 <= token < self.size

    def tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        """Token ids of ``text``. Without ``parse_special``, ``<|im_end|>`` in it is plain text."""
        return [
            token
            for piece in self.pieces(text, parse_special=parse_special)
            for token in self._tokenize(piece, parse_special)
        ]

    def pieces(self, text: str, *, parse_special: bool) -> list[str]:
        """A text cut where that changes no token: before special tokens, and only if it is long.

        From each special token on, llama.cpp looks for each other one in all of the rest, so that its time would grow
        with the square of their number.
        """
        pieces, start, last = [], 0, len(text)
        while last - start > 2 * _PIECE:
            cut = self._next_cut(text, start + _PIECE, parse_special)
            if cut is None:
                break
            pieces.append(text[start:cut])
            start = cut
        return [*pieces, text[start:]]

    def _next_cut(self, text: str, start: int, parse_special: bool) -> int | None:
        """The next place where a special token begins that no other one reaches over."""
        specials = [special for special, is_plain in self._specials if parse_special or is_plain]
        for at in range(start, len(text), _PIECE):
            places = sorted({text.find(special, at, at + _PIECE) for special in specials} - {-1})
            for place in places[:_TRIES]:
                if not any(
                    text.find(other, max(0, place - len(other) + 1), place + len(other) - 1) >= 0 for other in specials
                ):
                    return place
        return None

    @functools.cached_property
    def _specials(self) -> list[tuple[str, bool]]:
        """Texts of the tokens that are looked for before a text is tokenized, and whether in plain text too."""
        found = []
        for token in range(self.size):
            attributes = llama.llama_vocab_get_attr(self._handle, token)
            if attributes & (_UNKNOWN | _CONTROL | _USER_DEFINED) and not attributes & _LSTRIP:
                text = (llama.llama_vocab_get_text(self._handle, token) or b"").decode("utf-8", "replace")
                found.append((text, bool(attributes & _USER_DEFINED)))
        return [(text, is_plain) for text, is_plain in found if text]

    def _tokenize(self, text: str, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        capacity = len(data) + 8
        while True:
            ids = (llama.llama_token * capacity)()
            count = llama.llama_tokenize(self._handle, data, len(data), ids, capacity, False, parse_special)
            if count >= 0:
                return list(ids[:count])
            if -count <= capacity:
                raise EngineError("the tokenizer failed on this text")
            capacity = -count

    def control_tokens(self, text: str) -> list[int]:
        """The control tokens that ``text`` turns into when special tokens are parsed."""
        is_control, handle = llama.llama_vocab_is_control, self._handle
        return [token for token in self.tokenize(text, parse_special=True) if is_control(handle, token)]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Bytes of one token: maybe part of a UTF-8 character; empty for control tokens unless ``special``."""
        if not self._is_valid(token):
            raise EngineError(f"token {token} is not in the vocabulary of {self.size}")
        count = llama.llama_token_to_piece(self._handle, token, self._buffer, len(self._buffer), 0, special)
        if count < 0:
            self._buffer = ctypes.create_string_buffer(-count)
            count = llama.llama_token_to_piece(self._handle, token, self._buffer, len(self._buffer), 0, special)
        return self._buffer.raw[:count]

    def looks_special(self, token: int) -> bool:
        """Whether the token is a control token, or an added one that has their form, such as ``<think>``."""
        attributes = llama.llama_vocab_get_attr(self._handle, token)
        if attributes & _CONTROL:
            return True
        piece = self.piece(token, special=True) if attributes & _USER_DEFINED else b""
        return piece.startswith(b"<") and piece.endswith(b">")

    def is_end(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return self._is_valid(token) and bool(llama.llama_vocab_is_eog(self._handle, token))

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return tuple(token for token in range(self.size) if self.is_end(token))

    @property
    def handle(self) -> Any:
        """The native pointer, for samplers of this folder."""
        return self._handle


def _reaches_over(word: str, text: str, place: int) -> bool:
    """Whether a word stands in a text so that it begins before a place and ends behind it."""
    return text.find(word, max(0, place - len(word) + 1), place + len(word) - 1) >= 0
