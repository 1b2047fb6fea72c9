"""The page: its files over plain HTTP, and all of it as a person uses it, in headless Chromium."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ggufvlm.server.contract import Limits
from tests.support.scenes import Scene, random_scene
from tests.support.small_server import LONG, SmallServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = Path(__file__).parents[2] / "ggufvlm/server/page/static"
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
DESCRIBE, DETECT = "Describe this image.", "Detect all objects."


@pytest.fixture(scope="module")
def server() -> Iterator[SmallServer]:
    with SmallServer(Limits()) as running:
        yield running


@pytest.fixture(scope="module")
def blocks() -> Scene:
    """Three blocks that the model finds."""
    return random_scene(random.Random(27), 196, 140)


@pytest.fixture
def image(tmp_path: Path, blocks: Scene) -> Path:
    file = tmp_path / "blocks.png"
    blocks.draw(196, 140).save(file)
    return file


# -- the files


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_files_have_their_types_and_a_strict_policy(server, path, kind):
    answer = httpx.get(server.url + path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = httpx.get(server.url + path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/router.py", "/page/../router.py", "/page/%2e%2e/router.py", "/page/index.html"]
)
def test_there_are_no_other_files(server, path):
    assert httpx.get(server.url + path).status_code == 404


def test_the_page_asks_for_nothing_from_elsewhere(server):
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
        assert "innerHTML" not in text


# -- in a browser

browser_test = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, server: SmallServer) -> Iterator[Open]:
    """Opens the page in a browser of its own; fails the test if the page logs an error or asks elsewhere."""
    troubles: list[str] = []
    with ExitStack() as contexts:

        def open_at(url: str = server.url, *, models: bool = True, **options: Any) -> Any:
            context = contexts.enter_context(
                browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
            )
            page = context.new_page()
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
            page.on(
                "request", lambda asked: None if asked.url.startswith((url, "blob:")) else troubles.append(asked.url)
            )
            page.goto(url)
            if models:
                page.locator("#model:enabled").wait_for()
            return page

        yield open_at
    assert troubles == []


def answered(page: Any, n: int = 1) -> Any:
    """The n-th answer, when it is complete."""
    answer = page.locator('.answer[aria-busy="false"]').nth(n - 1)
    answer.wait_for(state="attached")  # an empty one is not visible
    return answer


def ask(page: Any, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Send").click()


def choose(page: Any, *files: Path | dict[str, Any]) -> None:
    n_before = page.locator("#staged li").count()
    page.set_input_files("#files", list(files))
    page.locator("#staged li").nth(n_before + len(files) - 1).wait_for()


@browser_test
def test_choose_ask_and_ask_again(open_page, image, blocks):
    page = open_page()
    choose(page, image)
    ask(page, DESCRIBE)
    assert answered(page).inner_text() == blocks.caption
    ask(page, "How many blocks are there?")
    assert answered(page, 2).inner_text() == "3."
    assert page.locator(".turn img").count() == 1
    page.get_by_role("button", name="New dialogue").click()
    assert page.locator(".turn").count() == 0
    page.get_by_role("button", name="Choose an image").wait_for()


@browser_test
def test_boxes_lie_where_the_blocks_are(open_page, image, blocks):
    page = open_page()
    choose(page, image)
    ask(page, DETECT)
    answer = answered(page)
    area = answer.locator(".canvas img").bounding_box()
    said = json.loads(page.locator("details pre").text_content())
    assert [entry["label"] for entry in said] == [block.name for block in blocks.blocks]
    assert answer.locator(".name").all_inner_texts() == [block.name for block in blocks.blocks]
    assert area["width"] / area["height"] == pytest.approx(196 / 140, abs=0.02)
    for entry, block, frame in zip(said, blocks.blocks, answer.locator(".box").all(), strict=True):
        drawn = frame.bounding_box()
        shares = (
            (drawn["x"] - area["x"]) / area["width"],
            (drawn["y"] - area["y"]) / area["height"],
            (drawn["x"] + drawn["width"] - area["x"]) / area["width"],
            (drawn["y"] + drawn["height"] - area["y"]) / area["height"],
        )
        assert shares == pytest.approx([number / 1000 for number in entry["bbox_2d"]], abs=0.01)
        assert _overlap(shares, block.box) > 0.7
    assert answer.get_by_role("button", name=f"{blocks.blocks[0].name} from").count() == 1


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


@browser_test
def test_boxes_of_several_images_can_be_shown_on_each(open_page, image, tmp_path):
    other = tmp_path / "other.png"
    random_scene(random.Random(9), 196, 140).draw(196, 140).save(other)
    page = open_page()
    choose(page, image, other)
    ask(page, DETECT)
    shown = answered(page).locator(".canvas img")
    first = shown.get_attribute("alt")
    page.get_by_role("button", name="Image 2").click()
    assert (first.partition(",")[0], shown.get_attribute("alt").partition(",")[0]) == ("blocks.png", "other.png")
    assert page.get_by_role("button", name="Image 2").get_attribute("aria-pressed") == "true"


@browser_test
def test_drop_and_paste(open_page, image, blocks):
    data = base64.b64encode(image.read_bytes()).decode()
    transfer = """(data) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
        return transfer;
    }"""
    page = open_page()
    dropped = page.evaluate_handle(transfer, data)
    page.dispatch_event("body", "dragenter", {"dataTransfer": dropped})
    assert page.get_by_text("Drop the images here").is_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    page.locator("#staged img").wait_for()
    assert not page.get_by_text("Drop the images here").is_visible()
    page.get_by_role("button", name="Remove dropped.png").click()
    assert page.locator("#staged img").count() == 0
    pasted = page.evaluate_handle(transfer, data)
    page.evaluate(
        "(d) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: d, bubbles: true}))", pasted
    )
    page.locator("#staged img").wait_for()
    page.get_by_role("button", name=DESCRIBE).click()
    assert answered(page).inner_text() == blocks.caption


@browser_test
def test_with_the_keyboard_alone(open_page, image, blocks):
    page = open_page()
    page.on("filechooser", lambda chooser: None)  # Chromium is told now, not while the key is pressed
    stops = []
    for _ in range(4):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert stops == ["skip", "model", "zone", "add"]
    page.keyboard.press("Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(image)
    page.locator("#staged img").wait_for()
    page.keyboard.type("Describe")
    page.keyboard.press("Shift+Enter")
    assert page.locator("#question").input_value() == "Describe\n"
    page.keyboard.press("Backspace")
    page.keyboard.type(" this image.")
    page.keyboard.press("Enter")
    assert answered(page).inner_text() == blocks.caption
    page.locator("#send").wait_for()
    page.keyboard.type("What is on the left?")  # the focus has stayed in the line
    page.keyboard.press("Enter")
    assert answered(page, 2).inner_text().endswith(f"{blocks.blocks[0].name}.")


@browser_test
def test_on_a_phone(open_page, image, blocks):
    page = open_page(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    choose(page, image)
    page.get_by_role("button", name=DETECT).tap()
    answered(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 26
    assert page.locator("#question").bounding_box()["y"] < 640


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(open_page, image, scheme):
    """axe-core's rules for WCAG 2.2 AA and its best practices, at the start and with an answer and boxes."""
    import axe_core_python as axe

    source = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = open_page(color_scheme=scheme, bypass_csp=True)
    page.evaluate(source)
    assert _violations(page) == []
    choose(page, image)
    ask(page, DETECT)
    answered(page)
    choose(page, image)
    page.get_by_text("Answer as text").click()
    assert _violations(page) == []


def _violations(page: Any) -> list[str]:
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@browser_test
def test_answers_are_announced(open_page, image):
    page = open_page()
    assert page.get_by_label("Your question").count() == 1
    choose(page, image)
    ask(page, DESCRIBE)
    assert answered(page).get_attribute("aria-live") == "polite"
    assert page.get_by_role("status").inner_text() == "The answer is complete."


def sent_images(page: Any, question: str = DESCRIBE) -> list[bytes]:
    """What the page sends for the images that are chosen."""
    with page.expect_request("**/v1/chat/completions") as asked:
        ask(page, question)
    parts = json.loads(asked.value.post_data)["messages"][-1]["content"]
    answered(page)
    uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(uri.startswith("data:image/") for uri in uris)
    return [base64.b64decode(uri.partition(",")[2]) for uri in uris]


def _file(image: Image.Image, name: str, kind: str, **options: Any) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": file.getvalue()}


@browser_test
def test_small_images_are_sent_as_they_are(open_page, image):
    page = open_page()
    choose(page, image)
    assert sent_images(page) == [image.read_bytes()]


@browser_test
def test_large_images_are_shrunk_upright_and_opaque(open_page, blocks):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    photo = _file(blocks.draw(3000, 2000), "photo.jpg", "JPEG", exif=exif)
    glass = _file(Image.new("RGBA", (2600, 1900), (0, 0, 0, 0)), "glass.png", "PNG")
    page = open_page()
    choose(page, photo, glass)
    turned, opaque = (Image.open(io.BytesIO(data)) for data in sent_images(page))
    assert turned.height / turned.width == pytest.approx(1.5, abs=0.01)
    assert 3_900_000 < turned.width * turned.height <= 4_010_000
    assert turned.getexif().get(0x0112, 1) == 1
    assert opaque.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


@browser_test
def test_images_that_the_browser_cannot_show_go_to_the_server(open_page, blocks):
    page = open_page()
    choose(page, _file(blocks.draw(196, 140), "scan.tiff", "TIFF"))
    assert page.locator("#staged").inner_text().strip() == "scan.tiff"
    ask(page, DESCRIBE)
    assert answered(page).inner_text() == blocks.caption


@browser_test
def test_what_is_no_image_is_named(open_page):
    page = open_page()
    page.set_input_files("#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    page.get_by_role("alert").get_by_text("notes.txt is not an image.").wait_for()
    page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": b""})
    page.get_by_role("alert").get_by_text("a.png is empty.").wait_for()


@browser_test
def test_errors_of_the_server_are_one_line_and_lose_nothing(open_page):
    page = open_page()
    choose(page, {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nbroken"})
    ask(page, "What is this?")
    alert = page.get_by_role("alert")
    alert.get_by_text("broken.png: ").wait_for()
    assert "\n" not in alert.inner_text()
    assert page.locator(".turn").count() == 0
    assert page.get_by_label("Your question").input_value() == "What is this?"
    assert page.locator("#staged li").count() == 1


@browser_test
def test_waiting_can_be_stopped_and_a_busy_server_says_so(open_page, image, blocks):
    with SmallServer(Limits(queue=1), n_slots=1) as small:
        page, other = open_page(small.url), open_page(small.url)
        choose(page, image)
        with httpx.stream("POST", f"{small.url}/api/generate", json=LONG) as long:
            lines = long.iter_lines()  # kept: an iterator that is dropped closes the connection
            next(lines)
            ask(page, DESCRIBE)
            for _ in range(200):
                if small.pool.n_open == 2:
                    break
                page.wait_for_timeout(20)
            ask(other, DESCRIBE)
            other.get_by_role("alert").get_by_text("The server is busy. Try again in").wait_for()
            page.get_by_role("button", name="Stop the answer").click()
            page.get_by_role("button", name="Send").wait_for()
        assert page.get_by_label("Your question").input_value() == DESCRIBE
        assert page.locator("#staged li").count() == 1
        assert page.get_by_role("alert").count() == 0
        page.get_by_role("button", name="Send").click()
        assert answered(page).inner_text() == blocks.caption


@browser_test
def test_a_new_dialogue_while_waiting_leaves_the_old_question_behind(open_page, image, tmp_path):
    with SmallServer(Limits(), n_slots=1) as small:
        page = open_page(small.url)
        choose(page, image)
        with httpx.stream("POST", f"{small.url}/api/generate", json=LONG) as long:
            lines = long.iter_lines()  # kept: an iterator that is dropped closes the connection
            next(lines)
            ask(page, DETECT)
            page.get_by_role("button", name="Stop the answer").wait_for()
            page.get_by_role("button", name="New dialogue").click()
            page.get_by_role("button", name="Send").wait_for()
        assert page.get_by_label("Your question").input_value() == ""
        assert page.locator("#staged li").count() == 0
        assert page.locator(".turn").count() == 0
        assert page.get_by_role("alert").count() == 0
        other = random_scene(random.Random(9), 196, 140)
        other.draw(196, 140).save(tmp_path / "other.png")
        choose(page, tmp_path / "other.png")
        ask(page, DESCRIBE)
        assert answered(page).inner_text() == other.caption


def slow_network(page: Any) -> None:
    """As over a bad line: answers of the built-in model are there in an instant otherwise."""
    line = {"offline": False, "latency": 0, "downloadThroughput": 3000, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


@browser_test
def test_an_answer_can_be_stopped_in_the_middle(open_page, image):
    page = open_page()
    choose(page, image)
    slow_network(page)
    ask(page, DETECT)
    page.locator(".box").first.wait_for()
    page.keyboard.press("Escape")
    answered(page)
    assert page.get_by_text("Stopped.").is_visible()
    assert page.locator("#send").is_visible()
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(page.locator("details pre").text_content())


class Scripted(BaseHTTPRequestHandler):
    """Serves the page, and a stream whose bytes the test wrote: what a server says when things go wrong."""

    stream: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2] or "index.html"
        if self.path == "/v1/models":
            self.answer(b'{"data": [{"id": "demo"}]}', "application/json")
        else:
            self.answer((PAGE / name).read_bytes(), TYPES[name.rpartition(".")[2]])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"", "text/event-stream")
        for piece in self.stream:
            self.wfile.write(piece)
            self.wfile.flush()

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def said(text: str, **more: Any) -> bytes:
    chunk = {"choices": [{"delta": {"content": text}, "finish_reason": None, **more}]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


END = b"data: [DONE]\n\n"
ACCENT = said("Caf\u00e9.")
SPLIT = ACCENT.index(b"\xc3") + 1


@browser_test
@pytest.mark.parametrize(
    ("stream", "text", "line"),
    [
        ((said("Half"),), "Half", "The connection ended before the answer was complete."),
        ((said("Half"), b'data: {"error": {"message": "it broke"}}\n\n'), "Half", "it broke"),
        ((said("Long"), said("", finish_reason="length"), END), "Long", "Cut at the limit of its length."),
        (
            (said("Long"), said("", finish_reason="length", stop_reason="max_tokens"), END),
            "Long",
            "Cut at the limit of its length.",
        ),
        (
            (said("Long"), said("", finish_reason="length", stop_reason="context"), END),
            "Long",
            "Cut: the context is full.",
        ),
        (
            (said("So so"), said("", finish_reason="length", stop_reason="repetition"), END),
            "So so",
            "Stopped: it was in a repetition loop.",
        ),
        ((ACCENT[:SPLIT], ACCENT[SPLIT:], END), "Caf\u00e9.", None),
        ((b": a comment\r\n", said("Lines").replace(b"\n", b"\r\n"), END), "Lines", None),
        ((said(""), END), "", "The model said nothing."),
    ],
)
def test_streams_of_every_kind(open_page, stream, text, line):
    handler = type("Handler", (Scripted,), {"stream": stream})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as scripted:
        thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        page = open_page(f"http://127.0.0.1:{scripted.server_port}")
        ask(page, "What is this?")
        assert answered(page).inner_text() == text
        if line is not None:
            page.locator(".turn").get_by_text(line).wait_for()
        page.locator("#send").wait_for()
        scripted.shutdown()
        thread.join()


@browser_test
def test_a_server_with_a_key(open_page, image, blocks):
    with SmallServer(Limits(), api_key="sesame") as small:
        page = open_page(small.url, models=False)
        page.get_by_role("alert").get_by_text("This server asks for an API key.").wait_for()
        field = page.get_by_label("API key of this server")
        assert field.evaluate("element => element === document.activeElement")
        field.fill("wrong")
        field.press("Enter")
        page.get_by_text("This API key is not the server's.").wait_for()
        field.fill("sesame")
        field.press("Enter")
        page.locator("#model option").get_by_text("demo").wait_for(state="attached")
        assert not field.is_visible()
        choose(page, image)
        ask(page, DESCRIBE)
        assert answered(page).inner_text() == blocks.caption
        page.reload()
        page.locator("#model option").get_by_text("demo").wait_for(state="attached")
    assert not open_page().get_by_label("API key of this server").is_visible()


@browser_test
def test_a_server_that_is_gone(open_page, image):
    with SmallServer(Limits()) as small:
        page = open_page(small.url)
    ask(page, DESCRIBE)
    page.get_by_role("alert").get_by_text("The server does not answer. Is ggufvlm serve still running?").wait_for()


@browser_test
def test_text_is_never_markup(open_page, server):
    page = open_page()
    evil = "<img src=x onerror=alert(1)> <b>bold</b> [link](javascript:alert(1)) ![x](http://example.org/x.png)"
    html = page.evaluate(
        """async (text) => {
            const { renderMarkdown } = await import("/page/markdown.js");
            const place = document.createElement("div");
            renderMarkdown(place, text);
            return [place.querySelectorAll("*:not(p)").length, place.textContent];
        }""",
        evil,
    )
    assert html == [0, evil]
    ask(page, evil)
    answered(page)
    assert page.locator(".asked").inner_text() == evil
    assert page.locator(".turn img, .turn b").count() == 0


@browser_test
@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("## Title ##\nText", "<h3>Title</h3><p>Text</p>"),
        ("a **b** *c* `d*e*`", "<p>a <strong>b</strong> <em>c</em> <code>d*e*</code></p>"),
        ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
        ("- one\n- **two**", "<ul><li>one</li><li><strong>two</strong></li></ul>"),
        ("Items:\n- one\n- two", "<p>Items:</p><ul><li>one</li><li>two</li></ul>"),
        ("3. c\n4. d", '<ol start="3"><li>c</li><li>d</li></ol>'),
        ("```py\na < b\n\n# no title\n```\nafter", "<pre><code>a &lt; b\n\n# no title</code></pre><p>after</p>"),
        ("```\nnot closed", "<pre><code>not closed</code></pre>"),
        (
            "| a | b |\n|---|---|\n| 1 | 2 |",
            '<table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
            "<tbody><tr><td>1</td><td>2</td></tr></tbody></table>",
        ),
        ("> said\n> so", "<blockquote>said<br>so</blockquote>"),
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("---", "<hr>"),
    ],
)
def test_markdown(open_page, text, html):
    """The same whether it comes at once or letter by letter."""
    drawn = open_page().evaluate(
        """async (text) => {
            const { renderMarkdown } = await import("/page/markdown.js");
            const [whole, grown] = [document.createElement("div"), document.createElement("div")];
            renderMarkdown(whole, text);
            for (let n = 1; n <= text.length; n += 1) renderMarkdown(grown, text.slice(0, n));
            return [whole.innerHTML, grown.innerHTML];
        }""",
        text,
    )
    assert drawn == [html, html]


@browser_test
@pytest.mark.parametrize(
    ("text", "scale", "boxes", "rest"),
    [
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]', "?", [("cat", [0.1, 0.2, 0.3, 0.4])], ""),
        ('```json\n[{"box_2d": [200, 100, 400, 300], "label": "cat"}]\n```', "?", [("cat", [0.1, 0.2, 0.3, 0.4])], ""),
        (
            'One: [{"point_2d": [500, 250], "label": "nose"}] there.',
            "?",
            [("nose", [0.5, 0.25, 0.5, 0.25])],
            "One:\n\nthere.",
        ),
        ('[{"bbox_2d": [1, 2, 300, 400], "label": "a"}, {"bbox_2d": [1, 2', "?", [("a", [0.001, 0.002, 0.3, 0.4])], ""),
        ('{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "label": "cat"}', "?", [("cat", [0.1, 0.2, 0.3, 0.4])], ""),
        ('{"bbox_2d": [300, 400, 100, 200]}', "?", [("", [0.1, 0.2, 0.3, 0.4])], ""),
        ('[{"bbox_2d": [100, 200, 1300, 400], "label": "in pixels"}]', "?", [], None),
        ('{"bbox_2d": "100", "label": 3} {"bbox_2d": [1, 2, 3]} {"a": {}}', "?", [], None),
        ("no JSON {at all}", "?", [], None),
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "in pixels"}]', None, [], None),
        ('{"bbox_2d": [50, 100, 150, 200], "label": "cat"}', 500, [("cat", [0.1, 0.2, 0.3, 0.4])], ""),
        ('{"bbox_2d": [0, 0, 1, 1], "label": "dust"}', 1000, [("dust", [0, 0, 0.001, 0.001])], ""),
        ("a cat(100,200),(300,400)", 1000, [("a cat", [0.1, 0.2, 0.3, 0.4])], ""),
        ("a cat(100,200),(300,400)", "?", [], None),
    ],
)
def test_boxes_in_answers(open_page, text, scale, boxes, rest):
    """With what the server says of the model's numbers, "?" where it says nothing."""
    found = open_page().evaluate(
        """async ([text, scale]) => {
            const { findPlaces } = await import("/page/boxes.js");
            return findPlaces(text, scale === "?" ? undefined : scale);
        }""",
        [text, scale],
    )
    assert [(place["label"], place["box"]) for place in found["places"]] == boxes
    assert found["rest"] == (text if rest is None else rest)
