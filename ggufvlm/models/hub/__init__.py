"""The Hub: what it has, and how it comes here."""

import os
from pathlib import Path

from ggufvlm.files import expanded, temporary_home

# the Hub's client would make a folder called "~" where the user stands; it reads this once, when it is imported
if not {"HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"} & os.environ.keys() and expanded("~") == Path("~"):
    os.environ["HF_HOME"] = str(temporary_home() / "huggingface")
