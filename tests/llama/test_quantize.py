"""What happens when llama.cpp's quantizer fails, crashes or is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.errors import EngineError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, encode_value, read_pairs, write_gguf
from ggufvlm.llama import quantize
from ggufvlm.llama.quantize import quantize_model

MODEL = Path(ggufvlm.__file__).parent / "demo" / "tiny-qwen2vl-Q8_0.gguf"
Q4_0 = 2


def _changed(path: Path, key: str, word: str, value: object) -> Path:
    with path.open("wb") as file:
        write_gguf(file, {**read_pairs(MODEL), key: encode_value(word, value)}, copied(MODEL, read_header(MODEL)))
    return path


def test_a_model_that_llama_cpp_refuses_is_an_error_with_its_reason(tmp_path: Path) -> None:
    source = _changed(tmp_path / "odd.gguf", "general.architecture", "string", "no-such-architecture")
    with pytest.raises(EngineError, match=r"could not quantize odd\.gguf: .*no-such-architecture"):
        quantize_model(source, tmp_path / "out.gguf", Q4_0)
    assert list(tmp_path.iterdir()) == [source]


def test_an_assertion_inside_llama_cpp_does_not_end_this_process(tmp_path: Path) -> None:
    source = _changed(tmp_path / "odd.gguf", "qwen2vl.block_count", "uint32", 0)
    with pytest.raises(EngineError, match=r"could not quantize odd\.gguf"):
        quantize_model(source, tmp_path / "out.gguf", Q4_0)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_the_work_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    children: list[subprocess.Popen[str]] = []
    real = quantize._start_child

    def progress(done: int, total: int) -> None:
        raise error

    def start(arguments: list[str]) -> subprocess.Popen[str]:
        children.append(real(arguments))
        return children[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "_start_child", start)
        with pytest.raises(error):
            quantize_model(MODEL, tmp_path / "out.gguf", Q4_0, progress=progress)
    assert children[0].poll() is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_ctrl_c_at_the_command_line(tmp_path: Path) -> None:
    """A child that never ends by itself stands for a model of many gigabytes."""
    code = (
        "import subprocess, sys\n"
        "from ggufvlm.llama import quantize\n"
        "def start(arguments):\n"
        "    open(arguments[1], 'w').write('half')\n"
        "    return subprocess.Popen([sys.executable, '-c', 'import time; print(flush=True); time.sleep(600)'],\n"
        "                            stdout=subprocess.PIPE, text=True)\n"
        "quantize._start_child = start\n"
        "from ggufvlm.cli.main import main\n"
        f"sys.argv = ['ggufvlm', 'quantize', {str(MODEL)!r}, {str(tmp_path / 'out.gguf')!r}, 'Q4_0']\n"
        "main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
