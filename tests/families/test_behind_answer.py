"""What stands behind an answer is what the template would have put there in the whole dialogue."""

from __future__ import annotations

import pytest

from ggufvlm.errors import UsageError
from ggufvlm.families import ChatHandler, Message, ModelFacts, PlainHandler, SpecialTokens
from ggufvlm.families.behind_answer import rendered_behind_answer
from ggufvlm.families.templates import BUILTIN_TEMPLATES
from tests.families.test_template import BLUE, NO_SYSTEM, QWEN, RED, STRINGS_ONLY, TOKENS, shown, user

# as Gemma's, shortened
IN_TURNS = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}<assistant>"
)
TEMPLATES = {"qwen": QWEN, "strings": STRINGS_ONLY, "no system": NO_SYSTEM, "in turns": IN_TURNS}


def handler(name: str) -> ChatHandler:
    if name in TEMPLATES:
        return ChatHandler(ModelFacts(template=TEMPLATES[name], tokens=TOKENS))
    return ChatHandler(ModelFacts(builtin_template=name, tokens=SpecialTokens("<s>", "</s>")))


@pytest.mark.parametrize("name", [*TEMPLATES, *BUILTIN_TEMPLATES])
def test_it_is_the_rest_of_the_dialogue(name: str) -> None:
    first, answer, second = user(RED, "what?"), Message("assistant", ("a cat",)), user(BLUE, "where?")
    try:
        whole = shown(handler(name).render([first, answer, second]))
    except UsageError:
        with pytest.raises(UsageError, match="no context can be continued"):
            rendered_behind_answer(handler(name), "", second)
        return
    behind = shown(rendered_behind_answer(handler(name), "", second))
    assert whole.replace("»", "").replace("«", "").endswith("a cat" + behind.replace("»", "").replace("«", ""))
    assert "(blue)" in behind
    assert "where?" in behind


def test_a_system_message_has_its_place_or_begins_the_question() -> None:
    behind = shown(rendered_behind_answer(handler("qwen"), "be brief", user("where?")))
    assert behind == (
        "<|im_end|>\n<|im_start|>system\n«be brief»<|im_end|>\n<|im_start|>user\n«where?»<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    behind = shown(rendered_behind_answer(handler("in turns"), "be brief", user("where?")))
    assert behind.startswith("</><user>")
    assert 0 < behind.index("be brief") < behind.index("where?")


def test_without_a_template_there_is_nothing_between() -> None:
    plain = PlainHandler(ChatHandler(ModelFacts()))
    assert shown(rendered_behind_answer(plain, "", user("where?"))) == "«where?»"


def test_a_template_that_shows_no_answers() -> None:
    only_questions = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(UsageError, match="no context can be continued"):
        rendered_behind_answer(ChatHandler(ModelFacts(template=only_questions)), "", user("where?"))
