"""The commands about models on disk, and a first question to a model that is not there yet."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir

from ggufvlm.cache.folder import cache_dir
from ggufvlm.cli.main import main
from ggufvlm.cli.terminal.console import columns
from ggufvlm.llama import devices
from ggufvlm.models.hub.cache import blob_path, partial_path, repo_folder
from ggufvlm.projectors import policy as projector_choice
from ggufvlm.projectors import select as projector_setup
from ggufvlm.projectors.files import content_id, projectors_folder
from tests.cli.conftest import SCENE
from tests.support.hub_server import COMMIT, MODEL, PROJECTOR, run, sha256
from tests.support.llava_files import without_type

REPO = "me/Tiny-GGUF"
FILES = {"Tiny-Q4_K_M.gguf": MODEL, "Tiny-Q8_0.gguf": MODEL + b"8", "mmproj-Tiny-F16.gguf": PROJECTOR}
ANSWER = SCENE.caption + "\n"


@pytest.fixture
def tiny(hub):
    """A repository that the registry knows as tiny, and whose projector it does not know."""
    hub.add(REPO, {**FILES, "README.md": b"about"})
    folder = Path(os.environ["GGUFVLM_CONFIG_DIR"])
    folder.mkdir()
    (folder / "models.toml").write_text(
        f"""[models.tiny]
        repo = "{REPO}"
        revision = "{COMMIT}"
        license = "mit"
        memory_gb = 0.2
        files = [
          {{ quant = "Q4_K_M", name = "Tiny-Q4_K_M.gguf", size = {len(MODEL)}, sha256 = "{sha256(MODEL)}" }},
          {{ quant = "Q8_0", name = "Tiny-Q8_0.gguf", unverified = ["size"] }},
        ]
        projectors = [{{ quant = "F16", name = "mmproj-Tiny-F16.gguf", size = {len(PROJECTOR)} }}]
        unverified = ["memory_gb"]
        """
    )
    return hub


@pytest.fixture
def ggufvlm(monkeypatch, capsys):
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def ggufvlm(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ggufvlm", *arguments])
        monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: PTH123, SIM115
        with pytest.raises(SystemExit) as left:
            main()
        sys.stdin.close()
        return (int(left.value.code or 0), *capsys.readouterr())

    return ggufvlm


# ---- pull


def test_pull_says_what_comes_and_nothing_on_stdout(tiny, ggufvlm):
    code, out, err = ggufvlm("pull", "tiny")
    assert (code, out) == (0, "")
    first, last = err.splitlines()
    assert first == f"tiny: downloading 4.8 MB from {REPO}: Tiny-Q4_K_M.gguf, mmproj-Tiny-F16.gguf"
    assert last.startswith("tiny is on this machine: 4.8 MB in /")
    assert ggufvlm("pull", "tiny") == (0, "", f"{last}\n")
    assert ggufvlm("pull", "-q", f"{REPO}:Q8_0") == (0, "", "")


def test_pull_of_what_is_here_works_without_a_network(tiny, ggufvlm, monkeypatch):
    ggufvlm("pull", "tiny")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, err = ggufvlm("pull", "tiny")
    assert code == 0
    assert err.startswith("note: no connection to 127.0.0.1\ntiny is on this machine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny:Q2_K", f"error: {REPO} has no Q2_K\nhint: there is Q4_K_M, Q8_0\n"),
        ("tinny", "error: unknown model: tinny\nhint: did you mean tiny"),
        ("you/Nothing-GGUF", "error: there is no repository you/Nothing-GGUF at"),
        ("x.gguf", "error: x.gguf is a file: there is nothing to download\n"),
    ],
)
def test_pull_that_fails_is_two_lines_and_exit_code_4(tiny, ggufvlm, name, said):
    code, out, err = ggufvlm("pull", name)
    assert (code, out) == (4, "")
    assert err.startswith(said)
    assert len(err.splitlines()) <= 2


def test_pull_derives_the_projector_that_is_best_here(tiny, ggufvlm, monkeypatch):
    monkeypatch.setattr(projector_choice, "MIN_SIZE", 1)
    monkeypatch.setattr(devices, "cpu_features", lambda: {"AVX512_BF16": "1"})
    monkeypatch.setattr(projector_setup, "bf16_speedup", lambda **_: 1.4)
    code, out, err = ggufvlm("pull", "tiny")
    assert (code, out) == (0, "")
    assert err.splitlines()[1] == "projector: BF16 (derived, faster here)"
    (derived,) = (cache_dir() / "projectors").iterdir()
    assert derived.name.endswith("-BF16-v1.gguf")
    assert "computed in  BF16 (derived, faster here)" in ggufvlm("show", "tiny")[1]
    monkeypatch.setenv("GGUFVLM_PROJECTOR", "original")
    assert "computed in" not in ggufvlm("show", "tiny")[1]
    assert "projector:" not in ggufvlm("pull", "tiny")[2]


def test_other_models_in_the_same_quantization_are_told(hub, ggufvlm):
    names = ["Cats-Q4_K_M.gguf", "Cats-and-Dogs-Q4_K_M.gguf"]
    hub.add("me/Cats-GGUF", {**dict.fromkeys(names, MODEL), "mmproj-F16.gguf": PROJECTOR})
    hub.add("me/Zoo-GGUF", {**dict.fromkeys(names, MODEL), "mmproj-F16.gguf": PROJECTOR})
    code, _, err = ggufvlm("pull", "me/Zoo-GGUF")
    assert (code, err.splitlines()) == (
        4,
        [
            "error: me/Zoo-GGUF holds 2 models in Q4_K_M: Cats-Q4_K_M.gguf, Cats-and-Dogs-Q4_K_M.gguf",
            "hint: -m me/Zoo-GGUF:Cats-Q4_K_M.gguf",
        ],
    )
    assert ggufvlm("pull", "-q", f"me/Zoo-GGUF:{names[1]}")[0] == 0
    here = [row["name"] for row in json.loads(ggufvlm("list", "--json")[1])]
    assert "me/Zoo-GGUF:Q4_K_M" in here, "the only one of it that is here"
    code, _, err = ggufvlm("pull", "me/Cats-GGUF")
    assert code == 0
    assert f"note: me/Cats-GGUF also holds {names[1]}; -m me/Cats-GGUF:{names[1]} takes one of them" in err


# ---- list


def test_list(tiny, ggufvlm):
    code, out, err = ggufvlm("list")
    assert (code, [line.split()[:5] for line in out.splitlines()[1:]]) == (
        0,
        [["demo", "Q8_0", "4.8", "MB", "builtin"]],
    )
    assert "list --all" in err
    ggufvlm("pull", "tiny")
    ggufvlm("pull", f"{REPO}:Q8_0")
    rows = [line.split()[:5] for line in ggufvlm("list")[1].splitlines()]
    assert rows[2:] == [["tiny", "Q4_K_M", "4.8", "MB", "ready"], ["tiny:Q8_0", "Q8_0", "4.8", "MB", "ready"]]


def test_list_json_and_all(tiny, ggufvlm):
    ggufvlm("pull", "tiny")
    here = json.loads(ggufvlm("list", "--json")[1])
    assert [row["state"] for row in here] == ["builtin", "ready"]
    assert here[1]["revision"] == COMMIT
    assert [Path(path).is_file() for path in here[1]["files"]] == [True, True]
    assert here[1]["size"] == len(MODEL) + len(PROJECTOR)
    rows = {row["name"]: row for row in json.loads(ggufvlm("list", "--all", "--json")[1])}
    assert rows["qwen2-vl-2b"]["state"] == "available"
    assert rows["tiny"]["state"] == "ready"
    assert tiny.n_sent < 2 * (len(MODEL) + len(PROJECTOR))


def test_list_tells_of_interrupted_downloads_and_of_other_tools(tiny, ggufvlm):
    partial = partial_path(REPO, sha256(MODEL))
    partial.parent.mkdir(parents=True)
    partial.write_bytes(MODEL[:1_000_000])
    assert "tiny  Q4_K_M  1.0 MB  21% here" in ggufvlm("list")[1]
    tiny.add("you/Other-GGUF", {"o-Q5_K_M.gguf": MODEL, "mmproj-o.gguf": PROJECTOR})
    tiny.add("you/Text-GGUF", {"t-Q5_K_M.gguf": MODEL})
    for repo, name in (("Other", "o-Q5_K_M"), ("Other", "mmproj-o"), ("Text", "t-Q5_K_M")):
        hf_hub_download(f"you/{repo}-GGUF", f"{name}.gguf", cache_dir=constants.HF_HUB_CACHE, endpoint=tiny.url)
    names = [row["name"] for row in json.loads(ggufvlm("list", "--json")[1])]
    assert names == ["demo", "you/Other-GGUF:Q5_K_M", "tiny"]


# ---- show


def test_show_before_and_after(tiny, ggufvlm):
    before = json.loads(ggufvlm("show", "tiny", "--json")[1])
    assert (before["on_disk"], before["download"], before["license"]) == (False, len(MODEL) + len(PROJECTOR), "mit")
    assert tiny.n_sent < 300_000
    assert (before["pair"]["checked"], before["pair"]["architecture"]) == (True, "qwen2vl")
    ggufvlm("pull", "tiny")
    tiny.forget()
    after = json.loads(ggufvlm("show", "tiny", "--json")[1])
    assert tiny.log == []
    assert [file["role"] for file in after["files"]] == ["model", "projector"]
    assert [file["sha256"] for file in after["files"]] == [sha256(MODEL), sha256(PROJECTOR)]
    assert after["pair"]["projector_width"] == after["pair"]["n_embd_inp"] == 256
    assert after["on_disk"]


def test_show_as_text_marks_what_is_unverified(tiny, ggufvlm):
    code, out, _ = ggufvlm("show", "tiny:Q8_0")
    assert code == 0
    assert "0.2 GB with 8192 tokens of context*" in out
    assert "Tiny-Q8_0.gguf, Q8_0, 2.1 MB (*size)" in out
    assert "fits: qwen2vl, width 256; qwen2vl_merger, width 256" in out
    for name in ("demo", REPO):
        code, out, _ = ggufvlm("show", name)
        assert (code, "fits: qwen2vl" in out) == (0, True)


def test_show_without_a_network_shows_the_registry(tiny, ggufvlm, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, out, _ = ggufvlm("show", "tiny")
    assert (code, "not checked: no connection to 127.0.0.1" in out) == (0, True)
    assert ggufvlm("show", "you/Stranger-GGUF")[0] == 4


def test_show_of_a_file(ggufvlm, tmp_path):
    (tmp_path / "m-Q8_0.gguf").write_bytes(MODEL)
    (tmp_path / "mmproj.gguf").write_bytes(PROJECTOR)
    facts = json.loads(ggufvlm("show", str(tmp_path / "m-Q8_0.gguf"), "--json")[1])
    assert (facts["repo"], facts["pair"]["checked"]) == (None, True)


# ---- rm


def test_rm_leaves_what_other_tools_put_there(tiny, ggufvlm):
    ggufvlm("pull", "tiny")
    ggufvlm("pull", "tiny:Q8_0")
    readme = hf_hub_download(REPO, "README.md", revision=COMMIT, cache_dir=constants.HF_HUB_CACHE, endpoint=tiny.url)
    code, out, err = ggufvlm("rm", "tiny:Q8_0", "--yes")
    assert (code, out) == (0, "")
    assert err == "  Tiny-Q8_0.gguf\ntiny:Q8_0 removed: 2.1 MB are free again\n"
    assert json.loads(ggufvlm("list", "--json")[1])[1]["name"] == "tiny"
    assert ggufvlm("rm", "tiny", "-y", "-q") == (0, "", "")
    assert Path(readme).read_bytes() == b"about"
    (repo,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert repo.nb_files == 1
    assert not blob_path(REPO, sha256(MODEL)).exists()
    assert ggufvlm("rm", "tiny", "-y")[0] == 4


def test_rm_of_everything_leaves_nothing(tiny, ggufvlm):
    ggufvlm("pull", f"{REPO}:Q8_0")
    assert ggufvlm("rm", "tiny", "--yes")[0] == 0
    assert not repo_folder(REPO).exists()


def test_rm_removes_bytes_of_an_interrupted_download(tiny, ggufvlm):
    partial = partial_path(REPO, sha256(MODEL))
    partial.parent.mkdir(parents=True)
    partial.write_bytes(MODEL[:1_000_000])
    assert ggufvlm("rm", "tiny", "--yes")[2].endswith("tiny removed: 1.0 MB are free again\n")
    assert not partial.exists()


def test_rm_does_not_touch_a_commit_that_is_just_being_fetched(tiny, ggufvlm):
    ggufvlm("pull", "tiny")
    other = partial_path(REPO, "d" * 64)
    other.write_bytes(b"somebody else's")
    assert ggufvlm("rm", "tiny", "--yes")[0] == 0
    assert other.exists()


def test_rm_asks_and_needs_a_terminal_for_it(tiny, ggufvlm, monkeypatch):
    ggufvlm("pull", "tiny")
    code, _, err = ggufvlm("rm", "tiny")
    assert (code, "--yes, or GGUFVLM_ASSUME_YES=1" in err) == (2, True)
    monkeypatch.setenv("GGUFVLM_ASSUME_YES", "1")
    assert ggufvlm("rm", "tiny")[0] == 0
    for name, said in (("demo", "comes with ggufvlm"), (str(Path(__file__)), "a file of yours"), ("nobody", "unknown")):
        code, _, err = ggufvlm("rm", name)
        assert (code, said in err) == (4, True)


# ---- verify


def test_verify_finds_and_mends_damage(tiny, ggufvlm):
    ggufvlm("pull", "tiny")
    code, out, _ = ggufvlm("verify", "tiny")
    assert (code, out.split()) == (0, ["ok", "Tiny-Q4_K_M.gguf", "ok", "mmproj-Tiny-F16.gguf"])
    blob_path(REPO, sha256(PROJECTOR)).write_bytes(PROJECTOR[:-1] + b"?")
    code, out, err = ggufvlm("verify", "tiny")
    assert (code, out.split()[2]) == (4, "damaged")
    assert err == "error: damaged: mmproj-Tiny-F16.gguf\nhint: ggufvlm verify tiny --repair\n"
    assert ggufvlm("verify", "tiny", "--repair", "-q")[0] == 0
    assert ggufvlm("verify", "tiny")[0] == 0


def test_verify_finds_a_truncated_file_and_pull_mends_it(tiny, ggufvlm):
    ggufvlm("pull", "tiny")
    blob_path(REPO, sha256(MODEL)).write_bytes(MODEL[:1000])
    assert ggufvlm("verify", "tiny")[0] == 4
    assert ggufvlm("pull", "tiny")[0] == 0
    assert ggufvlm("verify", "tiny")[0] == 0


def test_verify_of_the_built_in_model_and_of_one_that_is_not_here(tiny, ggufvlm):
    code, out, err = ggufvlm("verify", "demo")
    assert (code, len(out.splitlines())) == (0, 2)
    assert "model and projector fit each other" in err
    code, _, err = ggufvlm("verify", "tiny")
    assert (code, err) == (4, "error: tiny is not on this machine\nhint: ggufvlm pull tiny\n")


# ---- the first question


def test_first_question_downloads_and_answers(tiny, folder):
    done = run("describe", str(folder / "blocks.png"), "-m", "tiny")
    assert (done.returncode, done.stdout) == (0, ANSWER)
    assert done.stderr == f"tiny: downloading 4.8 MB from {REPO}: Tiny-Q4_K_M.gguf, mmproj-Tiny-F16.gguf\n"
    tiny.forget()
    again = run("describe", str(folder / "blocks.png"), "-m", "tiny")
    assert (again.returncode, again.stdout, again.stderr, tiny.log) == (0, ANSWER, "", [])


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 4), (None, 0)])
def test_first_question_on_a_terminal_asks(tiny, folder, answer, code):
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are tested on POSIX")
    arguments = ["-m", "ggufvlm", "describe", str(folder / "blocks.png"), "-m", "tiny"]
    if answer is None:
        arguments.append("--yes")
    child = pexpect.spawn(sys.executable, arguments, env={**os.environ, "TERM": "dumb"}, encoding="utf-8", timeout=60)
    if answer is not None:
        child.expect(r"download\? \[Y/n\]: ")
        assert "tiny: downloading 4.8 MB" in child.before.replace("\r\n", " ")
        assert tiny.n_sent < 300_000
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert ("ggufvlm pull tiny" if code else SCENE.caption[:20]) in child.before


def test_progress_bar_on_a_terminal(tiny, folder):
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are tested on POSIX")
    tiny.hold = [0.5]
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ggufvlm", "pull", "tiny"],
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background jobs
    )
    child.expect(r"1\.0/4\.8\s+MB")
    child.sendintr()
    child.expect("interrupted; what has come is kept")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_columns():
    assert columns([("a", "10", "x"), ("bbb", "2", "")], right=(1,)) == "a    10  x\nbbb   2"


def test_rm_takes_what_was_made_from_the_projector_along(tiny, ggufvlm):
    ggufvlm("pull", "tiny:Q8_0")
    made = projectors_folder() / f"{content_id(blob_path(REPO, sha256(PROJECTOR)))}-BF16-v1.gguf"
    made.write_bytes(bytes(1_500_000))
    of_another = made.with_name(f"{'0' * 32}-BF16-v1.gguf")
    of_another.write_bytes(b"stays")
    assert ggufvlm("rm", "tiny", "--yes")[0] == 0
    assert not made.exists()
    assert of_another.exists()


def test_a_projector_of_2023_is_taken(hub, ggufvlm, tmp_path):
    data = Path(__file__).parents[1] / "data" / "llava"
    untyped = without_type(tmp_path / "untyped.gguf").read_bytes()
    model = (data / "tiny-llava-Q8_0.gguf").read_bytes()
    hub.add("you/ggml_llava", {"ggml-model-Q8_0.gguf": model, "mmproj-model-f16.gguf": untyped})
    code, _, err = ggufvlm("pull", "you/ggml_llava")
    assert code == 0, err
    question = json.loads((data / "reference.jsonl").read_text().splitlines()[0])
    code, out, _ = ggufvlm("describe", str(data / question["image"]), question["question"], "-m", "you/ggml_llava")
    assert code == 0
    assert out.strip() == question["reference"]
