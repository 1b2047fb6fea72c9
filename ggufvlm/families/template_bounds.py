"""An environment for the chat templates of strangers: what a template may compute, make and nest has an end.

Jinja's sandbox keeps a template from the machine, but not from taking all of its time and memory. Here each render has
a budget of units. A pass of a loop costs as many as its body has nodes, a call or filter some, and what is made,
printed or compared as many as it is large. What makes much of little (``'a' * 10**9``) pays before it is done.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from jinja2 import Environment, Template, nodes, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_join, do_mark_safe
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from ggufvlm.families.hidden_text import Alphabet, HiddenText, holds_hidden, require_printable
from ggufvlm.families.template_costs import (
    CHARACTERS_PER_UNIT,
    TooMuch,
    cost_of_call,
    cost_of_format,
    cost_of_indent,
    cost_of_operator,
    cost_of_replace,
    cost_of_round,
    size,
    size_of_items,
    size_of_made,
    size_of_nothing,
)

MAX_SOURCE = 200_000
"""Characters of a template. The longest that are known have 30,000."""

_UNITS, _UNITS_PER_MESSAGE = 3_000_000, 1500
"""Of one render; a million takes some tenths of a second. Templates of real models take 100 to 400 for a message."""
_UNITS_PER_PAIR, _MOST_UNITS = 24, 30_000_000
"""Gemma 4's template looks back from each answer over all messages before it: a thousand take two seconds."""
_LOOKS = 30  # at each text of a dialogue
_CALL, _ITEM = 20, 4
_TICK, _WEIGH, _COPY, _JOIN = "tick!", "weigh!", "copy!", "join!"  # filters that no template can name

_MISSING_FILTERS = (
    *("batch", "center", "filesizeformat", "pprint", "random", "slice", "striptags", "urlize", "wordwrap", "xmlattr"),
)
"""No chat template uses them, and each would need a bound of its own."""
_CHEAP_FILTERS = ("abs", "attr", "count", "d", "default", "first", "items", "last", "length", "safe")
_FILTERS_OF_PLAIN_TEXT = ("e", "escape", "float", "forceescape", "int", "title", "truncate", "urlencode", "wordcount")
"""They would take the characters that stand for others for the text."""
_SHALLOW_FILTERS = ("list", "map", "reject", "rejectattr", "reverse", "select", "selectattr")
_COMPARISONS = (
    *("!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan", "lt", "ne"),
    *("lower", "upper"),
)
_MISSING_METHODS = ("expandtabs", "format_map", "to_bytes", "translate")


class _OpaqueNamespace(Namespace):
    def __repr__(self) -> str:  # one that holds itself twice, and so on, would be endless
        return "<Namespace>"


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The environment that Transformers renders chat templates in, with bounds. Several threads may share one."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, names: dict[str, Any]) -> None:
        """Make it with these functions beside Jinja's own."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            optimized=False,  # constants would be computed while nobody counts
            finalize=_weigh_printed,
        )
        self._budget = threading.local()
        self.globals |= {"namespace": _OpaqueNamespace, "strftime_now": _strftime_now, **names}
        del self.globals["lipsum"]
        filters: dict[str, Any] = dict(self.filters)
        tests: dict[str, Any] = dict(self.tests)
        own: dict[str, Any] = {
            "tojson": self._tojson,
            "replace": self._replace,
            "indent": self._before(cost_of_indent, filters["indent"]),
            "format": self._before(cost_of_format, filters["format"]),
            "round": self._before(cost_of_round, filters["round"]),
            "join": self._join,
            "safe": self._safe,
        }
        own |= {name: self._of_plain_text(filters[name]) for name in _FILTERS_OF_PLAIN_TEXT}
        known = {**filters, **own}
        self.filters = {name: self._bounded(name, known[name]) for name in known if name not in _MISSING_FILTERS}
        self.filters |= {_TICK: self._tick, _WEIGH: self._weigh, _COPY: self._paid, _JOIN: self._joined}
        for name in _COMPARISONS:
            self.tests[name] = self._bounded(name, tests[name])

    def compiled(self, source: str) -> Template:
        """A template.

        Raises:
            TooMuch: it is too long.
            Exception: it is broken.
        """
        self._require_short(source)
        return self.from_string(source)

    def parsed(self, source: str) -> nodes.Template:
        """A template's syntax tree.

        Raises: as :meth:`compiled`.
        """
        self._require_short(source)
        return self.parse(source)

    def _require_short(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise TooMuch(f"it is longer than {MAX_SOURCE} characters")
        self._budget.left, self._budget.alphabet = _UNITS, Alphabet()

    def rendered(self, template: Template, names: dict[str, Any], alphabet: Alphabet, n_characters: int = 0) -> str:
        """What a template makes of what it is given, ``messages`` among it.

        Args:
            template: a compiled one.
            names: what it is given.
            alphabet: of the texts that are hidden in it.
            n_characters: how long these are.

        Raises:
            TooMuch: more than any real template.
            Exception: whatever the template does wrong.
        """
        n_messages = len(names["messages"])
        units = _UNITS + _UNITS_PER_MESSAGE * n_messages + _UNITS_PER_PAIR * n_messages**2
        self._budget.left = min(units, _MOST_UNITS) + _LOOKS * n_characters // CHARACTERS_PER_UNIT
        self._budget.alphabet = alphabet
        return template.render(names)

    @property
    def _alphabet(self) -> Alphabet:
        found: Alphabet = self._budget.alphabet
        return found

    # -- paying

    def spend(self, units: int) -> None:
        """Raises: TooMuch, nothing is left."""
        self._budget.left -= max(0, units)
        if self._budget.left < 0:
            raise TooMuch("it computes more than any chat template needs to")

    def _weigh(self, value: Any) -> Any:
        self.spend(size(value))
        return value

    def _tick(self, value: Any, units: int) -> Any:
        self.spend(units)
        return value

    def _paid(self, made: Any) -> Any:
        if isinstance(made, Iterator):
            return self._each_paid(made)
        self.spend(size_of_made(made))
        return self._alphabet.kept(made) if type(made) is str else made

    def _each_paid(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.spend(_ITEM)
            yield item

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        weigh = size_of_nothing if name in _CHEAP_FILTERS else size_of_items if name in _SHALLOW_FILTERS else size

        @functools.wraps(function)  # also its marks, by which Jinja knows what to hand it
        def paying(*args: Any, **kwargs: Any) -> Any:
            self.spend(_CALL + sum(map(weigh, args)) + sum(map(weigh, kwargs.values())))
            return self._paid(function(*args, **kwargs))

        return paying

    def _before(self, cost: Callable[..., int], function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def paying(*args: Any, **kwargs: Any) -> Any:
            self.spend(cost(*args, **kwargs))
            return function(*args, **kwargs)

        return paying

    # -- what Jinja asks its environment to do

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        _add_bounds(template)
        template.set_environment(self)
        return template

    def concat(self, pieces: Iterable[str]) -> str:
        """All pieces of an output or of a macro's."""
        kept = []
        for piece in pieces:
            self.spend(size(piece))
            kept.append(piece)
        return self._alphabet.kept("".join(kept))

    def _joined(self, values: list[Any]) -> str:
        return self.concat(map(str, values))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator between two values."""
        self.spend(_CALL + cost_of_operator(operator, left, right))
        return self._paid(super().call_binop(context, operator, left, right))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``."""
        if not isinstance(argument, (str, int)):
            self.spend(size(argument))  # its hash
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may have it."""
        return attr not in _MISSING_METHODS and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """A call of anything."""
        if isinstance(getattr(__obj, "__self__", None), (str, bytes)) and __obj.__name__ == "join":
            args = tuple(list(items) for items in args)  # how many is known then
        given = (*args, *kwargs.values())
        if isinstance(__obj, Macro):
            __self.spend(_CALL + len(given))
        else:
            __self.spend(_CALL + sum(map(size, given)) + cost_of_call(__obj, given))
        return __self._paid(super().call(__context, __obj, *args, **kwargs))

    # -- filters of our own

    def _replace(self, text: Any, old: Any, new: Any, count: int | None = None) -> str:
        whole, before, after = (item if isinstance(item, str) else str(item) for item in (text, old, new))
        self.spend(cost_of_replace(whole, before, after))
        return whole.replace(before, after, -1 if count is None else count)

    def _safe(self, value: Any) -> Any:
        return value if isinstance(value, HiddenText) else do_mark_safe(value)

    def _of_plain_text(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def hiding(*args: Any, **kwargs: Any) -> Any:
            if not any(isinstance(value, HiddenText) for value in args):
                return function(*args, **kwargs)
            made = function(*map(self._read_all, args), **kwargs)
            return self._alphabet.hide(str(made)) if isinstance(made, str) else made

        return hiding

    def _read_all(self, value: Any) -> Any:
        """A value with its texts as they are. It is for what hides them again."""
        if isinstance(value, str):
            return self._alphabet.read(value)
        if isinstance(value, dict):
            return {self._read_all(key): self._read_all(item) for key, item in require_printable(value).items()}
        return [self._read_all(item) for item in value] if isinstance(value, (list, tuple)) else value

    @pass_eval_context
    def _join(self, eval_context: EvalContext, value: Any, d: Any = "", attribute: Any = None) -> str:
        items = list(value)
        self.spend(len(items) * size(str(d)))
        return str(do_join(eval_context, items, d, attribute))

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        if indent is not None and not 0 <= indent <= 16:
            raise SecurityError("tojson is indented too far")
        encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        text = self.concat(encoder.iterencode(self._read_all(value)))
        return self._alphabet.hide(text) if holds_hidden(value) else text


@pass_context  # also keeps Jinja from computing constants while it compiles
def _weigh_printed(context: Context, value: Any) -> Any:
    environment = context.environment
    assert isinstance(environment, BoundedEnvironment)
    environment.spend(_CALL + size(value))
    return value


def _strftime_now(layout: str) -> str:
    if len(layout) > 200 or re.search(r"%[^a-zA-Z%]*\d{3}", layout):
        raise SecurityError("strftime_now with a layout that no date has")
    return datetime.now().strftime(layout)


# -- a template's tree


def _add_bounds(template: nodes.Template) -> None:
    """Let loops and macros pay for each pass, and what compares, joins, hashes or copies values for these."""
    for node in list(template.find_all(nodes.Node)):
        if isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock)):
            units = nodes.Const(sum(1 for child in node.body for _ in child.find_all(nodes.Node)) + _CALL)
            if isinstance(node, nodes.For) and node.test is not None:
                node.test = nodes.And(_filtered(_TICK, nodes.Const(True), units), node.test)
            node.body.insert(0, nodes.ExprStmt(_filtered(_TICK, nodes.Const(True), units)))
        elif isinstance(node, nodes.Compare):
            node.expr = _filtered(_WEIGH, node.expr)
            for operand in node.ops:
                operand.expr = _filtered(_WEIGH, operand.expr)
        elif isinstance(node, nodes.Pair):
            node.key = _filtered(_WEIGH, node.key)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            node.node = _filtered(_COPY, node.node)
    _Joining().visit(template)
    template.set_lineno(1)


class _Joining(NodeTransformer):
    """Lets the environment join what ``~`` joins."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - as Jinja calls it
        self.generic_visit(node)
        return _filtered(_JOIN, nodes.List(node.nodes))


class _Generation(Extension):
    """``{% generation %}``, by which training finds the answers: its body renders, in a scope of its own."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """The body of a tag."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def _filtered(name: str, value: nodes.Expr, *args: nodes.Expr) -> nodes.Expr:
    if name == _WEIGH and isinstance(value, nodes.Const):
        return value
    return nodes.Filter(value, name, list(args), [], None, None)
