"""Second turns of a chat with the vision handler that llama-cpp-python ships, for :mod:`tests.benchmarks.turns`.

``python stock_turns.py MODEL MMPROJ THREADS``; each line on stdin is the path of an image, and each answer is a line
of JSON: seconds to the first token of the first and of the second turn.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llama_cpp import Llama
from llama_cpp.llama_chat_format import Qwen25VLChatHandler


def first_token(pieces: Iterator[Any], began: float) -> tuple[float, str]:
    seconds, said = 0.0, ""
    for piece in pieces:
        choice = piece["choices"][0]
        text = choice["delta"].get("content")
        if not seconds and (text or choice["finish_reason"]):
            seconds = time.perf_counter() - began
        said += text or ""
    return seconds, said


def ask(llama: Llama, messages: list[dict[str, Any]]) -> tuple[float, str]:
    began = time.perf_counter()
    return first_token(llama.create_chat_completion(messages, max_tokens=16, temperature=0.0, stream=True), began)


def main() -> None:
    model, mmproj, n_threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    handler = Qwen25VLChatHandler(clip_model_path=mmproj, verbose=False)
    llama = Llama(
        model, chat_handler=handler, n_ctx=4096, n_threads=n_threads, n_threads_batch=n_threads, verbose=False
    )
    for line in sys.stdin:
        png = base64.b64encode(Path(line.strip()).read_bytes()).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
        messages = [{"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}]
        first, said = ask(llama, messages)
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "What is on the left?"}]
        second, _ = ask(llama, messages)
        print(json.dumps({"first": first, "second": second}), flush=True)


if __name__ == "__main__":
    main()
