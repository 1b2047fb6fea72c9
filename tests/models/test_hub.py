"""The Hub, spoken to by the real client over a real connection, to a server that can misbehave."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir, try_to_load_from_cache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm.errors import DownloadError, ModelError, PairingError
from ggufvlm.models.hub.cache import partial_path
from ggufvlm.models.hub.client import read_repository
from ggufvlm.models.hub.plan import DownloadProgress
from ggufvlm.models.resolve import find_model
from tests.support.hub_server import COMMIT, MODEL, PROJECTOR, padded, run, sha256, start
from tests.support.require_all import NO_MOUNT

NAME, REPO = "tiny", "me/Tiny-GGUF"
BIG = padded(MODEL, 6_000_000)
FILES = {"Tiny-Q8_0.gguf": BIG, "mmproj-Tiny-F16.gguf": PROJECTOR}
HEADERS = 300_000  # bytes: more than both headers take
OTHER_MODEL = MODEL.replace(b"qwen2vl", b"qwen3vl")
OTHER_PROJECTOR = PROJECTOR.replace(b"qwen2vl_merger", b"qwen3vl_merger")


def entry(*, revision: str | None = COMMIT, projector: str = "mmproj-Tiny-F16.gguf", facts: str = "") -> None:
    """Make the model known to the registry."""
    folder = Path(os.environ["GGUFVLM_CONFIG_DIR"])
    folder.mkdir(exist_ok=True)
    facts = f", {facts}" if facts else ""
    pinned = f'revision = "{revision}"' if revision else ""
    (folder / "models.toml").write_text(
        f"""[models.{NAME}]
        repo = "{REPO}"
        {pinned}
        files = [{{ quant = "Q8_0", name = "Tiny-Q8_0.gguf"{facts} }}]
        projectors = [{{ quant = "F16", name = "{projector}" }}]
        """
    )


@pytest.fixture(autouse=True)
def known() -> None:
    """The model of most tests is pinned."""
    entry(facts=f'sha256 = "{sha256(BIG)}"')


def pull(name: str = NAME, mmproj: Path | None = None) -> list[DownloadProgress]:
    """Fetch a model and return what was heard meanwhile."""
    heard: list[DownloadProgress] = []
    find_model(name, mmproj, fetch=lambda download: download.run(heard.append))
    return heard


def fails(name: str = NAME) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        pull(name)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return caught.value


# ---- the way it should go


def test_first_pull_then_no_request_at_all(hub):
    hub.add(REPO, FILES)
    hub.tokens.add("secret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "secret")
        heard = pull()
    assert [heard[-1].done, heard[-1].total] == [len(BIG) + len(PROJECTOR)] * 2
    assert {asked.token for asked in hub.log if asked.server == "hub"} == {"Bearer secret"}
    assert {asked.token for asked in hub.log if asked.server == "cdn"} == {None}
    assert hub.n_sent < len(BIG) + len(PROJECTOR) + HEADERS
    hub.forget()
    files = find_model(NAME)
    assert hub.log == []
    assert (files.name, files.model.read_bytes(), files.mmproj.read_bytes()) == (NAME, BIG, PROJECTOR)


def test_the_client_itself_finds_what_was_pulled(hub):
    hub.add(REPO, FILES)
    entry(revision=None)
    pull()
    hub.forget()
    path = hf_hub_download(REPO, "Tiny-Q8_0.gguf", cache_dir=constants.HF_HUB_CACHE, local_files_only=True)
    assert path == try_to_load_from_cache(REPO, "Tiny-Q8_0.gguf", cache_dir=constants.HF_HUB_CACHE)
    assert Path(path).read_bytes() == BIG
    (repo,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert (repo.size_on_disk, sorted(repo.refs)) == (len(BIG) + len(PROJECTOR), ["main"])
    assert hub.log == []


def test_what_another_tool_has_fetched_is_not_fetched_again(hub):
    hub.add(REPO, FILES)
    hf_hub_download(REPO, "Tiny-Q8_0.gguf", cache_dir=constants.HF_HUB_CACHE, endpoint=hub.url)
    hub.forget()
    assert {heard.file for heard in pull()} == {"mmproj-Tiny-F16.gguf"}
    assert hub.n_sent < len(PROJECTOR) + HEADERS


def test_same_bytes_of_another_commit_will_do(hub):
    repo = hub.add(REPO, FILES)
    entry(revision=None)
    pull()
    repo.commits["b" * 40] = FILES
    entry(revision="b" * 40, facts=f'sha256 = "{sha256(BIG)}"')
    hub.forget()
    left: list[int] = []
    find_model(NAME, fetch=lambda download: (left.append(download.left), download.run()))
    assert left == [0]  # the projector's checksum is in no registry, but the Hub tells it, and its blob is here
    assert hub.n_sent == 0
    hub.forget()
    assert find_model(NAME)
    assert hub.log == []


def test_main_branch_is_followed_by_pull_only(hub):
    repo = hub.add(REPO, FILES)
    entry(revision=None)
    pull()
    repo.commits["b" * 40] = {**FILES, "Tiny-Q8_0.gguf": BIG + b"newer"}
    assert find_model(NAME).model.read_bytes() == BIG
    done = run("pull", NAME)
    assert done.returncode == 0, done.stderr
    assert find_model(NAME).model.read_bytes() == BIG + b"newer"


def test_offline_with_and_without_the_model(hub, monkeypatch):
    hub.add(REPO, FILES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert str(fails()) == f"HF_HUB_OFFLINE is set, and {REPO} is not complete on this machine"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pull()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.forget()
    assert find_model(NAME).model.read_bytes() == BIG
    assert hub.log == []


def test_mirror(hub, tmp_path):
    hub.add(REPO, FILES)
    done = run("pull", NAME, HF_ENDPOINT=hub.url + "/", HF_HOME=str(tmp_path / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere" / "hub").is_dir()
    assert {asked.server for asked in hub.log} == {"hub", "cdn"}


def test_hub_that_tells_no_sizes(hub):
    hub.add(REPO, FILES, lfs=False)
    entry()
    assert pull()[-1].total == len(BIG) + len(PROJECTOR)
    assert "HEAD" in {asked.method for asked in hub.log}


def test_repository_that_moved(hub):
    hub.add("me/New-GGUF", FILES)
    hub.moved[REPO] = "me/New-GGUF"
    notes: list[str] = []
    find_model(NAME, fetch=lambda download: (notes.extend(download.notes), download.run()))
    assert notes == [f"{REPO} is called me/New-GGUF now"]
    hub.forget()
    assert find_model(NAME)
    assert hub.log == []


def test_quantization_that_the_registry_does_not_list(hub):
    hub.add(REPO, {**FILES, "Tiny-Q4_K_M.gguf": MODEL})
    with pytest.raises(ModelError, match="has no Q5_K_M") as caught:
        pull(f"{NAME}:Q5_K_M")
    assert caught.value.hint == "there is Q4_K_M, Q8_0"
    files = find_model(f"{NAME}:q4_k_m")
    assert (files.name, files.model.name, files.spec.id) == (f"{NAME}:Q4_K_M", "Tiny-Q4_K_M.gguf", NAME)
    hub.forget()
    assert find_model(f"{NAME}:Q4_K_M") == files
    assert hub.log == []


def test_model_on_this_machine_is_found_without_the_heavy_parts_of_the_client(hub):
    hub.add(REPO, FILES)
    pull()
    program = (
        f"import sys; from ggufvlm.models.resolve import find_model; find_model('{NAME}'); "
        "print([name for name in ('httpx', 'httpx2', 'rich', 'numpy', 'PIL', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_split_model_comes_whole(hub):
    parts = {f"Tiny-F16-0000{i}-of-00002.gguf": MODEL + bytes(i) for i in (1, 2)}
    hub.add("me/Split-GGUF", {**parts, "mmproj-F16.gguf": PROJECTOR})
    files = find_model("me/Split-GGUF")
    assert sorted(path.name for path in files.model.parent.glob("Tiny*")) == sorted(parts)
    hub.forget()
    assert find_model("me/Split-GGUF:F16").model == files.model
    assert hub.log == []


# ---- interruptions


def test_resume_after_the_connection_is_cut(hub):
    hub.add(REPO, FILES)
    hub.cut = [0.3, 0.6]
    assert pull()[-1].done == len(BIG) + len(PROJECTOR)
    starts = [asked.range for asked in hub.log if asked.range and asked.server == "cdn"]
    assert f"bytes={int(len(BIG) * 0.3)}-{len(BIG) - 1}" in starts
    assert hub.n_sent < len(BIG) + len(PROJECTOR) + HEADERS
    assert find_model(NAME).model.read_bytes() == BIG


def test_resume_after_giving_up_counts_what_is_there(hub):
    hub.add(REPO, FILES)
    hub.cut = [0.3] * 8
    assert "broke off" in str(fails())
    hub.cut.clear()
    hub.forget()
    heard = pull()
    assert heard[-1].done == heard[-1].total
    assert hub.n_sent < 0.7 * len(BIG) + len(PROJECTOR) + HEADERS
    assert find_model(NAME).model.read_bytes() == BIG


def test_resume_after_the_process_is_killed(hub):
    hub.add(REPO, FILES)
    hub.hold = [0.3]
    process = start("pull", NAME)
    assert hub.held.wait(30)
    partial = partial_path(REPO, sha256(BIG))
    while partial.stat().st_size < int(len(BIG) * 0.3):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    hub.forget()
    done = run("pull", NAME)
    assert done.returncode == 0, done.stderr
    assert "1.8 MB of it are here already" in done.stderr
    assert hub.n_sent < 0.7 * len(BIG) + len(PROJECTOR) + HEADERS
    assert find_model(NAME).model.read_bytes() == BIG


def test_resume_with_a_server_that_knows_no_ranges_begins_anew(hub):
    hub.add(REPO, FILES)
    hub.cut, hub.ranges = [0.3], False
    heard = pull()
    assert heard[-1].done == heard[-1].total
    assert find_model(NAME).model.read_bytes() == BIG


def test_left_over_bytes_that_are_wrong_or_too_many(hub):
    hub.add(REPO, FILES)
    for rubbish in (b"rubbish", BIG + b"more", BIG[:-1] + b"?"):
        partial = partial_path(REPO, sha256(BIG))
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(rubbish)
        assert pull()[-1].done == len(BIG) + len(PROJECTOR)
        assert find_model(NAME).model.read_bytes() == BIG
        shutil.rmtree(constants.HF_HUB_CACHE)


def test_two_processes_at_once(hub):
    hub.add(REPO, FILES)
    hub.hold = [0.3]
    both = [start("pull", NAME), start("pull", NAME)]
    assert hub.held.wait(30)
    while sum("/api/" in asked.path for asked in hub.log) < 2:
        assert all(process.poll() is None for process in both)
        time.sleep(0.01)
    hub.release.set()
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert hub.n_sent < len(BIG) + len(PROJECTOR) + 2 * HEADERS
    assert find_model(NAME).model.read_bytes() == BIG


# ---- wrong bytes


def test_corrupted_bytes_are_fetched_again(hub):
    hub.add(REPO, FILES)
    hub.corrupt = 1
    assert pull()[-1].done == len(BIG) + len(PROJECTOR)
    assert hub.n_sent > 2 * len(BIG)
    assert find_model(NAME).model.read_bytes() == BIG


def test_bytes_that_stay_corrupted_are_refused_and_removed(hub):
    hub.add(REPO, FILES)
    hub.corrupt = 2
    assert "arrived damaged twice" in str(fails())
    assert not [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file() and path.stat().st_size]


def test_file_that_is_not_the_one_the_registry_knows(hub):
    hub.add(REPO, FILES)
    entry(facts=f'sha256 = "{"0" * 64}"')
    assert "is not the file that ggufvlm knows" in str(fails())
    assert hub.n_sent == 0


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_unverified_checksum_gives_way_to_that_of_the_hub(hub, revision):
    hub.add(REPO, FILES)
    unverified = ', unverified = ["sha256"]' if revision else ""
    entry(revision=revision, facts=f'sha256 = "{"0" * 64}"{unverified}')
    notes: list[str] = []
    find_model(NAME, fetch=lambda download: (notes.extend(download.notes), download.run()))
    assert notes == ["Tiny-Q8_0.gguf has changed at the Hub since ggufvlm's list of models was made"]


def test_unverified_name_is_looked_up(hub):
    hub.add(REPO, {"Tiny-Renamed-Q8_0.gguf": MODEL, "mmproj-Tiny-F16.gguf": PROJECTOR})
    entry(facts='unverified = ["name"]')
    assert {heard.file for heard in pull()} == {"Tiny-Renamed-Q8_0.gguf", "mmproj-Tiny-F16.gguf"}


# ---- the pair, before the download


def test_wrong_projector_is_refused_and_the_right_one_named(hub):
    hub.add(REPO, {**FILES, "mmproj-Other-F16.gguf": OTHER_PROJECTOR})
    entry(projector="mmproj-Other-F16.gguf")
    with pytest.raises(PairingError, match=r"mmproj-Other-F16\.gguf does not fit Tiny-Q8_0\.gguf") as caught:
        pull()
    assert f"mmproj-Tiny-F16.gguf of {REPO} fits" in (caught.value.hint or "")
    assert hub.n_sent < 2 * HEADERS


def test_registry_names_the_right_repository(hub):
    model = MODEL.replace(b"qwen2vl", b"qwen3vl")
    hub.add("you/Copy-GGUF", {"Qwen2-VL-2B-Instruct-Q8_0.gguf": model, "mmproj-F16.gguf": PROJECTOR})
    with pytest.raises(PairingError) as caught:
        pull("you/Copy-GGUF")
    assert (caught.value.hint or "").startswith("-m qwen2-vl-2b takes mmproj-Qwen2-VL-2B")


def test_of_several_projectors_the_one_that_fits_is_taken(hub):
    hub.add("you/Two-GGUF", {"m-Q4_K_M.gguf": MODEL, "mmproj-F16.gguf": OTHER_PROJECTOR, "mmproj-Q8_0.gguf": PROJECTOR})
    assert {heard.file for heard in pull("you/Two-GGUF")} == {"m-Q4_K_M.gguf", "mmproj-Q8_0.gguf"}


def test_own_projector_is_compared_too(hub, tmp_path):
    hub.add("you/Text-GGUF", {"m-Q4_K_M.gguf": MODEL})
    with pytest.raises(ModelError, match="holds no projector"):
        pull("you/Text-GGUF")
    mmproj = tmp_path / "mine.gguf"
    mmproj.write_bytes(OTHER_PROJECTOR)
    with pytest.raises(PairingError, match=r"mine\.gguf does not fit"):
        pull("you/Text-GGUF", mmproj)
    mmproj.write_bytes(PROJECTOR)
    assert {heard.file for heard in pull("you/Text-GGUF", mmproj)} == {"m-Q4_K_M.gguf"}
    assert find_model("you/Text-GGUF", mmproj).mmproj == mmproj


def test_truncated_file_at_the_hub_is_refused(hub):
    hub.add(REPO, {**FILES, "mmproj-Tiny-F16.gguf": PROJECTOR[:-1000]})
    with pytest.raises(ModelError, match="truncated"):
        pull()
    assert hub.n_sent < HEADERS


# ---- what the Hub and the network may answer


@pytest.mark.parametrize(("token", "said"), [(None, "its makers want you to accept"), ("known", "has no access")])
def test_gated(hub, monkeypatch, token, said):
    hub.add(REPO, FILES, gated=True)
    hub.tokens.add("known")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    error = fails()
    assert said in str(error)
    assert f"{hub.url}/{REPO}" in error.hint


def test_token_that_is_not_known(hub, monkeypatch):
    hub.add(REPO, FILES)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert str(fails()) == "tiny is not on this machine, and the Hub does not accept your token"


def test_missing_repository_revision_and_file(hub):
    assert f"there is no repository {REPO}" in str(fails())
    hub.add(REPO, {"mmproj-Tiny-F16.gguf": PROJECTOR, "Tiny-Q4_K_M.gguf": MODEL})
    error = fails()
    assert str(error) == f"{REPO} has no file Tiny-Q8_0.gguf"
    assert error.hint == "it has Q4_K_M"
    entry(revision="c" * 40)
    assert str(fails()) == f"{REPO} has no revision {'c' * 40}"


def test_server_errors_are_waited_out_for_a_while(hub):
    hub.add(REPO, FILES)
    hub.fail, hub.fail_bytes = [503, 429], [500, 502]
    pull()
    shutil.rmtree(constants.HF_HUB_CACHE)
    hub.fail = [503] * 9
    assert "answered with status 503" in str(fails())
    hub.fail = [429] * 9
    assert "too many requests" in str(fails())


def test_login_page(hub):
    hub.login_page = True
    assert "does not come from a Hub" in str(fails())


def test_slow_server(hub, monkeypatch):
    hub.add(REPO, FILES)
    hub.hold = [0.3] * 9
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    error = fails()
    assert str(error) == "tiny is not on this machine, and 127.0.0.1 did not answer in time"
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in error.hint


def test_nobody_there(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert str(fails()) == "tiny is not on this machine, and no connection to 127.0.0.1"
    monkeypatch.setattr(constants, "ENDPOINT", "http://no-such-host.invalid")
    assert str(fails()) == "tiny is not on this machine, and the name no-such-host.invalid cannot be found"
    monkeypatch.setattr(constants, "ENDPOINT", "no-address")
    assert "HF_ENDPOINT is no address: no-address" in str(fails())
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("http", "https"))
    assert "no TLS connection to 127.0.0.1: " in str(fails())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificate_that_nobody_signed(hub, monkeypatch, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout"),
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"https://127.0.0.1:{server.server_port}")
    error = fails()
    thread.join(10)
    server.server_close()
    assert "and the TLS certificate of 127.0.0.1 is not to be trusted: certificate verify failed" in str(error)
    assert "SSL_CERT_FILE" in error.hint


def test_proxies(hub):
    hub.add(REPO, FILES)
    gone = run("pull", NAME, HTTP_PROXY="http://me:secret@127.0.0.1:9")
    assert gone.returncode == 4
    assert "the proxy http://127.0.0.1:9 cannot be reached" in gone.stderr
    hub.fail = [407]
    refused = run("pull", NAME, HTTP_PROXY=hub.url)
    assert refused.returncode == 4
    assert "asks for a password" in refused.stderr


# ---- the disk


@pytest.fixture
def small_disk(hub, monkeypatch, tmp_path):
    """A disk of 8 MiB as the Hub cache."""
    if sys.platform != "linux":
        pytest.skip("mounts as Linux does")
    folder = tmp_path / "small"
    folder.mkdir()
    as_root = ["sudo", "-n"] if shutil.which("sudo") and os.geteuid() else []
    command = [*as_root, "mount", "-t", "tmpfs", "-o", f"size=8m,uid={os.geteuid()}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(NO_MOUNT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    yield folder
    subprocess.run([*as_root, "umount", str(folder)], check=True)


def test_disk_too_small(hub, small_disk):
    hub.add(REPO, FILES)
    error = fails()
    assert str(error) == f"{NAME} needs 8.7 MB, and {small_disk} has 8.4 MB left"
    assert hub.n_sent < HEADERS


def test_disk_that_fills_up_meanwhile(hub, small_disk):
    files = {**FILES, "Tiny-Q8_0.gguf": padded(MODEL, 4_000_000)}
    hub.add(REPO, files)
    entry()
    hub.hold = [0.3]
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(pull)
        assert hub.held.wait(30)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(6_000_000))
        hub.release.set()
        with pytest.raises(DownloadError, match="is full"):
            pulling.result()
    filler.unlink()
    hub.forget()
    pull()
    assert hub.n_sent < 0.7 * 4_000_000 + len(PROJECTOR) + HEADERS
    assert find_model(NAME).model.read_bytes() == files["Tiny-Q8_0.gguf"]


def test_cache_that_cannot_be_written_to(hub, monkeypatch, tmp_path):
    hub.add(REPO, FILES)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert "download failed" in str(fails())


# ---- a Hub that lies

ODD = st.sampled_from(
    [
        None,
        True,
        "",
        "x",
        "\ud800",
        "a/\x1b]0;t\x07",
        "../../x",
        "9" * 4000,
        -1,
        0,
        1e308,
        10**4000,
        [],
        {},
        [[]],
        {"a": []},
    ]
)
ANSWERS = st.recursive(ODD, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changed=st.dictionaries(st.sampled_from(["id", "sha", "siblings", "cardData", "gated", "lastModified"]), ANSWERS),
    of_file=st.dictionaries(st.sampled_from(["rfilename", "size", "lfs", "blobId"]), ANSWERS),
    of_lfs=st.dictionaries(st.sampled_from(["sha256", "size", "pointerSize"]), ANSWERS),
)
def test_whatever_a_hub_says_is_a_repository_or_our_error(hub, changed, of_file, of_lfs) -> None:
    hub.add(REPO, {"Tiny-Q8_0.gguf": MODEL})
    lfs = {"sha256": "a" * 64, "size": 5, "pointerSize": 134, **of_lfs}
    file = {"rfilename": "Tiny-Q8_0.gguf", "size": 5, "lfs": lfs, **of_file}
    answer = {"id": REPO, "sha": COMMIT, "siblings": [file], "cardData": {}, **changed}
    with _long_numbers():
        hub.says = json.dumps(answer).encode()
    _is_read_or_refused()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"5" * 5000,
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"sha": "\\ud800"}',
        b"\xff\xfe{}",
        b'{"id": NaN}',
    ],
    ids=lambda answer: f"{answer[:12]!r}x{len(answer)}",
)
def test_what_is_no_answer_of_a_hub_is_told(hub, answer) -> None:
    hub.add(REPO, {"Tiny-Q8_0.gguf": MODEL})
    hub.says = answer
    with pytest.raises(DownloadError, match="does not come from a Hub"):
        read_repository(REPO)


def _is_read_or_refused() -> None:
    try:
        repository = read_repository(REPO)
    except DownloadError:
        return
    assert re.fullmatch("[0-9a-f]{40}", repository.commit)
    for name, part in repository.files.items():
        assert name.isprintable()
        assert ".." not in name
        assert part.size is None or 0 < part.size < 1 << 50


@contextmanager
def _long_numbers() -> Iterator[None]:
    """A server in another language writes numbers that Python refuses to."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("silenced", ["", "argument", "variable"])
def test_python_shows_a_download_as_the_client_of_the_hub_does(hub, silenced):
    hub.add(REPO, FILES)
    code = (
        "import sys; from ggufvlm import VLM\n"
        f"try: VLM.load({NAME!r}, progress={silenced != 'argument'})\n"
        "except Exception as error: print(type(error).__name__)"
    )
    switch = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} if silenced == "variable" else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **switch}, check=True
    )
    shown = f"{NAME}: 100%" in done.stderr
    assert shown == (not silenced), done.stderr
    assert not silenced or done.stderr == ""
