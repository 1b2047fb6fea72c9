"""How deeply the rules of a grammar lead to each other. llguidance follows them by recursion on the native stack.

At some 1,500 rules in a row that ends the process (8 MB of stack, x86-64); other threads have less: 512 kB on macOS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ggufvlm.constraints.schema import parts
from ggufvlm.errors import UsageError

MAX_DEPTH = 100

_HIDDEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//[^\n]*|#[^\n]*|/(?:[^/\\\n]|\\.)+/?')  # names in there are no rules
_DEFINITION = re.compile(r"^[ \t]*[?!]?([A-Za-z_]\w*)(?!\w)[^:\n|]*:", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


def depth(references: Mapping[str, Iterable[str]], start: str) -> int:
    """The longest way from ``start`` that a search in the order of the references takes.

    Args:
        references: of each rule the rules that it names.
        start: the first rule.
    """
    seen = {start}
    way = [iter(references.get(start, ()))]
    deepest = 1
    while way:
        name = next(way[-1], None)
        if name is None:
            way.pop()
        elif name not in seen and name in references:
            seen.add(name)
            way.append(iter(references[name]))
            deepest = max(deepest, len(way))
    return deepest


def require_shallow(references: Mapping[str, Iterable[str]], start: str) -> None:
    """Refuse rules that llguidance could not follow, in whichever order it takes them.

    Raises:
        UsageError: they lead to each other too deeply.
    """
    listed = {name: list(names) for name, names in references.items()}
    backwards = {name: names[::-1] for name, names in listed.items()}
    if max(depth(listed, start), depth(backwards, start)) > MAX_DEPTH:
        raise UsageError(f"nested too deeply: more than {MAX_DEPTH} rules lead to each other in a row")


def lark_references(text: str) -> dict[str, list[str]]:
    """Of each rule of a Lark grammar the names in it."""
    plain = _HIDDEN.sub('""', text)
    found = [*_DEFINITION.finditer(plain)]
    ends = [*(definition.start() for definition in found[1:]), len(plain)]
    return {
        definition[1]: _NAME.findall(plain, definition.end(), end) for definition, end in zip(found, ends, strict=False)
    }


def schemas_in_lark(text: str) -> Iterator[Any]:
    """The JSON schemas that stand in a Lark grammar behind ``%json``."""
    for found in re.finditer(r"%json\s*(?=\{)", text):
        try:
            yield json.JSONDecoder().raw_decode(text, found.end())[0]
        except ValueError:  # llguidance says what is wrong with it
            continue


def schema_references(schema: Any) -> dict[str, list[str]]:
    """Of each schema in a schema, by its JSON pointer, the schemas in it and those that it refers to."""
    found = dict(parts(schema))
    places = {
        str(part[word]): path for path, part in found.items() for word in ("$id", "id", "$anchor") if word in part
    }
    references: dict[str, list[str]] = {path: [] for path in found}
    for path, part in found.items():
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in references:
                references[above].append(path)
                break
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            target = part.get(word)
            if isinstance(target, str):
                references[path].append(target if target in found else places.get(target.lstrip("#"), target))
    return references
