"""``ggufvlm alt``: a diff on stdout, files that change only where they have to."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, Run
from tests.support.scenes import random_scene

OTHER = random_scene(random.Random(7), 196, 140)
ASK = ("-p", "Describe this image.")

HTML = """<!doctype html>\r
<html><body>\r
<img src="blocks.png">\r
<img src="/img/other%20one.png?v=2" class=x>\r
<img src="blocks.png" alt="">\r
<img src="dot.png">\r
<img src="https://example.invalid/a.png">\r
</body></html>"""
MARKDOWN = "# Café\n\n![](../blocks.png)\n\n`![](x.png)`\n"


@pytest.fixture
def site(folder: Path) -> Path:
    """A page and a Markdown file that share an image."""
    from PIL import Image

    (folder / "img").mkdir()
    (folder / "docs").mkdir()
    OTHER.draw(196, 140).save(folder / "img" / "other one.png")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    (folder / "index.html").write_bytes(HTML.encode())
    (folder / "docs" / "read.md").write_bytes(MARKDOWN.encode())
    return folder


FILLED_HTML = HTML.replace('<img src="blocks.png">', f'<img alt="{SCENE.caption}" src="blocks.png">').replace(
    '<img src="/img', f'<img alt="{OTHER.caption}" src="/img'
)
FILLED_MARKDOWN = MARKDOWN.replace("![](..", f"![{SCENE.caption}](..")


def test_the_diff_can_be_applied_by_git(run: Run, site: Path) -> None:
    done = run("alt", ".", *ASK)
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode() == "1 on other computers left out; --remote downloads them\n"
    assert (site / "index.html").read_bytes() == HTML.encode()
    subprocess.run(["git", "apply", "--verbose", "-"], cwd=site, input=done.stdout, check=True, capture_output=True)
    assert (site / "index.html").read_bytes() == FILLED_HTML.encode()
    assert (site / "docs" / "read.md").read_bytes() == FILLED_MARKDOWN.encode()
    again = run("alt", "docs", *ASK)
    assert (again.stdout, again.stderr) == (b"", b"no image without alternative text\n")


def test_apply_writes_the_files_and_keeps_their_permissions(run: Run, site: Path) -> None:
    (site / "index.html").chmod(0o640)
    done = run("alt", "index.html", "docs/read.md", "--apply", *ASK)
    assert (done.returncode, done.stdout) == (0, b"")
    assert "index.html: 2 written\n" in done.stderr.decode()
    assert (site / "index.html").read_bytes() == FILLED_HTML.encode()
    assert (site / "index.html").stat().st_mode & 0o777 == 0o640
    assert (site / "docs" / "read.md").read_bytes() == FILLED_MARKDOWN.encode()
    left = {path.name for path in site.iterdir()} - {"cache"}
    assert left == {"blocks.png", "docs", "dot.png", "img", "index.html"}, "no partial files"


def test_a_link_out_of_the_folder_is_not_written_through_unless_it_is_named(run: Run, site: Path) -> None:
    (site / "docs" / "blocks.png").write_bytes((site / "blocks.png").read_bytes())
    (site / "far.md").write_text("![](blocks.png)\n")
    (site / "docs" / "far.md").symlink_to("../far.md")
    done = run("alt", "docs", "--apply", *ASK)
    assert (done.returncode, (site / "far.md").read_text()) == (5, "![](blocks.png)\n")
    assert b"docs/far.md: a link that leads out of docs" in done.stderr
    assert SCENE.caption in (site / "docs" / "read.md").read_text()
    assert run("alt", "docs/far.md", "--apply", *ASK).returncode == 0
    assert (site / "far.md").read_text() == f"![{SCENE.caption}](blocks.png)\n"


@pytest.mark.parametrize("place", ["my site", "../elsewhere", "{folder}/absolute"])
def test_diffs_can_be_applied_whatever_the_folder_is_called(run: Run, site: Path, place: str) -> None:
    folder = Path(place.format(folder=site))
    names = ("a b.html", 'q"x.html', "é.html", "old.html")
    (site / folder).mkdir()
    (site / folder / "blocks.png").write_bytes((site / "blocks.png").read_bytes())
    for name in names:
        (site / folder / name).write_bytes(
            b"caf\xe9 <img src=blocks.png>\n" if name == "old.html" else b"<img src=blocks.png>\n"
        )
    done = run("alt", str(folder), *ASK)
    assert done.returncode == 0, done.stderr
    assert (b"patch -p1 -d ../elsewhere" in done.stderr) is (place == "../elsewhere")
    where = site / folder if place == "../elsewhere" else site
    subprocess.run(["git", "apply", "-"], cwd=where, input=done.stdout, check=True, capture_output=True)
    for name in names:
        assert b'<img alt="' in (site / folder / name).read_bytes(), name
    assert b"a b.html\t\n" in done.stdout, "for GNU patch"


@pytest.mark.slow
def test_addresses_from_the_top_lead_to_where_site_makers_keep_images(run: Run, site: Path) -> None:
    (site / "content").mkdir()
    for number, folder in enumerate(("static", "content/public", "other/x")):
        (site / folder).mkdir(parents=True)
        (site / folder / f"{number}.png").write_bytes((site / "blocks.png").read_bytes())
    (site / "content" / "a.md").write_text("![](/0.png)\n\n![](/1.png)\n")
    assert run("alt", "content", *ASK).stdout.decode().count(SCENE.caption) == 2
    (site / "content" / "a.md").write_text("![](/x/2.png)\n")
    assert run("alt", "content", *ASK).returncode == 5
    assert run("alt", "content", "--root", "other", *ASK).stdout.decode().count(SCENE.caption) == 1


def test_placeholders_of_one_pixel_are_decoration(run: Run, site: Path) -> None:
    from base64 import b64encode

    uri = f"data:image/png;base64,{b64encode((site / 'dot.png').read_bytes()).decode()}"
    (site / "lazy.html").write_text(f'<img src="{uri}">')
    done = run("alt", "lazy.html", "-m", "no-such-model")
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_folder_of_other_pages_is_told(run: Run, site: Path) -> None:
    (site / "src" / "pages").mkdir(parents=True)
    (site / "src" / "pages" / "a.mdx").write_text("![](a.png)\n")
    (site / "src" / "b.astro").write_text("<img src=a.png>\n")
    done = run("alt", "src")
    assert done.returncode == 3
    assert b"src: no HTML and no Markdown there" in done.stderr
    assert b".astro .mdx are not read" in done.stderr


def test_an_image_of_several_files_is_asked_about_once(run: Run, site: Path) -> None:
    (site / "second.md").write_text("![](blocks.png) ![](blocks.png) ![](img/../blocks.png)\n")
    done = run("alt", ".", *ASK, "--debug")
    assert done.stdout.decode().count(SCENE.caption) == 5
    program = (
        "from pathlib import Path\n"
        "from ggufvlm.tasks.alt.survey import survey\n"
        "from ggufvlm.tasks.alt.text_file import find_text_files\n"
        "print(len(survey(find_text_files([Path('.')]), remote=False).images))"
    )

    counted = subprocess.run([sys.executable, "-c", program], cwd=site, capture_output=True, text=True, check=True)
    assert counted.stdout == "2\n"


def test_missing_and_broken_images_are_warnings_and_code_5(run: Run, site: Path) -> None:
    (site / "broken.png").write_bytes((site / "blocks.png").read_bytes()[:100])
    (site / "page.md").write_text("![](none.png)\n\n![](broken.png)\n\n![](blocks.png)\n")
    done = run("alt", "page.md", *ASK)
    assert done.returncode == 5
    assert SCENE.caption in done.stdout.decode()
    warnings = done.stderr.decode().splitlines()
    assert warnings[0] == "warning: page.md:1: no such image: none.png"
    assert warnings[1].startswith("warning: page.md:3: ")
    assert "broken.png" in warnings[1]
    assert len(warnings) == 2


def test_texts_are_kept_to_the_limit(run: Run, site: Path) -> None:
    done = run("alt", "docs", "--max-length", "20", *ASK)
    (added,) = [line for line in done.stdout.decode().splitlines() if line.startswith("+!")]
    assert added == "+![A blue column and a…](../blocks.png)"[: len(added)]
    assert len(added[len("+![") : added.index("]")]) <= 20


def test_remote_images_on_request(run: Run, site: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        (site / "far.md").write_text(f"![]({address}/blocks.png)\n\n![]({address}/none.png)\n")
        done = run("alt", "far.md", "--remote", *ASK)
        assert run("alt", "far.md", *ASK).stdout == b""
        server.shutdown()
    assert f"+![{SCENE.caption}]({address}/blocks.png)" in done.stdout.decode()
    assert done.returncode == 5
    assert done.stderr.decode().startswith(f"warning: far.md:3: {address}/none.png: the server answered 404")


def test_files_in_old_codes_keep_their_bytes(run: Run, site: Path) -> None:
    old = "<p>caf\xe9</p><img src=blocks.png>\n".encode("latin-1")
    (site / "old.htm").write_bytes(old)
    assert run("alt", "old.htm", "--apply", "-n", "3", *ASK, "--prefill", "猫 ").returncode == 0
    new = (site / "old.htm").read_bytes()
    assert new.startswith(b'<p>caf\xe9</p><img alt="&#29483; ')
    assert new.endswith(b'" src=blocks.png>\n')


def test_nothing_to_do_loads_no_model(run: Run, site: Path) -> None:
    (site / "plain.md").write_text("no image\n")
    done = run("alt", "plain.md", "-m", "no-such-model")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"no image without alternative text\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.html"], 3, "none.html"),
        (["blocks.png"], 2, "neither HTML nor Markdown"),
        (["docs", "-m", "nope"], 4, "nope"),
    ],
)
def test_mistakes(run: Run, site: Path, arguments: list[str], code: int, words: str) -> None:
    done = run("alt", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode().splitlines()[0]
