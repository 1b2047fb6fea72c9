"""Programs with the names of llama.cpp's: they take its arguments, answer in its forms, and compute nothing."""

from __future__ import annotations

import sys
from pathlib import Path

MTMD_CLI = """
import sys
count = int(sys.argv[sys.argv.index("-n") + 1])
assert "--ignore-eos" in sys.argv and "--mmproj" in sys.argv
print("\\n" + " word" * count)
"""

BENCH = """
import json, sys
n_prompt, n_gen = (int(sys.argv[sys.argv.index(name) + 1]) for name in ("-p", "-n"))
tests = [{"n_prompt": n_prompt, "n_gen": 0, "avg_ts": 250.0}, {"n_prompt": 0, "n_gen": n_gen, "avg_ts": 25.0}]
print(json.dumps([test for test in tests if test["n_prompt"] or test["n_gen"]]))
"""

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = not body["ignore_eos"] or body["temperature"] != 0
        self.send_response(400 if refused else 200)
        self.end_headers()
        events = [{"choices": [{"delta": {"role": "assistant", "content": None}}]}]
        events += [{"choices": [{"delta": {"content": "word "}}]}] * body["max_tokens"]
        events += [{"choices": [], "usage": {"prompt_tokens": 61, "completion_tokens": body["max_tokens"]}}]
        for event in events:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\\n\\n")
        self.wfile.write(b"data: [DONE]\\n\\n")

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""

PROGRAMS = {"llama-mtmd-cli": MTMD_CLI, "llama-bench": BENCH, "llama-server": SERVER}


def write_programs(folder: Path, *names: str) -> Path:
    """Put programs into a folder; all of them if none is named."""
    folder.mkdir(exist_ok=True)
    for name in names or PROGRAMS:
        (folder / name).write_text(f"#!{sys.executable}\n{PROGRAMS[name]}")
        (folder / name).chmod(0o755)
    return folder
