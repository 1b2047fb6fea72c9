"""Grammars in llama.cpp's GBNF, rewritten in llguidance's Lark.

llguidance cuts text into lexemes greedily, GBNF knows characters only: ``[a-z]* "end"`` as two lexemes would never
end. So a grammar without recursion becomes one lexeme, a regular expression; and in one with recursion each character
is a lexeme of its own, which is slower and means the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from ggufvlm.constraints.depth import require_shallow
from ggufvlm.constraints.gbnf_reader import Chars, Node, Reference, Repeat, Several, Text, read_gbnf
from ggufvlm.errors import UsageError


def gbnf_to_lark(text: str) -> str:
    """The same grammar in Lark.

    Raises:
        UsageError: the grammar is wrong, has no end, or refers to tokens.
    """
    rules = read_gbnf(text)
    if "root" not in rules:
        raise UsageError("the GBNF grammar has no rule 'root'")
    below = {name: list(dict.fromkeys(_references(node))) for name, node in rules.items()}
    used = _reached(below)
    ending = _ending(rules, below)
    endless = next((name for name in used if name not in ending), None)
    if endless is not None:
        raise UsageError(f"the GBNF grammar never ends: {endless!r} always needs more")
    require_shallow(below, "root")
    recursive = _has_circle(below)
    names = {name: f"{'r' if recursive else 'R'}{index}" for index, name in enumerate(used)}
    writer = _Writer(names, by_character=recursive)
    lines = [f"{names[name]}: {writer.write(rules[name])}" for name in used]
    return "\n".join(["start: " + names["root"], *lines])


class _Writer:
    def __init__(self, names: dict[str, str], *, by_character: bool) -> None:
        self._names = names
        self._by_character = by_character

    def write(self, node: Node) -> str:
        """The node in Lark."""
        if isinstance(node, Text):
            parts = list(node.text) if self._by_character else [node.text]
            return " ".join(map(json.dumps, parts)) or '""'
        if isinstance(node, Chars):
            return f"/{_char_class(node)}/"
        if isinstance(node, Reference):
            return self._names[node.name]
        if isinstance(node, Repeat):
            return f"({self.write(node.node)}){_times(node)}"
        written = [f"({self.write(part)})" if isinstance(part, Several) else self.write(part) for part in node.parts]
        return (" | " if node.is_choice else " ").join(written) or '""'


def _char_class(node: Chars) -> str:
    if node.ranges is None:
        return "(?s:.)"
    ranges = "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in node.ranges)
    return f"[{'^' if node.negated else ''}{ranges}]"


def _times(node: Repeat) -> str:
    if node.most is None:
        return {0: "*", 1: "+"}.get(node.least, f"{{{node.least},}}")
    return f"{{{node.least},{node.most}}}"


def _references(node: Node) -> Iterator[str]:
    if isinstance(node, Reference):
        yield node.name
    for part in node.parts if isinstance(node, Several) else [node.node] if isinstance(node, Repeat) else []:
        yield from _references(part)


def _reached(below: Mapping[str, Sequence[str]]) -> list[str]:
    """The rules that the root leads to, itself first.

    Raises:
        UsageError: one of them names a rule that is not there.
    """
    found = {"root": None}
    waiting = ["root"]
    while waiting:
        for other in below[waiting.pop()]:
            if other not in below:
                raise UsageError(f"the GBNF grammar refers to a rule that it does not have: {other!r}")
            if other not in found:
                found[other] = None
                waiting.append(other)
    return list(found)


def _has_circle(below: Mapping[str, Sequence[str]]) -> bool:
    """Whether a rule that the root leads to leads to itself."""
    on_the_way, done = {"root"}, set()
    way = [("root", iter(below["root"]))]
    while way:
        name, others = way[-1]
        other = next(others, None)
        if other is None:
            way.pop()
            on_the_way.remove(name)
            done.add(name)
        elif other in on_the_way:
            return True
        elif other not in done:
            on_the_way.add(other)
            way.append((other, iter(below[other])))
    return False


def _ending(rules: dict[str, Node], below: Mapping[str, Sequence[str]]) -> set[str]:
    """The rules that some finite text fits."""
    above: dict[str, list[str]] = {}
    for name, others in below.items():
        for other in others:
            above.setdefault(other, []).append(name)
    known: set[str] = set()
    waiting = list(rules)
    while waiting:
        name = waiting.pop()
        if name not in known and _ends(rules[name], known):
            known.add(name)
            waiting += above.get(name, ())
    return known


def _ends(node: Node, known: set[str]) -> bool:
    if isinstance(node, Reference):
        return node.name in known
    if isinstance(node, Repeat):
        return node.least == 0 or _ends(node.node, known)
    if isinstance(node, Several):
        return (any if node.is_choice else all)(_ends(part, known) for part in node.parts)
    return True
