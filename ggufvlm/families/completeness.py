"""Whether a prompt holds all of a dialogue, in order: templates leave out what they do not expect, and say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufvlm.families.hidden_text import HIDDEN, Alphabet
from ggufvlm.families.thinking_styles import STYLES


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a message holds, as a template sees it.

    Attributes:
        role: whose it is.
        text: its texts and images, one behind the other.
        n_others: how many characters else it holds, which the template may show: thoughts, calls of tools.
    """

    role: str
    text: str
    n_others: int = 0


def is_complete(prompt: str, dialogue: Sequence[Said], alphabet: Alphabet, n_others: int) -> bool:
    """Whether a prompt holds a dialogue, in its order but for system messages that were put before the others.

    Of an answer the thoughts may be missing, which templates leave out of earlier turns.

    Args:
        prompt: as the template printed it.
        dialogue: what it has to hold.
        alphabet: of both.
        n_others: how many characters else may be hidden in it, such as those of tools.
    """
    found = _hidden(prompt)
    forms = [[(_hidden(said.text), said) for said in dialogue]]
    forms.append(sorted(forms[0], key=lambda form: form[1].role != "system"))
    if any(found == "".join(text for text, _ in form) for form in forms):
        return True
    return any(_follow_each_other(found, form, alphabet, n_others) for form in forms)


def _hidden(text: str) -> str:
    return "".join(HIDDEN.findall(text))


def _follow_each_other(found: str, form: Sequence[tuple[str, Said]], alphabet: Alphabet, n_others: int) -> bool:
    """Whether each text is found behind the one before it, as near as the rest of the dialogue lets it be."""
    place, between = 0, n_others
    for text, said in form:
        between += said.n_others
        thoughts = _length_of_thoughts(text, alphabet) if said.role == "assistant" else 0
        for wanted in [text, text[thoughts:]] if thoughts else [text]:
            at = found.find(wanted, place, place + between + thoughts + len(wanted))
            if at >= 0:
                break
        else:
            return False
        place, between = at + len(wanted), n_others
    return len(found) <= place + between


def _length_of_thoughts(text: str, alphabet: Alphabet) -> int:
    """Up to where a text of an answer may be thoughts."""
    whole = alphabet.kept(text)
    return max(
        (whole.rfind(style.closing) + len(style.closing) for style in STYLES if style.closing in whole), default=0
    )
