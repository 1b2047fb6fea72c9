"""Grammars in llama.cpp's GBNF, rewritten in llguidance's Lark.

llguidance cuts text into lexemes greedily, GBNF knows characters only: ``[a-z]* "end"`` as two lexemes would never
end. So a grammar without recursion becomes one lexeme, a regular expression; and in one with recursion each character
is a lexeme of its own, which is slower and means the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

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
    used = _reached(rules, "root")
    ending = _ending(rules)
    endless = next((name for name in used if name not in ending), None)
    if endless is not None:
        raise UsageError(f"the GBNF grammar never ends: {endless!r} always needs more")
    recursive = any(name in _below(rules, name) for name in used)
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


def _below(rules: dict[str, Node], name: str) -> list[str]:
    """The rules that a rule leads to."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        for other in _references(rules[waiting.pop()]):
            if other not in rules:
                raise UsageError(f"the GBNF grammar refers to a rule that it does not have: {other!r}")
            if other not in found:
                found.append(other)
                waiting.append(other)
    return found


def _reached(rules: dict[str, Node], root: str) -> list[str]:
    return [root, *(name for name in _below(rules, root) if name != root)]


def _ending(rules: dict[str, Node]) -> set[str]:
    """The rules that some finite text fits."""
    known: set[str] = set()
    while True:
        more = {name for name, node in rules.items() if name not in known and _ends(node, known)}
        if not more:
            return known
        known |= more


def _ends(node: Node, known: set[str]) -> bool:
    if isinstance(node, Reference):
        return node.name in known
    if isinstance(node, Repeat):
        return node.least == 0 or _ends(node.node, known)
    if isinstance(node, Several):
        return (any if node.is_choice else all)(_ends(part, known) for part in node.parts)
    return True
