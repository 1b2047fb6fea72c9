"""Templates of strangers: whatever one computes, it ends soon, in little memory, and as an error of ours."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import GGUFVLMError, ModelError, UsageError
from ggufvlm.families.messages import Message
from ggufvlm.families.template import SpecialTokens, render

SHOW = "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}"
GROW = "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}"
NEST = "{% set ns = namespace(x=(1,)) %}{% for i in range(9999) %}{% set ns.x = (ns.x,) %}{% endfor %}"
LONG = "{% set a = 'a' * 900000 %}{% for i in range(99999) %}"
ENDLESS = {
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops that pass over": "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "a loop of itself": "{% for x in [1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    "statements": "{% for i in range(99999) %}" + "{% set x = 1 %}" * 2000 + "{% endfor %}",
    "a macro of itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro, twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a block of itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "hashed": GROW + "{{ {ns.x: 1} }}",
    "as JSON": GROW + "{{ ns.x | tojson }}",
    "nested and hashed": NEST + "{{ {ns.x: 1} }}",
    "nested and found": NEST + "{{ ns.x in {} }}",
    "nested and told apart": NEST + "{{ [ns.x] | unique | list }}",
    "power": "{{ 9 ** 9999999 }}",
    "joined": "{{ range(99999) | map('string') | join('a' * 100000) }}",
    "joined by method": "{{ ('a' * 100000).join(range(99999) | map('string')) }}",
    "sorted": "{% for i in range(99999) %}{{ range(99999) | sort | length }}{% endfor %}",
    "searched": LONG + "{{ 'b' in a }}{% endfor %}",
    "cut": LONG + "{% set x = a[::-1] %}{% endfor %}",
    "in capitals": LONG + "{% set x = a.upper() %}{% endfor %}",
}
HUGE = {
    "texts": "{% for i in range(99999) %}" + "a" * 100_000 + "{% endfor %}",
    "repeated": "{{ 'a' * 10**9 }}",
    "repeated bytes": "{{ 'a'.encode() * 10**9 }}",
    "repeated list": "{% set x = [0] * 10**10 %}",
    "doubled text": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubled sum": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "replaced": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "replaced by method": "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "indented": "{{ ('\\n' * 100000) | indent(1000000) }}",
    "padded": "{{ 'a'.zfill(10000000000) }}",
    "filled": "{{ ('{0}' * 10000).format('x' * 100000) }}",
}
REFUSED = {
    "zero": "{{ 1 / 0 }}",
    "no number": "{{ 10.0 ** 1000 }}",
    "infinity": "{{ (1e308 * 10) | int }}",
    "a wide format": "{{ '%9999999999d' % 1 }}",
    "a wide format by filter": "{{ '%9999999999d' | format(1) }}",
    "a wide format by method": "{{ '{:>{}}'.format(1, 9999999999) }}",
    "a wide date": "{{ strftime_now('%999999999Y') }}",
    "no date": "{{ strftime_now('\\ud800') }}",
    "many bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "a file": "{% include '/etc/passwd' %}",
    "JSON of a stranger": "{{ messages | tojson(cls='x') }}",
    "indented JSON": "{{ [1] | tojson(indent=1000000000) }}",
    "many places": "{{ 1.5 | round(1000000000, 'ceil') }}",
}
BROKEN = {
    "nested brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "nested ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "nested loops": "{% for a in [1] %}" * 90 + "{% endfor %}" * 90,
    "a long sum": "{{ " + "1+" * 20_000 + "1 }}",
    "many branches": "{% if 0 %}" + "{% elif 0 %}" * 10_000 + "{% endif %}",
    "too long": "{# " + "x" * 15_000_000 + " #}",
    "no end": "{{ ",
    "an unknown filter": "{{ 1 | nothing }}",
}
QUESTION = [Message("user", ("hi",))]


def check_failure(source: str, error: type[GGUFVLMError], text: str) -> None:
    """Render what has to fail so, with a short line."""
    with pytest.raises(error, match=text) as raised:
        render(source + SHOW, QUESTION, SpecialTokens())
    assert len(str(raised.value)) < 500
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_would_not_end(source: str) -> None:
    check_failure(source, ModelError, "has no end")


@pytest.mark.parametrize("source", HUGE.values(), ids=HUGE)
def test_a_template_that_would_fill_the_memory(source: str) -> None:
    tracemalloc.start()
    try:
        check_failure(source, ModelError, "has no end")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_whatever_a_template_does_wrong_is_told_in_a_line(source: str) -> None:
    check_failure(source, UsageError, "refuses these messages")


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_template_that_cannot_be_compiled(source: str) -> None:
    check_failure(source, ModelError, "is broken")


def test_what_a_template_says_is_shortened_and_has_no_escapes() -> None:
    with pytest.raises(UsageError) as raised:
        render("{{ raise_exception('\\x1b]0;title\\x07' + 'no' * 10000) }}", QUESTION, SpecialTokens())
    assert "]0;title nonono" in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


def test_what_templates_of_real_models_use_is_there() -> None:
    source = (
        "{%- macro show(text, role='x') -%}<{{ role }}>{{ text | trim }}{%- endmacro -%}"
        "{%- set ns = namespace(seen=0, last=messages[-1].role) -%}"
        "{%- for m in messages[::-1] -%}{%- if m.role == 'user' -%}{%- set ns.seen = ns.seen + 1 -%}{%- endif -%}"
        "{%- endfor -%}"
        "{%- for m in messages if m.role != 'system' -%}"
        "{%- if m.content is string and 'x' not in m.content.split('</think>')[-1].lstrip('\\n')[:0] -%}"
        "{{ show(m.content, role=m.role | upper) }}{{ '%s:%02d' % (m.role, loop.index) }}"
        "{{ '[{}]'.format(loop.index0) }}"
        "{%- else -%}{{ raise_exception('no strings') }}{%- endif -%}"
        "{%- if loop.last %} {{ ns.seen }} {{ {'b': [1, 'é']} | tojson }} {{ ['a', 'b'] | join(', ') }}"
        " {{ 'a-b'.replace('-', '+') | replace('a', 'A') }} {{ messages | selectattr('role', 'equalto', 'user') | list"
        " | length }}{%- break -%}{%- endif -%}{%- endfor -%}"
    )
    dialogue = [Message("user", ("a",)), Message("assistant", ("b",)), Message("user", ("c",))]
    parts = render(source, dialogue, SpecialTokens())
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == (
        '<USER>auser:01[0]<ASSISTANT>bassistant:02[1]<USER>cuser:03[2] 2 {"b": [1, "é"]} a, b A+b 2'
    )


def test_a_long_dialogue_is_within_the_bounds() -> None:
    dialogue = [Message("user" if n % 2 == 0 else "assistant", (f"{n}",)) for n in range(4001)]
    source = "{% for m in messages %}" + "{% if m.role == 'user' %}u{% endif %}" * 20 + "{{ m.content }}{% endfor %}"
    parts = render(source, dialogue, SpecialTokens())
    assert [part.text for part in parts if isinstance(part, TextPart) and not part.trusted][-1] == "4000"


# -- any template at all

NUMBERS = st.sampled_from(["0", "1", "-3", "7", "99999", "10**9", "1.5"])
TEXTS = st.sampled_from(["'a'", "'a b'", "'{}'", "'%s'", "messages[0].role", "ns.x", "x"])
VALUES = NUMBERS | TEXTS | st.sampled_from(["[]", "[1, 'a']", "{'a': 1}", "range(99999)", "messages", "none", "()"])
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"])
FILTERS = st.sampled_from(
    [
        *("string", "list", "length", "first", "last", "upper", "trim", "tojson", "join('ab')", "replace('a', ns.x)"),
        *(
            "indent(99)",
            "map('string')",
            "select",
            "sort",
            "unique",
            "sum",
            "int",
            "items",
            "reverse",
            "title",
            "format(x)",
        ),
        *(
            "default('a')",
            "dictsort",
            "round(2)",
            "truncate(9)",
            "urlencode",
            "escape",
            "groupby('a')",
            "max",
            "center(9)",
        ),
    ]
)
METHODS = st.sampled_from(
    [".upper()", ".split()", ".join(x)", ".zfill(9)", ".items()", ".format(x)", "[::-1]", "[0]", ".a"]
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.tuples(inner, OPERATORS, inner).map(lambda parts: f"({' '.join(parts)})")
        | st.tuples(inner, FILTERS).map(lambda parts: f"({parts[0]}|{parts[1]})")
        | st.tuples(inner, METHODS).map(lambda parts: f"({parts[0]}){parts[1]}")
        | inner.map(lambda part: f"[{part}, {part}]")
        | st.tuples(inner, inner).map(lambda parts: f"{{{parts[0]}: {parts[1]}}}")
    )


EXPRESSIONS = st.recursive(VALUES, _larger, max_leaves=6)
STATEMENTS = st.tuples(EXPRESSIONS, EXPRESSIONS).flatmap(
    lambda two: st.sampled_from(
        [
            f"{{{{ {two[0]} }}}}",
            f"{{% set ns.x = {two[0]} %}}",
            f"{{% for x in {two[0]} %}}{{% set ns.x = {two[1]} %}}{{{{ ns.x }}}}{{% endfor %}}",
            f"{{% for i in range(50) %}}{{% set ns.x = [ns.x, {two[0]}] %}}{{% endfor %}}",
            f"{{% macro f(x) %}}{{% if x %}}{{{{ f({two[0]}) }}}}{{% endif %}}{{% endmacro %}}{{{{ f({two[1]}) }}}}",
        ]
    )
)
TEMPLATES = st.lists(STATEMENTS, min_size=1, max_size=4).map(
    lambda parts: "{% set ns = namespace(x='a') %}{% set x = 1 %}" + "".join(parts)
)


def check_any(source: str) -> None:
    with suppress(GGUFVLMError):
        assert TextPart("hi") in render(source + SHOW, QUESTION, SpecialTokens())


@given(TEMPLATES)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_template_gives_a_prompt_or_an_error_of_ours(source: str) -> None:
    check_any(source)


@pytest.mark.slow
@given(TEMPLATES)
@settings(max_examples=5000, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_thousands_of_templates_give_a_prompt_or_an_error_of_ours(source: str) -> None:
    check_any(source)
