"""The one place that imports llama_cpp: environment first, then the library, then its loggers.

``llama`` and ``mtmd`` are the low-level ctypes modules of llama-cpp-python. Nothing above this folder sees them.
"""

from __future__ import annotations

import os

# libgomp reads this once, when it is loaded. Busy waiting makes two threads on two shared cores many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A failed GGML_ASSERT otherwise starts gdb on the process.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

from llama_cpp import __version__ as version
from llama_cpp import llama_cpp as llama
from llama_cpp import mtmd_cpp as mtmd

from ggufvlm.llama import log

__all__ = ["llama", "mtmd", "version"]

_callback = llama.llama_log_callback(log.receive)  # the library keeps the pointer: it must live as long as the process
llama.llama_log_set(_callback, None)
mtmd.mtmd_helper_log_set(_callback, None)
llama.llama_backend_init()
