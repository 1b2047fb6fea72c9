"""``python -m ggufvlm``."""

from ggufvlm.cli.entry import program

program()
