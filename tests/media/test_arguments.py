"""What is an image, what is a prompt, and what is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ggufvlm.errors import GGUFVLMError, ImageError, UsageError
from ggufvlm.media import ArgumentKind, classify, expand

IMAGE, PATTERN, MISSING, TEXT = ArgumentKind

SHOTS = [f"shots/{name}" for name in ("1.png", "2.png", "10.png", ".hidden.png", "notes.txt")]
FILES = ["photo.jpg", *SHOTS, "empty/readme.md", "notes.txt", "noending"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in [*FILES, "my photo.jpg", "scan [1].png"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        # named without a path
        ("-", IMAGE),
        ("clipboard:", IMAGE),
        ("http://example.org/a.png", IMAGE),
        ("HTTPS://example.org/image?id=3", IMAGE),
        ("http://example.org/my cat.png", IMAGE),
        ("https://example.org is whose page?", TEXT),
        ("file:///no/such.png", IMAGE),
        ("data:image/png;base64,AAAA", IMAGE),
        ("data:,x", IMAGE),
        ("data: what, where?", TEXT),
        ("clipboard", TEXT),
        # files and folders
        ("photo.jpg", IMAGE),
        ("./photo.jpg", IMAGE),
        ("~/photo.jpg", IMAGE),
        ("my photo.jpg", IMAGE),
        ("scan [1].png", IMAGE),
        ("notes.txt", IMAGE),
        ("noending", IMAGE),
        ("shots", PATTERN),
        ("shots/", PATTERN),
        (".", PATTERN),
        ("shots/*.png", PATTERN),
        ("shots/?.png", PATTERN),
        ("**/*.png", PATTERN),
        ("~/shots/*", PATTERN),
        # nothing there
        ("foto.jpg", MISSING),
        ("foto.JPEG", MISSING),
        ("page.pdf", MISSING),
        ("shots/3.png", MISSING),
        ("nowhere/3.png", MISSING),
        ("shots/*.jpg", MISSING),
        ("nowhere/*", MISSING),
        ("nowhere/", MISSING),
        ("./nothing", MISSING),
        ("~/nothing", MISSING),
        ("*.jp*g.bak", MISSING),
        ("My Photo 2.jpg", MISSING),
        ("shots/my cat.png", MISSING),
        ("Screenshot 2024-05-01 at 10.00.00.png", MISSING),
        ("/home/nobody/My Images/a.png", MISSING),
        # prompts
        ("", TEXT),
        (" ", TEXT),
        ("describe", TEXT),
        ("What is this?", TEXT),
        ("Why?", TEXT),
        ("?", TEXT),
        ("What is in photo.jpg?", TEXT),
        ("what is odd in photo.jpg", TEXT),
        ("look at images/2.png", TEXT),
        ("Is it *red* or **blue**?", TEXT),
        ("**bold**", TEXT),
        ("Read the text [briefly]", TEXT),
        ("Count to 3.5", TEXT),
        ("yes/no", TEXT),
        ("List:\n- a.png", TEXT),
        ("x" * 5000, TEXT),
        ("a\x00b", TEXT),
        (".png", TEXT),
        ("3.14", TEXT),
        ("/help", TEXT),
    ],
)
def test_classify(argument, kind):
    assert classify(argument) is kind


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], ([], None)),
        (["photo.jpg"], (["photo.jpg"], None)),
        (["photo.jpg", "What?"], (["photo.jpg"], "What?")),
        (["What?"], ([], "What?")),
        (["photo.jpg", "-", "photo.jpg", "Compare"], (["photo.jpg", "-", "photo.jpg"], "Compare")),
        (["shots", "x"], ([str(Path(f"shots/{n}.png")) for n in (1, 2, 10)], "x")),
        (["shots/*"], ([str(Path(f"shots/{n}.png")) for n in (1, 2, 10)], None)),
        (["shots/1*.png", "photo.jpg"], ([str(Path("shots/1.png")), str(Path("shots/10.png")), "photo.jpg"], None)),
        (["photo.jpg", ""], (["photo.jpg"], "")),
        (["notes.txt"], (["notes.txt"], None)),
    ],
)
def test_expand(arguments, wanted):
    assert expand(arguments) == wanted


def test_expand_absolute_and_home_patterns(folder):
    wanted = [str(folder / f"shots/{n}.png") for n in (1, 2, 10)]
    assert expand([f"{folder}/shots/*.png"])[0] == wanted
    assert expand(["~/shots/*.png"])[0] == wanted
    assert expand([str(folder / "shots")])[0] == wanted


def test_expand_patterns_of_the_folder_above(monkeypatch):
    monkeypatch.chdir("shots")
    assert expand(["../*.jpg"])[0] == [str(Path("../my photo.jpg")), str(Path("../photo.jpg"))]
    assert expand([".."])[0] == expand(["../*"])[0]


def test_missing_image_is_an_error_with_a_way_out():
    with pytest.raises(ImageError) as caught:
        expand(["foto.jpg", "What?"])
    assert str(caught.value) == "no such image: foto.jpg"
    assert caught.value.hint == "did you mean photo.jpg? (a prompt that looks like a file name goes through -p)"
    with pytest.raises(ImageError) as caught:
        expand(["photo.jpg", "zzzzzzz.gif"])
    assert caught.value.hint == "a prompt that looks like a file name goes through -p"


def test_a_link_to_nothing_is_not_suggested_for_itself():
    Path("gone.jpg").symlink_to("nowhere.jpg")
    for argument in ("gone.jpg", "./gone.jpg"):
        with pytest.raises(ImageError) as caught:
            expand([argument])
        assert str(caught.value) == f"{argument}: a link to a file that is not there"
        assert caught.value.hint is None


def test_suggestions_come_from_the_same_folder():
    with pytest.raises(ImageError) as caught:
        expand(["shots/11.png"])
    assert str(Path("shots/1")) in caught.value.hint


@pytest.mark.parametrize("argument", ["empty", "empty/*"])
def test_no_images_there(argument):
    with pytest.raises(ImageError, match=r"^empty.*: no images there$"):
        expand([argument])


def test_two_texts_ask_for_quotes():
    with pytest.raises(UsageError) as caught:
        expand(["photo.jpg", "What", "is", "this?"])
    assert str(caught.value) == 'more than one prompt: "What" and "is"'
    assert caught.value.hint == 'quote it: "What is this?"'


@pytest.mark.parametrize("behind", ["photo.jpg", "shots", "-", "https://example.org/a.png"])
def test_images_come_first(behind):
    with pytest.raises(UsageError, match="an image behind the prompt") as caught:
        expand(["What?", behind])
    assert "images come first" in caught.value.hint


def test_messages_are_one_line():
    for arguments in (["two\nlines", "two\nlines"], ["a\tb.png"], ["x" * 9000, "photo.jpg"]):
        with pytest.raises(GGUFVLMError) as caught:
            expand(arguments)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000


WORDS = st.one_of(
    st.text(max_size=30),
    # Not from the root: `/**` is a pattern too, and would read the whole disk.
    st.text("ab12 ./\\*?[]~:-\n\x00é", max_size=12).filter(lambda text: not text.startswith("/")),
    st.sampled_from([*FILES, "shots", "shots/*.png", "-", "a.png", "What is this?", "..", "**", "~"]),
)
# The folder is the same for every example: nothing here writes.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(WORDS)
@example("[")
@example("a**b")
@example("/**")
def test_classify_takes_everything(argument):
    assert classify(argument) in ArgumentKind


@quick
@given(st.lists(st.sampled_from([*FILES, "my photo.jpg", "shots", "-"])), st.none() | st.just("What is this?"))
def test_images_then_prompt_always_works(images, prompt):
    sources, text = expand([*images, *([prompt] if prompt else [])])
    assert text == prompt
    assert len(sources) == len(images) + 2 * images.count("shots")


@quick
@given(st.lists(WORDS, max_size=4))
def test_expand_gives_images_or_our_errors(arguments):
    try:
        sources, prompt = expand(arguments)
    except GGUFVLMError as error:
        kinds, message = [], str(error)
    else:
        kinds, message = [classify(source) for source in sources], ""
        assert prompt is None or (prompt == arguments[-1] and classify(prompt) is TEXT)
    assert set(kinds) <= {IMAGE}
    assert "\n" not in message


@quick
@given(st.text("abcdefgh_", min_size=1, max_size=12), st.sampled_from([".png", ".JPG", ".heic", ".webp", ".svg"]))
def test_a_word_that_ends_like_an_image_is_never_a_prompt(stem, ending):
    assert classify(stem + ending) in (IMAGE, MISSING)


@quick
@given(st.text("abc XYZ,", min_size=1).filter(str.strip), st.sampled_from("?!."))
def test_a_sentence_is_a_prompt(words, end):
    assert classify(f"Tell me {words.strip()}{end}") is TEXT
