"""A dialogue as a file: readable JSON in the Hub's chat format, with the identity of each image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from ggufvlm.chat.turn import ChatImage, MissingImage, Turn
from ggufvlm.config import with_settings
from ggufvlm.engine.sequence import FinishReason
from ggufvlm.errors import GGUFVLMError, ImageError, InputError, UsageError
from ggufvlm.files import check_output, expanded, read_text, replacing_durably
from ggufvlm.media import Image, load, to_png
from ggufvlm.version import __version__

if TYPE_CHECKING:
    from ggufvlm.config import SamplingParams, SamplingSettings

FORMAT = 1
_MAX_BYTES = 64_000_000


@dataclass(kw_only=True, slots=True)
class SavedDialogue:
    """What a file keeps of a dialogue.

    Attributes:
        model: the name of the model that answered.
        system: the system message.
        settings: fields of :class:`~ggufvlm.SamplingParams` that differ from the model's own.
        turns: what was said, oldest first.
        staged: images that go with the next question.
        files: where images were read from, by their id.
    """

    model: str
    system: str | None
    settings: SamplingSettings
    turns: list[Turn]
    staged: list[ChatImage]
    files: dict[str, Path]
    model_files: tuple[Path, Path] | None = None

    def keep(self, path: Path) -> None:
        """Write the file for this user alone. Images that are no files are not copied, and missing when it is read.

        Raises:
            UsageError: it cannot be written.
        """
        places: dict[str, str | None] = {id: str(file.absolute()) for id, file in self.files.items()}
        write(path, self._json(places), is_private=True)

    def write(self, path: Path) -> list[Path]:
        """Write the file, and the images that have none beside it. See :meth:`Chat.save <ggufvlm.Chat.save>`.

        Returns:
            The images that were written.

        Raises:
            UsageError: the file exists and is no saved dialogue, or cannot be written.
        """
        path = expanded(path)
        if path.exists():
            _check_that_it_is_ours(path)
        written: list[Path] = []
        write(path, self._json(self._places(path, written)))
        return written

    def _json(self, places: Mapping[str, str | None]) -> str:
        state: dict[str, Any] = {
            "ggufvlm": __version__,
            "format": FORMAT,
            "model": self.model,
            "system": self.system,
            "settings": self.settings,
            "messages": [message for turn in self.turns for message in _turn_to_json(turn, places)],
            "staged": [_image_to_json(image, places) for image in self.staged],
        }
        if self.model_files is not None:
            state["model_files"] = [str(file.absolute()) for file in self.model_files]
        return json.dumps(state, ensure_ascii=False, indent=2) + "\n"

    def _places(self, path: Path, written: list[Path]) -> dict[str, str | None]:
        """Where each image can be read again, by id; those that are no files are written beside ``path``."""
        folder = path.absolute().parent
        places: dict[str, str | None] = {}
        for image in (*(image for turn in self.turns for image in turn.images), *self.staged):
            if isinstance(image, MissingImage) or image.id in places:
                continue
            file = self.files.get(image.id)
            if file is None or not _is_same(file, image.id):
                file = copy_beside(image, path.absolute())
                written.append(file)
            places[image.id] = str(file.relative_to(folder) if file.is_relative_to(folder) else file)
        return places


def write(path: Path, text: str | bytes, *, is_private: bool = False) -> None:
    """Write a file whole or not at all.

    Args:
        path: of the file.
        text: what is in it.
        is_private: nobody but the user may read it.

    Raises:
        UsageError: it cannot be written, or a link or device would be replaced.
    """
    check_output(path, is_replaced=True)
    try:
        with replacing_durably(path) as file:
            if is_private and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)
            file.write(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


def copy_beside(image: Image, path: Path) -> Path:
    """Write an image into the folder of ``path``, under a name made of both.

    Raises:
        UsageError: it cannot be written, or something else has its name.
    """
    copy = path.with_name(f"{path.stem}-{image.id[:12]}.png")
    if not _is_same(copy, image.id):
        if os.path.lexists(copy):
            raise UsageError(f"{copy} is there already and is another image", hint="choose another name")
        write(copy, to_png(image))
    return copy


def _check_that_it_is_ours(path: Path) -> None:
    try:
        read_state(path)
    except InputError as error:
        raise UsageError(f"{path} is there already and is no saved dialogue", hint="choose another name") from error


def _is_same(path: Path, id: str) -> bool:
    try:
        return path.is_file() and load(path).id == id
    except ImageError:
        return False


def _turn_to_json(turn: Turn, places: Mapping[str, str | None]) -> list[dict[str, Any]]:
    content = [_image_to_json(image, places) for image in turn.images]
    return [
        {"role": "user", "content": [*content, {"type": "text", "text": turn.text}]},
        {"role": "assistant", "content": turn.answer, "finish_reason": turn.finish_reason},
    ]


def _image_to_json(image: ChatImage, places: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "type": "image",
        "path": places.get(image.id, image.source if isinstance(image, MissingImage) else None),
        "source": image.source,
        "sha256": image.id,
        "width": image.width,
        "height": image.height,
    }


def read_dialogue(path: Path, sampling: SamplingParams) -> SavedDialogue:
    """Read a file that :meth:`SavedDialogue.write` wrote. See :meth:`Chat.load <ggufvlm.Chat.load>`.

    Args:
        path: the file.
        sampling: the settings of the model that is to go on, for which those of the dialogue must make sense.

    Raises:
        InputError: the file cannot be read or is no saved dialogue.
    """
    path = expanded(path)
    state = read_state(path)
    folder = path.absolute().parent
    files: dict[str, Path] = {}
    try:
        settings = _expect(state.get("settings", {}), dict)
        if isinstance(settings.get("stop"), list):
            settings["stop"] = tuple(settings["stop"])
        with_settings(sampling, settings)
        staged = _expect(state.get("staged", []), list)
        return SavedDialogue(
            model=str(state.get("model", "")),
            system=_expect(state.get("system"), (str, type(None))),
            settings=cast("SamplingSettings", settings),
            turns=_turns(_expect(state["messages"], list), folder, files),
            staged=[_image(entry, folder, files) for entry in staged],
            files=files,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, UsageError) as error:
        raise InputError(f"{path}: a damaged dialogue ({error})") from error


def saved_model(path: Path) -> str:
    """The model that answered in a saved dialogue.

    Raises:
        InputError: the file cannot be read or is no saved dialogue.
    """
    return str(read_state(expanded(path)).get("model", ""))


def saved_files(path: Path) -> tuple[Path, Path] | None:
    """Model and projector that answered in a conversation that was kept; ``None`` where they are not named.

    Raises:
        InputError: the file cannot be read or is no saved dialogue.
    """
    named = read_state(expanded(path)).get("model_files")
    if not isinstance(named, list) or len(named) != 2 or not all(isinstance(name, str) for name in named):
        return None
    return Path(named[0]), Path(named[1])


def read_state(path: Path) -> dict[str, Any]:
    """The JSON of a saved dialogue, its messages not looked at.

    Raises:
        InputError: the file cannot be read or is no saved dialogue.
    """
    try:
        state = json.loads(read_text(path, max_bytes=_MAX_BYTES), parse_constant=_refuse)
    except RecursionError as error:
        raise InputError(f"{path}: not a saved dialogue (nested too deeply)") from error
    except InputError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise InputError(f"{path}: not a saved dialogue (not UTF-8 text)") from error
        raise
    except ValueError as error:
        raise InputError(f"{path}: not a saved dialogue ({error})") from error
    if not isinstance(state, dict) or "ggufvlm" not in state or "messages" not in state:
        raise InputError(f"{path}: not a saved dialogue")
    if state.get("format") != FORMAT:
        raise InputError(f"{path}: saved in format {state.get('format')}, this ggufvlm reads {FORMAT}")
    return state


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is no number of JSON's")


def _expect(value: Any, kinds: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f"{value!r:.60} is not what belongs there")
    return value


def _turns(messages: list[dict[str, Any]], folder: Path, files: dict[str, Path]) -> list[Turn]:
    turns = []
    for asked, answered in zip(messages[::2], messages[1::2], strict=True):
        if (asked["role"], answered["role"]) != ("user", "assistant"):
            raise ValueError("questions and answers do not take turns")
        content = _expect(asked["content"], list)
        unknown = {entry["type"] for entry in content} - {"image", "text"}
        if unknown:
            raise ValueError(f"a question holds an entry of type {min(map(str, unknown))!r}")
        images = tuple(_image(entry, folder, files) for entry in content if entry["type"] == "image")
        text = "".join(_expect(entry["text"], str) for entry in content if entry["type"] == "text")
        reason: Any = answered.get("finish_reason", "stop")
        if reason not in get_args(FinishReason):
            raise ValueError(f"an answer cannot end by {reason!r}")
        turns.append(Turn(images, text, _expect(answered["content"], str), reason))
    return turns


def _image(entry: dict[str, Any], folder: Path, files: dict[str, Path]) -> ChatImage:
    id, path = _expect(entry["sha256"], str), folder / (_expect(entry["path"], (str, type(None))) or "")
    try:
        if entry["path"] is None:
            raise ImageError("it was no file, and no copy of it is kept")
        image = load(path)
    except GGUFVLMError as error:
        reason = str(error)
    else:
        if image.id == id:
            files[id] = path
            return replace(image, source=_expect(entry.get("source", entry["path"]), str))
        reason = f"{entry['path']} is another image now"
    return MissingImage(
        source=_expect(entry.get("source", entry["path"]), str),
        id=id,
        width=int(entry["width"]),
        height=int(entry["height"]),
        reason=reason,
    )
