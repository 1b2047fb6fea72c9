"""What is written to file descriptor 2 by others than Python."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, re, sys, threading
from ggufvlm.workers.native_stderr import begin_to_hear, heard
sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
if sys.argv[1] == "heard":
    begin_to_hear()
inside, told = threading.Event(), threading.Event()

def decode(name):
    with heard(re.compile(r"libtiff: ")) as lines:
        for number in range(50):
            os.write(2, b"libtiff: %s %d\\n" % (name.encode(), number))
        if name == "first":
            os.write(2, b"ggml: failed\\n")
            inside.set()
            told.wait()
    os.write(1, f"{name} {len(lines)} {all(name in line for line in lines)}\\n".encode())

threads = [threading.Thread(target=decode, args=(name,)) for name in ("first", "other", "third")]
threads[0].start()
inside.wait()
for thread in threads[1:]:
    thread.start()
print("ours, while it is heard", file=sys.stderr)
told.set()
for thread in threads:
    thread.join()
os.write(2, b"libtiff: afterwards\\n")
"""


def run(mode: str) -> tuple[list[str], list[str]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True, timeout=60)
    return sorted(done.stdout.splitlines()), done.stderr.splitlines()


def test_each_thread_hears_its_own_and_the_rest_is_handed_on() -> None:
    out, err = run("heard")
    assert out == ["first 50 True", "other 50 True", "third 50 True"]
    assert err == ["ours, while it is heard", "ggml: failed", "libtiff: afterwards"]


def test_nothing_is_touched_where_nobody_asked_for_it() -> None:
    out, err = run("plain")
    assert out == ["first 0 True", "other 0 True", "third 0 True"]
    assert len(err) == 153
