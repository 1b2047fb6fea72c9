"""Every way to name an image, with real files, pipes and programs."""

from __future__ import annotations

import base64
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm import media
from ggufvlm.errors import ImageError
from ggufvlm.media.sources.read import read_source
from tests.support.images import encode, halves

IMAGE = encode(halves(), "PNG")
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have one clipboard")


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a cat #1 50%.png"
    target.write_bytes(IMAGE)
    return target


def failure(source: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_source(source)
    assert "\n" not in str(caught.value)
    return caught.value


def test_paths(path, monkeypatch):
    assert read_source(str(path)) == (IMAGE, str(path))
    assert read_source(path) == (IMAGE, str(path))
    monkeypatch.chdir(path.parent)
    assert read_source(path.name) == (IMAGE, path.name)
    assert read_source(f"./{path.name}") == (IMAGE, f"./{path.name}")


def test_home(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    assert read_source(f"~/{path.name}") == (IMAGE, f"~/{path.name}")
    assert str(failure("~nobody-of-that-name/a.png")).startswith("no such image: ~nobody")


def test_file_urls(path):
    for url in (path.as_uri(), "FILE" + path.as_uri()[4:], path.as_uri().replace("file://", "file://localhost")):
        assert read_source(url)[0] == IMAGE
    plain = path.with_name("plain.png")
    plain.write_bytes(IMAGE)
    assert read_source(f"file://{plain.as_posix()}")[0] == IMAGE
    assert "another computer" in str(failure("file://server/share/a.png"))
    assert str(failure("file:///no/such/a%20cat.png")) == "no such image: file:///no/such/a%20cat.png"


def test_a_pathlike_is_always_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(IMAGE)
    assert read_source(Path("-")) == (IMAGE, "-")


def test_folders_and_missing_files(tmp_path):
    error = failure(str(tmp_path))
    assert str(error) == f"{tmp_path}: a folder, not an image"
    assert error.hint
    assert str(failure(str(tmp_path / "a.png"))) == f"no such image: {tmp_path / 'a.png'}"
    (tmp_path / "file").touch()
    failure(str(tmp_path / "file" / "a.png"))


@pytest.mark.parametrize("name", ["a\x00b.png", "a" * 5000, "", "a\udcffb\n.png", "two\nlines.png"])
def test_impossible_names(name):
    failure(name)


@posix
def test_permission():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # others may not even enter pytest's own
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.png"
        path.write_bytes(IMAGE)
        assert read_source(str(path))[0] == IMAGE
        path.chmod(0)
        os.seteuid(65534 if user == 0 else user)  # root may read everything
        try:
            assert str(failure(str(path))) == f"{path}: permission denied"
        finally:
            os.seteuid(user)


@posix
def test_permission_error_is_named(path, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert str(failure(str(path))) == f"{path}: permission denied"


@posix
def test_sockets_and_devices_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("s.png")
        assert str(failure("s.png")) == "s.png: not a regular file"
    assert stat.S_ISCHR(Path("/dev/zero").stat().st_mode)
    assert str(failure("/dev/zero")) == "/dev/zero: not a regular file"


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "sparse.png").open("wb") as file:
        file.write(IMAGE)
        file.truncate(3_500_000_000)
    error = failure(str(tmp_path / "sparse.png"))
    assert "3500000000 bytes: a file of more than 1 GB is no image" in str(error)
    monkeypatch.setattr("ggufvlm.media.sources.read.MAX_BYTES", len(IMAGE) - 1)
    (tmp_path / "a.png").write_bytes(IMAGE)
    assert "is no image" in str(failure(str(tmp_path / "a.png")))


@posix
def test_fifo(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    error = failure(str(pipe))  # and nobody waits for who would write into it
    assert (str(error), error.hint) == (f"{pipe}: a named pipe", "ggufvlm describe - < PIPE")


LOAD = "import sys; from ggufvlm import media; i = media.load(sys.argv[1]); print(i.width, i.height, i.source)"


@posix
def test_process_substitution(path, tmp_path):
    bash = "/bin/bash"
    if not Path(bash).exists():
        pytest.skip("needs bash")
    command = '"$0" -c "$1" <(cat "$2")'
    done = subprocess.run([bash, "-c", command, sys.executable, LOAD, str(path)], capture_output=True, text=True)
    assert done.stdout.startswith("40 20 /dev/fd/"), done.stderr


def test_stdin(path):
    done = subprocess.run([sys.executable, "-c", LOAD, "-"], input=IMAGE, capture_output=True)
    assert done.stdout.decode().split() == ["40", "20", "<stdin>"], done.stderr


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("-", "<stdin>"),
        ("clipboard:", "<clipboard>"),
        ("data:image/png;base64,iVBORw0KGgo", "data:image/png;…"),
        ("https://me:secret@example.org/a.png", "https://example.org/a.png"),
        ("two\nlines.png", "two\N{REPLACEMENT CHARACTER}lines.png"),
    ],
)
def test_names_tell_no_more_than_they_should(source, name):
    assert media.name_of(source) == name


def test_a_link_to_nothing_is_called_that(tmp_path):
    (tmp_path / "a.png").symlink_to("nowhere.png")
    assert str(failure(tmp_path / "a.png")).endswith("a.png: a link to a file that is not there")


def test_empty_stdin():
    done = subprocess.run([sys.executable, "-c", LOAD, "-"], input=b"", capture_output=True)
    assert "<stdin>: nothing came in" in done.stderr.decode()


def test_no_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "nothing is piped in" in str(failure("-"))


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}",
        f"DATA:image/png;charset=x;BASE64,{base64.encodebytes(IMAGE).decode()}",
        f"data:;base64,{quote(base64.b64encode(IMAGE).decode(), safe='')}",
        f"data:image/png,{quote(IMAGE)}",
        f"data:,{quote(IMAGE)}",
    ],
)
def test_data_uris(uri):
    data, name = read_source(uri)
    assert data == IMAGE
    assert name in ("data:image/png;…", "data:;…")


@pytest.mark.parametrize("body", ["iVBORw0KGgo", "iVBOR!!=", "====", "iVBORw0KGgo=x"])
def test_damaged_base64(body):
    assert str(failure(f"data:image/png;base64,{body}")).startswith("data:image/png;…: damaged base64")


def test_empty_data_uri():
    with pytest.raises(ImageError, match=r"^data:image/png;…: the file is empty$"):
        media.load("data:image/png;base64,")


@given(st.text(max_size=60))
def test_any_text_gives_image_errors_or_bytes(text):
    try:
        data, name = read_source(f"data:{text}")
    except ImageError as error:
        name, data = str(error), b""
    assert "\n" not in name
    assert isinstance(data, bytes)


# The clipboard: programs of our own in place of wl-paste and xclip.


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    """A folder that is the whole PATH, and a Wayland session."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.delenv("DISPLAY", raising=False)
    return tools


def tool(target: Path, lines: str) -> None:
    target.write_text(f"#!/bin/sh\n{lines}\n")
    target.chmod(0o755)


@linux
def test_clipboard_of_wayland(desktop, path):
    tool(desktop / "wl-paste", f"/bin/cat '{path}'")
    assert read_source("clipboard:") == (IMAGE, "<clipboard>")


@linux
def test_clipboard_of_x11(desktop, path, monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.setenv("DISPLAY", ":0")
    assert "sudo apt install xclip" in failure("clipboard:").hint
    tool(desktop / "xclip", f"/bin/cat '{path}'")
    assert media.load("clipboard:").source == "<clipboard>"


@linux
@pytest.mark.parametrize("lines", ["echo 'No suitable type of content copied' >&2; exit 1", "exit 0"])
def test_clipboard_without_an_image(desktop, lines):
    tool(desktop / "wl-paste", lines)
    error = failure("clipboard:")
    assert str(error) == "<clipboard>: holds no image"
    assert error.hint


@linux
def test_clipboard_without_a_tool(desktop):
    error = failure("clipboard:")
    assert str(error) == "<clipboard>: cannot be read without wl-paste"
    assert "wl-clipboard" in error.hint


@linux
def test_clipboard_without_a_desktop(desktop, monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY")
    assert "no desktop session" in str(failure("clipboard:"))


@linux
def test_clipboard_tool_that_hangs_or_does_not_run(desktop, monkeypatch):
    monkeypatch.setattr("ggufvlm.media.sources.clipboard._TIMEOUT_S", 0.1)
    tool(desktop / "wl-paste", "exec /bin/sleep 60")
    assert "gave no answer" in str(failure("clipboard:"))
    (desktop / "wl-paste").write_text("#!/no/such/interpreter\n")
    assert "does not run" in str(failure("clipboard:"))


@pytest.mark.parametrize(
    ("grabbed", "says"),
    [(None, "holds no image"), (["C:\\a.png"], "holds a file"), (["a", "b"], "holds 2 files")],
)
def test_clipboard_of_other_systems(grabbed, says, monkeypatch):
    monkeypatch.setattr("ggufvlm.media.sources.clipboard.sys.platform", "darwin")
    monkeypatch.setattr("PIL.ImageGrab.grabclipboard", lambda: grabbed)
    assert says in str(failure("clipboard:"))


def test_clipboard_image_of_other_systems(monkeypatch):
    monkeypatch.setattr("ggufvlm.media.sources.clipboard.sys.platform", "win32")
    monkeypatch.setattr("PIL.ImageGrab.grabclipboard", halves)
    assert media.load("clipboard:").id == media.load(halves()).id
