"""Numbers for names."""

from __future__ import annotations

from collections.abc import Iterable


class Classes:
    """Names in the order in which they were asked for, then in which they were found; the first one is 0."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for name in names:
            self.number(name)

    def number(self, name: str) -> int:
        """The number of a name; a new name gets the next one."""
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def names(self) -> list[str]:
        return list(self._numbers)
