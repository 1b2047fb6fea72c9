"""Loads pairs of files and asks a question, each pair in a process that may crash or hang."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

LIMIT = 30.0  # seconds
_MEMORY = 8 << 30
_LONGEST = 1000  # a pipe takes that much before anybody reads
_PRELOADED = ("PIL.Image", "ggufvlm.engine.runner", "ggufvlm.llama.projector", "ggufvlm.vlm.loading")


def outcomes(pairs: Iterable[tuple[Path, Path]], image: Path, *, knows_rules: bool = True) -> Iterator[str]:
    """What becomes of each pair: ``answered``, ``refused: SENTENCE``, or what must not happen.

    Args:
        pairs: model and projector, each read when the outcome before it has been taken.
        image: what the question is about.
        knows_rules: False leaves out all checks of headers that contradict themselves.
    """
    call = f"fork_and_load(knows_rules={knows_rules})"
    command = [sys.executable, "-c", f"from {__name__} import fork_and_load; {call}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for model, mmproj in pairs:
            process.stdin.write(json.dumps([str(model), str(mmproj), str(image)]) + "\n")
            process.stdin.flush()
            yield json.loads(process.stdout.readline())
        process.stdin.close()


def fork_and_load(*, knows_rules: bool) -> None:
    """Fork for each request that comes through stdin, and say on stdout how the child fared."""
    for module in _PRELOADED:
        importlib.import_module(module)
    if not knows_rules:
        for user in ("ggufvlm.models.pairing", "ggufvlm.models.known_sound"):
            for rule in ("check_language_model", "check_vision_tower"):
                setattr(importlib.import_module(user), rule, lambda *_arguments: None)
    with Path("/dev/null").open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                model, mmproj, image = json.loads(line)
                _load(model, mmproj, image, pipe)
            os._exit(0)
        os.close(write)
        code = _wait(child)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        print(json.dumps(said if code == 0 and said else code if isinstance(code, str) else f"ended with {code}"))
        sys.stdout.flush()


def _wait(child: int) -> int | str:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return signal.Signals(-code).name if code < 0 else code
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def _load(model: str, mmproj: str, image: str, answer: IO[str]) -> None:
    import resource  # Windows has none

    from ggufvlm import VLM, EngineConfig
    from ggufvlm.errors import GGUFVLMError

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with VLM.load(model, mmproj, config=EngineConfig(n_ctx=1024, n_threads=1)) as vlm:
            vlm.describe(image, "What is this?", max_tokens=3)
        answer.write("answered")
    except GGUFVLMError as error:
        answer.write(f"refused: {error}"[:_LONGEST])
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        answer.write(f"{type(error).__name__}: {error}"[:_LONGEST])
