"""The image on the clipboard -> bytes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys

from ggufvlm.errors import ImageError

NAME = "<clipboard>"
_TIMEOUT_S = 10
_NO_IMAGE = "copy an image (not its file name) and try again, or pass a file"


def read_clipboard() -> bytes:
    """The image on the clipboard, as an encoded file.

    Raises:
        ImageError: there is none, or no way to get at the clipboard.
    """
    if sys.platform in ("darwin", "win32"):
        return _grab()
    return _run(_command())


def _grab() -> bytes:
    from PIL import ImageGrab

    try:
        grabbed = ImageGrab.grabclipboard()
    except (OSError, ValueError, NotImplementedError, SyntaxError) as error:
        raise ImageError(f"{NAME}: cannot be read ({error})") from error
    if isinstance(grabbed, list):  # copied files, on Windows
        if len(grabbed) == 1:
            raise ImageError(f"{NAME}: holds a file, not an image", hint=f"pass the file: {grabbed[0]}")
        raise ImageError(f"{NAME}: holds {len(grabbed)} files, not an image", hint="pass the files")
    if grabbed is None:
        raise ImageError(f"{NAME}: holds no image", hint=_NO_IMAGE)
    encoded = io.BytesIO()
    grabbed.save(encoded, "PNG")
    return encoded.getvalue()


def _command() -> list[str]:
    if os.environ.get("WAYLAND_DISPLAY"):
        tool, package, arguments = "wl-paste", "wl-clipboard", ["--type", "image"]
    elif os.environ.get("DISPLAY"):
        tool, package, arguments = "xclip", "xclip", ["-selection", "clipboard", "-target", "image/png", "-out"]
    else:
        raise ImageError(f"{NAME}: no desktop session, so no clipboard", hint="pass a file, or - for standard input")
    found = shutil.which(tool)
    if found is None:
        hint = f"install the package {package} (sudo apt install {package}), or pass a file"
        raise ImageError(f"{NAME}: cannot be read without {tool}", hint=hint)
    return [found, *arguments]


def _run(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{NAME}: {command[0]} gave no answer within {_TIMEOUT_S} s") from error
    except OSError as error:
        raise ImageError(f"{NAME}: {command[0]} does not run ({error.strerror})") from error
    if done.returncode != 0 or not done.stdout:
        # Both tools fail alike for an empty clipboard and for text on it.
        raise ImageError(f"{NAME}: holds no image", hint=_NO_IMAGE)
    return done.stdout
