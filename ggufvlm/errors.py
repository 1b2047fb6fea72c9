"""Every error that ggufvlm raises on purpose, and the exit codes of the command line.

::

    GGUFVLMError               1
    |-- EngineError            1   llama.cpp failed: out of memory, a decode that went wrong
    |   `-- ContextOverflow    1   the prompt does not fit into the context
    |-- OutputError            1   a result could not be written: no space, no permission
    |-- UsageError             2   a setting or a combination of settings that makes no sense
    |   |-- ConstraintError    2   what an answer has to look like cannot be enforced
    |   `-- MissingExtra       2   an optional package is needed: the message names the extra
    |-- InputError             3   an input could not be read
    |   `-- ImageError         3   an image: missing, damaged, too large, not an image
    `-- ModelError             4   a model: unknown, missing, damaged
        |-- PairingError       4   language model and projector do not belong together
        `-- DownloadError      4   the Hub did not hand it out

``str(error)`` is one line that names the thing. ``error.hint``, when there is one, says what to do next.
"""

from __future__ import annotations

from enum import IntEnum

from ggufvlm.version import extra_command

__all__ = [
    "ConstraintError",
    "ContextOverflow",
    "DownloadError",
    "EngineError",
    "GGUFVLMError",
    "ImageError",
    "ImageWarning",
    "InputError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "PairingError",
    "UsageError",
]


class ExitCode(IntEnum):
    """What the command line ends with, if not with 0: 1 to 4 belong to errors, the others to what else happened."""

    FAILED = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    SOME_FAILED = 5
    """Some of several images, pages or rows are errors; the others are there."""
    CUT_BY_GUARD = 6
    """The repetition guard cut an answer."""
    INTERRUPTED = 130
    """Ctrl-C; what was finished is kept."""


class GGUFVLMError(Exception):
    """Base of all errors that ggufvlm raises on purpose."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class EngineError(GGUFVLMError):
    """llama.cpp failed: out of memory, a model it cannot run, a step that went wrong."""


class ContextOverflow(EngineError):  # noqa: N818 - reads as what happened
    """The prompt does not fit into the context."""


class OutputError(GGUFVLMError):
    """A result could not be written: no space, no permission, a failing disk."""


class UsageError(GGUFVLMError):
    """A setting, or a combination of settings, that makes no sense."""

    exit_code = ExitCode.USAGE


class ConstraintError(UsageError):
    """A schema, grammar or pattern that cannot be enforced."""


class MissingExtra(UsageError):  # noqa: N818
    """An optional package is needed and is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package", hint=extra_command(extra))


class InputError(GGUFVLMError):
    """An input (image, prompt file) could not be read."""

    exit_code = ExitCode.INPUT


class ImageError(InputError):
    """An image that is missing, damaged, too large or not an image. The message names its source."""


class ImageWarning(UserWarning):
    """An image that was read, and may not show all that its file holds. The message names its source."""


class ModelError(GGUFVLMError):
    """A model that is unknown, missing or damaged."""

    exit_code = ExitCode.MODEL


class PairingError(ModelError):
    """A language model and a projector that do not belong together."""


class DownloadError(ModelError):
    """The Hub did not hand out a file: offline, gated, gone, no space."""
