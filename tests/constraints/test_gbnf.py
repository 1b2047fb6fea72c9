"""GBNF, rewritten in Lark: held against llama.cpp's own sampler, with the built-in model's vocabulary."""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest

import ggufvlm
from ggufvlm import VLM, UsageError
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.constraints.grammar import fits
from ggufvlm.llama.model import Model
from ggufvlm.llama.vocab import Vocab
from tests.support.scenes import Scene

JSON = r"""
# any JSON object
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws (
             value
             ("," ws value)*   # more of them
           )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [0-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
SUMS = """
root  ::= (expr "=" ws term "\\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
"""
CHESS = """
root    ::= "1. " move " " move "\\n" ([1-9] [0-9]? ". " move " " move "\\n")+
move    ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn    ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle  ::= "O-O" "-O"?
"""
GRAMMARS = {
    "json": JSON,
    "sums": SUMS,
    "chess": CHESS,
    "list": 'root ::= item+\nitem ::= "- " [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "\\n"',
    "kana": "root ::= jp+ ([ \\t\\n] jp+)*\njp ::= [ぁ-ゟ] | [ァ-ヿ] | [、-〾]",
    "suffix": 'root ::= [a-z]* "end"',
    "escapes": 'root ::= [-a^\\]]+ "\\x41\\u00e9\\U0001F600" .',
    "nested": 'root ::= "(" root ")" | inner{2,3}\ninner ::= "ab" | "a" | ""',
    "dashes": "root-rule ::= [a-]\nroot ::= root-rule{2} [\\x2d-\\x2f]?",
}
TEXTS = [
    *('{"a": [1, 2.5e3, "x\\n", {"b": null}]}', '{"a":1,}', "{}", '{"é😀":"\\u00e9"}', '{"a":01}', "[]", '{"a":"'),
    *("a=b\n", "a= (1+b_2)\n", "(a+1)*2 = 3\nx=1\n", "a==b\n", "1=(2\n"),
    *("1. e4 e5\n2. Nf3 Nc6\n", "1. e4 e5\n", "1. O-O-O exd8=Q#\n2. Nbd7 a1\n", "1. e9 e5\n2. a1 a2\n"),
    *("- a\n- b c\n", "- a", "- \n", "-a\n", "- a\r\n", "- a\x85\n"),
    *("あ い", "あア、", "漢", "あ  い", "foobend", "end", "en", "endend", "enda"),
    *("-^]aAé😀x", "-Aé😀\n", "AAé😀x", "((ab))", "((aba)", "(aaa)", "abababab", "()", "aab", "a-", "--", "a-.", "a-0"),
]


@pytest.fixture(scope="module")
def vocab() -> Iterator[Vocab]:
    with Model.skeleton(Path(ggufvlm.__file__).parent / "demo" / "tiny-qwen2vl-Q8_0.gguf") as model:
        yield model.vocab


def llama_says(vocab: Vocab, grammar: str, text: str) -> bool | None:
    """Whether llama.cpp lets a model write this text and end there; None: it refuses the grammar."""
    sampler = llama_cpp.llama_sampler_init_grammar(vocab._handle, grammar.encode(), b"root")
    if not sampler:
        return None

    def allows(token: int) -> bool:
        entries = (llama_cpp.llama_token_data * 1)(llama_cpp.llama_token_data(token, 1.0, 0.0))
        array = llama_cpp.llama_token_data_array(data=entries, size=1, selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return not math.isinf(entries[0].logit)

    try:
        for token in vocab.tokenize(text, parse_special=False):
            if not allows(token):
                return False
            llama_cpp.llama_sampler_accept(sampler, token)
        return allows(vocab.eos_id)
    finally:
        llama_cpp.llama_sampler_free(sampler)


@pytest.mark.parametrize("name", GRAMMARS)
def test_it_means_what_it_means_to_llama_cpp(vocab: Vocab, name: str) -> None:
    constraint = Constraint.gbnf(GRAMMARS[name])
    verdicts = {text: fits("gbnf", constraint.text, text) for text in TEXTS}
    assert verdicts == {text: llama_says(vocab, constraint.text, text) for text in TEXTS}
    assert any(verdicts.values())


ATOMS = ['"a"', '"b"', '"ab"', '""', "[ab]", "[^a]", ".", "one", "two", "root"]
TIMES = ["*", "+", "?", "{2}", "{1,}", "{0,2}"]


def random_part(rng: random.Random, depth: int = 2) -> str:
    kind = rng.randrange(4) if depth else 3
    if kind == 0:
        return " ".join(random_part(rng, depth - 1) for _ in range(rng.randint(1, 3)))
    if kind == 1:
        return f"({' | '.join(random_part(rng, depth - 1) for _ in range(rng.randint(1, 3)))})"
    if kind == 2:
        return f"({random_part(rng, depth - 1)}){rng.choice(TIMES)}"
    return rng.choice(ATOMS)


@pytest.mark.parametrize("seed", range(8))
def test_random_grammars_mean_what_they_mean_to_llama_cpp(vocab: Vocab, seed: int) -> None:
    """The same ones each time: there are some that llama.cpp's own parser does not survive, and it takes us along."""
    rng, n_compared = random.Random(seed), 0
    for _ in range(25):
        one, two, three = (random_part(rng) for _ in range(3))
        grammar = f'root ::= {one} | "c"\none ::= {two}\ntwo ::= {three} | "b"'
        texts = ["".join(rng.choices("abc", k=rng.randint(0, 6))) for _ in range(8)]
        expected = {text: llama_says(vocab, grammar, text) for text in texts}
        if None in expected.values():
            continue  # left recursion, which it does not take
        try:
            Constraint.gbnf(grammar)
        except UsageError as error:
            assert "never ends" in str(error)  # noqa: PT017 - llama.cpp runs such grammars for ever
            continue
        assert {text: fits("gbnf", grammar, text) for text in texts} == expected
        n_compared += 1
    assert n_compared > 5


@pytest.mark.parametrize(
    ("grammar", "sentence"),
    [
        ("root ::= x", "does not have: 'x'"),
        ('x ::= "a"', "no rule 'root'"),
        ('root ::= "a" root', "never ends: 'root'"),
        ("root := 1", "line 1: cannot read"),
        ('root ::= "a"\n\nroot ::= "b"', "line 3: the rule 'root' is there twice"),
        ('root ::= "a"\n| "b"', "line 2: expected the name of a rule"),
        ('root ::= "a" "b', "line 1: cannot read"),
        ("root ::= <think>", "tokens cannot be referred to"),
        ("root ::= [z-a]", "runs backwards"),
        ("root ::= []", "no characters"),
        ('root ::= "\\q"', "unknown escape"),
        ('root ::= "\\ud800"', "is no character"),
        ('root ::= ("a"', "never closed"),
        ("", "no rule 'root'"),
        ("root ::= " + "(" * 5000 + ")" * 5000, "nested too deeply"),
    ],
)
def test_a_wrong_grammar_is_refused_with_its_place(grammar: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Constraint.gbnf(grammar)
    assert sentence in str(refused.value)


def test_the_model_answers_in_a_grammar(demo: VLM, scene: Scene, tmp_path: Path) -> None:
    scene.draw(196, 140).save(tmp_path / "scene.png")
    grammar = 'root ::= "A" "n"? " " color " " ("bar" | "column" | "square") "!"\n'
    grammar += 'color ::= "red" | "green" | "blue" | "yellow" | "purple" | "orange" | "black" | "white"'
    constraint = Constraint.gbnf(grammar)
    answer = demo.describe(tmp_path / "scene.png", "Describe this image.", constraint=constraint)
    assert constraint.check(answer.text, answer.finish_reason) == f"A {scene.blocks[0].name}!"
