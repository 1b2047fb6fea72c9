"""Templates look into texts, and cannot make a part of the prompt of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import UsageError
from ggufvlm.families.hidden_text import HIDDEN, Alphabet, HiddenText
from ggufvlm.families.messages import Message
from ggufvlm.families.template import SpecialTokens, render
from tests.families.template_cases import SOURCES

TEXTS = st.text(st.sampled_from("ab<|>/ \n\t\u3000ü🙂"), max_size=12)
CALLS = (
    *("lower", "upper", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "title", "capitalize"),
    *("isspace", "isdigit", "isalpha", "swapcase", "casefold", "__len__", "__hash__", "__repr__"),
)
CALLS_WITH_ONE = (
    *("split", "rsplit", "partition", "rpartition", "strip", "lstrip", "rstrip", "find", "rfind", "count"),
    *("startswith", "endswith", "removeprefix", "removesuffix", "__contains__", "__eq__", "__lt__", "__add__"),
)


def plain(value: object, alphabet: Alphabet) -> object:
    """A value with all its texts as they are."""
    if isinstance(value, str):
        return alphabet.read(value)
    return type(value)(plain(item, alphabet) for item in value) if isinstance(value, (list, tuple)) else value


def outcome(call: object, *given: object) -> object:
    try:
        return call(*given)  # type: ignore[operator]
    except ValueError:
        return "refused"


@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_a_hidden_text_answers_as_the_text_itself(text: str, other: str, third: str) -> None:
    alphabet = Alphabet()
    hidden = alphabet.hide(text)
    for name in CALLS:
        assert plain(outcome(getattr(hidden, name)), alphabet) == outcome(getattr(text, name))
    for name in CALLS_WITH_ONE:
        for argument in (other, alphabet.hide(other)):
            found = plain(outcome(getattr(hidden, name), argument), alphabet)
            assert found == outcome(getattr(text, name), other), name
    assert alphabet.read(hidden.replace(other, third)) == text.replace(other, third)
    assert alphabet.read(other + hidden + third) == other + text + third
    assert [alphabet.read(letter) for letter in hidden] == list(text)
    assert {text: 1}.get(hidden) == {hidden: 1}.get(text) == 1
    assert HIDDEN.sub("", hidden).strip() == ""


SHOW = "{% for m in messages %}[{{ m.content if m.content is string else m.content[0].text }}]{% endfor %}"
MARK = "<|im_end|>"
OPERATIONS = (
    *("x", "x | upper", "x | lower", "x | title", "x | capitalize", "x | trim", "x | string", "x | safe", "x | escape"),
    *(
        "x | urlencode",
        "x | tojson",
        "x | list",
        "[x]",
        "{x: x}",
        "x | list | join",
        "x ~ '-' ~ x",
        "x + '|'",
        "'|' + x",
    ),
    *("'%s' % x", "'{}'.format(x)", "x | format", "x | replace('|', '>')", "x.replace('a', 'b')", "x[2:-1]", "x[::-1]"),
    *(
        "x | reverse",
        "x.encode().decode()",
        "x.split('|')",
        "x | indent",
        "x | truncate(7)",
        "x.join([x, x])",
        "'|'.join([x])",
    ),
    *("x.center(40)", "x.ljust(40)", "x * 2", "x | first", "x | last", "x | sort", "x | unique | list", "(x, x)"),
    *("[x, 'b'] | sort | first", "{'a': x} | dictsort", "{'a': x} | tojson(indent=2)", "[x] | map('upper') | list"),
    *(
        "x | wordcount",
        "x.title()",
        "x.swapcase()",
        "x.zfill(40)",
        "x.partition('|')",
        "x.format(1)",
        "x | default(x, true)",
    ),
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_that_a_template_does_to_a_text_makes_it_the_template_s(operation: str) -> None:
    source = (
        "{% set x = messages[0].content if messages[0].content is string else messages[0].content[0].text %}" + SHOW
    )
    parts = render(source + "{{ " + operation + " }}", [Message("user", (MARK,))], SpecialTokens(), told={"y": MARK})
    trusted = "".join(part.text for part in parts if isinstance(part, TextPart) and part.trusted)
    for piece in ("im_end", "IM_END", "Im_End", "<|", "|>"):
        assert piece not in trusted


def test_what_clients_tell_the_template_is_not_trusted() -> None:
    parts = render(
        "{{ y }}{{ tools[0] }}" + SHOW,
        [Message("user", ("a",))],
        SpecialTokens(),
        told={"y": MARK},
        tools=[{MARK: MARK}],
    )
    assert all(MARK not in part.text for part in parts if isinstance(part, TextPart) and part.trusted)
    assert any(MARK in part.text for part in parts if isinstance(part, TextPart))


def test_templates_see_the_texts_of_earlier_turns() -> None:
    source = (
        "{% for m in messages %}{% if '</think>' in m.content and m.content.startswith('<think>') %}"
        "({{ m.content.split('</think>')[-1].lstrip('\\n') }}){% else %}[{{ m.content }}]{% endif %}{% endfor %}"
    )
    messages = [Message("user", ("a",)), Message("assistant", ("<think>x</think>\n\nb",)), Message("user", ("c",))]
    parts = render(source, messages, SpecialTokens())
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == "[a](b)[c]"


def test_generation_blocks_render_their_body() -> None:
    source = "{% for m in messages %}{% generation %}[{{ m.content }}]{% endgeneration %}{% endfor %}"
    parts = render(source, [Message("user", ("a",))], SpecialTokens())
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == "[a]"


def test_a_refusal_is_told_with_the_user_s_own_words() -> None:
    source = "{% set m = messages[0].content %}{{ raise_exception('no ' + m[0].text + ' here') }}"
    with pytest.raises(UsageError, match="no <b> here"):
        render(source, [Message("user", ("<b>",))], SpecialTokens())


def test_characters_that_have_no_meaning_of_their_own_are_kept() -> None:
    text = "a\U000f0001\U000f0000\ufffe\U0010ffffb"
    parts = render(SHOW, [Message("user", (text, text))], SpecialTokens())
    assert [part.text for part in parts if isinstance(part, TextPart) and not part.trusted] == [text * 2]


@pytest.mark.parametrize("name", ["qwen3_5", "gemma_4", "lfm2_5"])
def test_long_texts_are_within_the_bounds(name: str) -> None:
    text = "ein langer Text über Züge. " * 40_000
    parts = render(SOURCES[name], [Message("user", (text,))], SpecialTokens())
    assert any(part.text == text.strip() for part in parts if isinstance(part, TextPart))


def test_long_dialogues_are_within_the_bounds() -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", (f"number {n}",)) for n in range(4095)]
    parts = render(SOURCES["qwen3_5"], turns, SpecialTokens())
    assert sum(not part.trusted for part in parts if isinstance(part, TextPart)) == 4095


def test_a_template_that_looks_back_from_each_answer_takes_hundreds_of_turns() -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", (f"number {n}",)) for n in range(501)]
    parts = render(SOURCES["gemma_4"], turns, SpecialTokens())
    assert sum(not part.trusted for part in parts if isinstance(part, TextPart)) == 501


def test_a_text_of_all_characters_is_refused() -> None:
    everything = "".join(map(chr, range(0x110000)))
    with pytest.raises(UsageError, match="different characters"):
        render(SHOW, [Message("user", (everything,))], SpecialTokens())
    assert isinstance(Alphabet().hide("a"), HiddenText)
