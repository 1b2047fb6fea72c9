"""Which terminal gets an image by which protocol."""

from __future__ import annotations

import pytest

from ggufvlm.cli.terminal.graphics import find_protocol


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "mlterm"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({}, "blocks"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app"}, "blocks"),  # tmux lets nothing through
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default"}, "blocks"),
        ({"TERM": "xterm-kitty", "GGUFVLM_GRAPHICS": "sixel"}, "sixel"),
        ({"TERM": "foot", "GGUFVLM_GRAPHICS": "postcards"}, "sixel"),
    ],
)
def test_the_terminal_s_environment_decides(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("TERM", "TERM_PROGRAM", "TMUX", "KITTY_WINDOW_ID", "LC_TERMINAL", "XTERM_SIXEL", "GGUFVLM_GRAPHICS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_protocol() == expected
