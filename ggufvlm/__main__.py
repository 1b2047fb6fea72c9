"""``python -m ggufvlm``."""

from ggufvlm.cli.main import program

program()
