"""The row that is written about one input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.identity import Identity
from ggufvlm.cache.store import digest
from ggufvlm.errors import GGUFVLMError
from ggufvlm.vlm.answer import Answer
from ggufvlm.vlm.documents import ranges

Row: TypeAlias = "dict[str, Any]"

COLUMNS: dict[str, type] = {
    "id": str,
    "path": str,
    "page": int,
    "time": float,
    "image": str,
    "width": int,
    "height": int,
    "prompt": str,
    "prompt_hash": str,
    "answer": str,
    "finish_reason": str,
    "parts": str,
    "retries": int,
    "n_prompt": int,
    "n_cached": int,
    "n_generated": int,
    "time_encode": float,
    "time_prefill": float,
    "time_decode": float,
    "seed": int,
    "model": str,
    "model_hash": str,
    "settings_hash": str,
    "same_as": str,
    "files": str,
    "key": str,
    "error": dict,
}
"""Names of a row's values, in order. Times are in seconds; hashes are hexadecimal.

``page`` and ``time`` are of a row about one page or frame; ``parts`` names the pages or frames that one about a whole
document saw.
"""

ON_REQUEST: dict[str, type] = {"reasoning": str}
"""Columns of rows that are asked for: what the model thought."""

NEWER = frozenset({"page", "time", "parts"})
"""Columns that rows of earlier versions do not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question as it is put.

    Attributes:
        image_ids: sha256 of each image's pixels and size.
        file_ids: sha256 of each image file.
        width, height: of the first image, in pixels; ``None`` if it was not decoded.
        n_wanted: of a whole PDF or video, the pages or frames that were wanted; as many as fit are seen.
    """

    prompt: str
    system: str | None
    key: str
    image_ids: tuple[str, ...]
    file_ids: tuple[str, ...]
    width: int | None = None
    height: int | None = None
    n_wanted: int | None = None


def answered(item: Item, asked: Asked, answer: Answer, identity: Identity, retries: int) -> Row:
    """The row of an input that was answered.

    Args:
        item: the input.
        asked: the question that was put.
        answer: the model's answer.
        identity: of the run.
        retries: how often the question was put again, because the answer was a repetition loop.
    """
    row = _row(item, identity, asked)
    usage, times = answer.usage, answer.times
    row |= {
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "retries": retries,
        "n_prompt": usage.n_prompt,
        "n_cached": usage.n_cached,
        "n_generated": usage.n_generated,
        "time_encode": round(times.encode, 4),
        "time_prefill": round(times.prefill, 4),
        "time_decode": round(times.decode, 4),
        "seed": answer.seed,
    }
    if asked.n_wanted is not None:
        row |= {"image": " ".join(image.id for image in answer.images), "parts": _parts(item, asked.n_wanted, answer)}
    if answer.finish_reason == "repetition":
        row["error"] = {"class": "Repetition", "text": "the answer was a repetition loop and was cut"}
    return row


def failed(item: Item, error: GGUFVLMError, identity: Identity, asked: Asked | None = None) -> Row:
    """The row of an input that could not be answered.

    Args:
        item: the input.
        error: why.
        identity: of the run.
        asked: the question; ``None`` if the error came before it could be put.
    """
    return _row(item, identity, asked) | {"error": {"class": type(error).__name__, "text": str(error)}}


def same_answer(item: Item, known: Row, file_ids: Sequence[str]) -> Row:
    """The row of an input whose answer is that of another one.

    Args:
        item: the input.
        known: the row of the other.
        file_ids: sha256 of each image file of the input.
    """
    row = dict(known)
    row |= _own(item) | {"files": " ".join(file_ids), "same_as": known["same_as"] or known["id"]}
    return row


def changed(row: Row, asked: Asked, identity: Identity) -> str | None:
    """What is otherwise in a new question about the image of an answered row; ``None`` if the image is, or an error.

    Args:
        row: of the same input.
        asked: the new question, whose key is another one.
        identity: of the run that asks.
    """
    is_same = row["image"] == " ".join(asked.image_ids) or row["files"] == " ".join(asked.file_ids)
    if row["error"] is not None or not is_same:
        return None
    if row["prompt"] != asked.prompt:
        return "prompt"
    return "model" if row["model_hash"] != identity.model_hash else "settings"


def complete(row: Row) -> Row:
    """A row of an earlier version with the columns it lacks."""
    return dict.fromkeys(COLUMNS) | row if not row.keys() >= NEWER else row


def _own(item: Item) -> Row:
    part = item.part
    return {
        "id": item.id,
        "path": item.path,
        "page": part.page if part else None,
        "time": part.time if part else None,
    }


def _parts(item: Item, n_wanted: int, answer: Answer) -> str:
    """``pages 1-2 (2 of 6)``, ``0:03.0, 0:09.0``; with the files' names where there are several."""
    names = [image.source for image in answer.images]
    places = [name.rpartition(" ")[2] for name in names]
    count = "" if len(names) == n_wanted else f" ({len(names)} of {n_wanted})"
    if len(item.sources) > 1:
        return ", ".join(names) + count
    if all(place.isdecimal() for place in places):
        return f"pages {ranges([int(place) for place in places])}{count}"
    return ", ".join(places) + count


def _row(item: Item, identity: Identity, asked: Asked | None) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row |= _own(item) | {
        "model": identity.model,
        "model_hash": identity.model_hash,
        "settings_hash": identity.settings_hash,
    }
    if asked is not None:
        row |= {
            "image": " ".join(asked.image_ids),
            "width": asked.width,
            "height": asked.height,
            "prompt": asked.prompt,
            "prompt_hash": digest(asked.prompt)[:32],
            "files": " ".join(asked.file_ids),
            "key": asked.key,
        }
    return row
