"""``python -m ggufvlm``."""

from ggufvlm.start import program

program()
