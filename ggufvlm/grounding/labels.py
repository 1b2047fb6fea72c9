"""Do two names mean the same thing, for a machine that knows words and nothing else?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ggufvlm.errors import UsageError

_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(("a", "an", "the", "of", "in", "on", "at", "with", "and"))


def clean_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels with blanks made single and doubles left out, in order.

    Raises:
        UsageError: one is empty.
    """
    cleaned = [" ".join(label.split()) for label in labels]
    if not all(cleaned):
        raise UsageError("a label is empty", hint='ggufvlm detect photo.jpg cat "red car"')
    return tuple(dict.fromkeys(cleaned))


def best_label(found: str, wanted: Sequence[str]) -> str | None:
    """Which of the wanted labels a found one belongs to, ``None`` if to none.

    The same words are best; then a label all of whose words are found ("car" for "red cars"), the longest first;
    then one that says more than was found ("red car" for "car"), if it is the only one.
    """
    words = _words(found)
    exact = [label for label in wanted if _words(label) == words]
    if exact:
        return exact[0]
    within = [label for label in wanted if _words(label) <= words]
    if within:
        return max(within, key=lambda label: len(_words(label)))
    beyond = [label for label in wanted if words and words < _words(label)]
    return beyond[0] if len(beyond) == 1 else None


def _words(label: str) -> frozenset[str]:
    words = {_singular(word) for word in _WORD.findall(label.casefold())} or {label.casefold()}
    return frozenset(words - _STOP_WORDS) or frozenset(words)


def _singular(word: str) -> str:
    """English plurals, roughly: both sides of a comparison go through the same mill."""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-2] if word.endswith(("shes", "ches", "xes", "sses")) else word[:-1]
    return word
