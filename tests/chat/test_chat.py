"""A dialogue in Python: what it keeps, what it forgets, what it costs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ggufvlm import VLM, Chat, ImageError, InputError, SamplingParams, UsageError
from ggufvlm.chat.turn import MissingImage
from ggufvlm.media import crop, load
from tests.support.scenes import Block, Scene, random_scene

LEFT = Scene("white", (Block("blue", "column", (0.1, 0.15, 0.25, 0.9)), Block("red", "square", (0.5, 0.3, 0.8, 0.72))))
RIGHT = Scene("yellow", (Block("green", "bar", (0.2, 0.4, 0.8, 0.75)),))
WHERE, COUNT = "What is on the left?", "How many blocks are there?"


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.png", tmp_path / "b.png"
    LEFT.draw(140, 140).save(paths[0])
    RIGHT.draw(196, 140).save(paths[1])
    return paths


def test_a_staged_image_goes_with_the_next_question_only(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    chat.stage(images[0])
    assert chat.send(WHERE).text == "The blue column."
    assert chat.staged == []
    assert chat.send(COUNT).text == "2."
    assert [len(turn.images) for turn in chat.turns] == [1, 0]
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2


def test_twenty_turns_encode_each_image_once_and_read_only_what_is_new(fresh_demo: VLM, tmp_path: Path) -> None:
    scenes = [random_scene(random.Random(seed), 196, 140) for seed in (1, 2, 3)]
    for number, scene in enumerate(scenes):
        scene.draw(196, 140).save(tmp_path / f"{number}.png")
    chat, kept = Chat(fresh_demo), 0
    for turn in range(20):
        chat.stage(*([tmp_path / f"{turn // 7}.png"] if turn % 7 == 0 else []))
        question = (WHERE, COUNT, "Describe the image.", "What color is the background?")[turn % 4]
        usage = chat.send(question).usage
        assert usage.n_images_encoded == (turn % 7 == 0), f"turn {turn}"
        assert usage.n_cached == kept, f"turn {turn} computed cells again"
        kept = usage.n_prompt + usage.n_generated
    assert len(chat.turns) == 20
    assert len(chat.images) == 3


def test_streaming_adds_the_turn_at_its_end(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    stream = chat.stream("Describe the image.", [images[0]])
    first = next(stream)
    assert chat.turns == []
    assert first + "".join(stream) == LEFT.caption == chat.turns[0].answer


def test_a_stopped_answer_is_kept_as_far_as_it_came(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    with chat.stream("Detect all objects.", [images[0]]) as stream:
        first = next(stream)
    (turn,) = chat.turns
    assert turn.finish_reason == "abort"
    assert turn.answer == stream.answer.text
    assert turn.answer.startswith(first)
    assert chat.send(WHERE).text == "The blue column."


def test_what_is_staged_can_be_computed_while_the_question_is_typed(fresh_demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(fresh_demo)
    chat.prepare()
    chat.stage(images[0])
    chat.prepare()
    answer = chat.send(WHERE)
    assert answer.text == "The blue column."
    assert answer.usage.n_images_encoded == 0, "it was encoded before the question came"
    assert answer.usage.n_cached > 25
    chat.stage(images[1])
    chat.prepare()
    chat.drop_image(2)
    assert chat.send(COUNT).text == "2.", "what was prepared and is not asked does no harm"


def test_undo_and_regen(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    chat.send(WHERE, [images[0]])
    second = chat.send(COUNT)
    assert chat.regen().answer.text == second.text
    assert len(chat.turns) == 2
    assert chat.undo().text == COUNT
    assert chat.undo().images
    assert (chat.turns, chat.staged) == ([], [])
    for nothing_to_do in (chat.undo, chat.regen):
        with pytest.raises(UsageError, match="nothing has been asked"):
            nothing_to_do()


def test_an_error_leaves_the_dialogue_as_it_was(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    chat.stage(images[0])
    before = list(chat.staged)
    with pytest.raises(ImageError, match="none"):
        chat.send(WHERE, [images[1], images[0].with_name("none.png")])
    assert (chat.staged, chat.turns) == (before, [])
    with pytest.raises(UsageError, match="temperature"):
        Chat(demo, temperature=-1.0).send("Hello")


def test_dropping_and_replacing_by_number(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    chat.send(WHERE, [images[0]])
    chat.stage(images[1], images[0])
    assert [image.width for image in chat.images] == [140, 196, 140]
    chat.replace_image(1, images[1])
    assert chat.regen() is not None
    assert chat.drop_image(2).width == 196
    assert [len(turn.images) for turn in chat.turns] == [1]
    assert len(chat.staged) == 1
    chat.drop_image(1)
    assert chat.turns[0].images == ()
    assert chat.turns[0].text == WHERE, "what was said stays"
    for number in (0, 2):
        with pytest.raises(UsageError, match="there is no image"):
            chat.drop_image(number)
    assert chat.drop_turn().text == WHERE


def test_dropping_the_newest_image_keeps_the_cells_before_it(fresh_demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(fresh_demo)
    first = chat.send(WHERE, [images[0]])
    chat.send(COUNT, [images[1]])
    chat.drop_image(2)
    usage = chat.send(WHERE).usage
    assert usage.n_cached >= first.usage.n_prompt
    assert usage.n_images_encoded == 0


def test_measure_tells_what_fills_the_context(demo: VLM, images: tuple[Path, Path]) -> None:
    chat = Chat(demo)
    chat.stage(*images)
    size = chat.measure(WHERE)
    assert size.n_images == (25, 35)
    answer = chat.send(WHERE)
    assert answer.usage.n_prompt == size.total
    assert chat.measure().total == size.total + answer.usage.n_generated
    assert chat.measure(again=True).total == size.total


# -- files


def test_a_saved_dialogue_goes_on_with_the_same_answer(demo: VLM, images: tuple[Path, Path], tmp_path: Path) -> None:
    chat = Chat(demo, system="You are a helpful assistant.", temperature=0.0, stop=("@",))
    chat.send(WHERE, [images[0]])
    chat.stage(images[1])
    assert chat.save(tmp_path / "c.json") == []
    again = Chat.load(tmp_path / "c.json", demo)
    assert (again.turns, again.staged) == (chat.turns, chat.staged)
    assert (again.system, again.settings) == (chat.system, chat.settings)
    assert again.send("Describe the image.").text == chat.send("Describe the image.").text


def test_a_dialogue_is_not_saved_through_a_link(demo: VLM, tmp_path: Path) -> None:
    Chat(demo).save(tmp_path / "theirs.json")
    before = (tmp_path / "theirs.json").read_bytes()
    (tmp_path / "link.json").symlink_to("theirs.json")
    chat = Chat(demo, system="Be brief.")
    with pytest.raises(UsageError, match="is a link"):
        chat.save(tmp_path / "link.json")
    assert (tmp_path / "theirs.json").read_bytes() == before
    assert (tmp_path / "link.json").is_symlink()


def test_the_file_is_readable_and_moves_with_its_images(demo: VLM, images: tuple[Path, Path], tmp_path: Path) -> None:
    chat = Chat(demo)
    chat.send(WHERE, [images[0]])
    chat.save(tmp_path / "c.json")
    state = json.loads((tmp_path / "c.json").read_text())
    asked, answered = state["messages"]
    assert asked["content"][0] == {
        "type": "image",
        "path": "a.png",
        "source": str(images[0]),
        "sha256": load(images[0]).id,
        "width": 140,
        "height": 140,
    }
    assert asked["content"][1] == {"type": "text", "text": WHERE}
    assert answered == {"role": "assistant", "content": "The blue column.", "finish_reason": "stop"}
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    for name in ("c.json", "a.png"):
        (tmp_path / name).rename(elsewhere / name)
    assert not Chat.load(elsewhere / "c.json", demo).missing


def test_images_without_a_file_are_written_beside(demo: VLM, images: tuple[Path, Path], tmp_path: Path) -> None:
    chat = Chat(demo)
    chat.stage(images[0].read_bytes(), crop(load(images[1]), 0, 0, 98, 70))
    written = chat.save(tmp_path / "c.json")
    assert len(written) == 2
    assert all(path.parent == tmp_path and path.name.startswith("c-") for path in written)
    assert Chat.load(tmp_path / "c.json", demo).staged == chat.staged
    assert chat.save(tmp_path / "c.json"), "saving again replaces it"


def test_an_image_that_changed_since_it_was_staged_is_saved_as_it_was(
    demo: VLM, images: tuple[Path, Path], tmp_path: Path
) -> None:
    chat = Chat(demo)
    (image,) = chat.stage(images[0])
    images[0].write_bytes(images[1].read_bytes())
    (copy,) = chat.save(tmp_path / "c.json")
    assert load(copy).id == image.id


def test_missing_and_changed_images_are_told_and_never_guessed(
    demo: VLM, images: tuple[Path, Path], tmp_path: Path
) -> None:
    chat = Chat(demo)
    chat.send(WHERE, [images[0]])
    chat.stage(images[1])
    chat.save(tmp_path / "c.json")
    moved = images[0].rename(tmp_path / "moved.png")
    LEFT.draw(140, 140).save(images[1])
    again = Chat.load(tmp_path / "c.json", demo)
    assert list(again.missing) == [1, 2]
    assert "no such image" in again.missing[1].reason
    assert "another image" in again.missing[2].reason
    with pytest.raises(ImageError, match=r"a\.png of this dialogue is missing"):
        again.send(COUNT)
    again.save(tmp_path / "d.json")
    assert Chat.load(tmp_path / "d.json", demo).missing, "saving does not make it whole"
    again.replace_image(1, moved)
    assert isinstance(again.drop_image(2), MissingImage)
    assert again.send(COUNT).text == "2."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"ggufvlm": "1", "format": 99, "messages": []}',
        '{"ggufvlm": "1", "format": 1, "messages": [{"role": "user", "content": []}]}',
        '{"ggufvlm": "1", "format": 1, "messages": [1, 2]}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "settings": {"temprature": 1}}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "settings": {"temperature": -1}}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "staged": [{"path": 3}]}',
        "[" * 100_000,
        '{"ggufvlm": "1", "format": 1, "messages": [], "staged": ' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"ggufvlm": "1", "format": 1, "messages": [], "settings": {"stop": [1]}}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "settings": {"max_tokens": Infinity}}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "staged": [{"path": "gone", "sha256": "x", "width": 1e999}]}',
        '{"ggufvlm": "1", "format": 1, "messages": [], "staged": [{"path": "gone", "sha256": "x", "width": Infinity}]}',
        '{"ggufvlm": "1", "format": 1, "messages": [{"role": "user", "content": [{"type": "audio"}]},'
        ' {"role": "assistant", "content": "Yes."}]}',
    ],
)
def test_files_that_are_no_dialogue(demo: VLM, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json"):
        Chat.load(tmp_path / "c.json", demo)


def test_one_stop_string_in_a_dialogue_is_one(demo: VLM, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"ggufvlm": "1", "format": 1, "messages": [], "settings": {"stop": "abc"}}')
    assert SamplingParams(**Chat.load(tmp_path / "c.json", demo).settings).stop == ("abc",)


def test_saving_never_replaces_another_file(demo: VLM, images: tuple[Path, Path]) -> None:
    before = images[0].read_bytes()
    with pytest.raises(UsageError, match="no saved dialogue"):
        Chat(demo).save(images[0])
    assert images[0].read_bytes() == before
    with pytest.raises(UsageError, match="cannot be written"):
        Chat(demo).save(images[0].parent / "none" / "c.json")


def test_crop_takes_what_lies_inside() -> None:
    image = load(LEFT.draw(140, 100))
    part = crop(image, 70, 25, 70, 50)
    assert (part.width, part.height) == (70, 50)
    assert part.rgb == LEFT.draw(140, 100).crop((70, 25, 140, 75)).tobytes()
    assert image.width == 140
    for rectangle in ((-1, 0, 5, 5), (0, 0, 141, 5), (0, 0, 0, 5), (139, 99, 2, 1)):
        with pytest.raises(UsageError, match="does not lie inside"):
            crop(image, *rectangle)
