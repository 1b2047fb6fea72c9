"""``python -m ggufvlm``."""

from ggufvlm.cli.main import main

main()
