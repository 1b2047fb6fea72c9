"""Which model is asked where none is named: shown, set, and chosen at the first question."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ggufvlm.errors import UsageError
from ggufvlm.hardware import system
from ggufvlm.models.registry import load_registry
from ggufvlm.models.user_config import configure_model, read_config
from tests.cli.conftest import SCENE, Run, RunHere, shown_lines
from tests.support.hub_server import COMMIT, MODEL, PROJECTOR, HubServer
from tests.support.program import see_program


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """The folder of the user's settings, on a machine where no variable names a model."""
    monkeypatch.delenv("GGUFVLM_MODEL")
    folder = Path(os.environ["GGUFVLM_CONFIG_DIR"])
    folder.mkdir()
    return folder


# ---- use


def test_use_shows_and_sets_the_model_that_is_asked(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_first = run("use")
    assert at_first.stdout == b"qwen2-vl-2b\n"
    assert b"says ggufvlm itself" in at_first.stderr
    assert b"not on this machine yet" in at_first.stderr
    done = run("use", "Demo")
    assert (done.returncode, done.stdout) == (0, b"demo\n")
    assert f"says {config / 'config.toml'}" in done.stderr.decode()
    assert run("describe", "blocks.png").stdout.decode() == SCENE.caption + "\n"
    monkeypatch.setenv("GGUFVLM_MODEL", "smolvlm-500m")
    assert run("use", "-q").stdout == b"smolvlm-500m\n"
    assert b"GGUFVLM_MODEL comes before" in run("use", "demo").stderr
    monkeypatch.delenv("GGUFVLM_MODEL")
    assert run("use", "--reset", "-q").stdout == b"qwen2-vl-2b\n"


def test_use_takes_no_model_that_does_not_exist(run_here: RunHere, config: Path) -> None:
    code, _, err = run_here("use", "qwen2-vl-2")
    assert code == 4
    assert err.splitlines()[0] == "error: unknown model: qwen2-vl-2"
    assert run_here("use", "nosuch.gguf")[0] == 4
    assert not (config / "config.toml").exists()


def test_use_leaves_the_rest_of_the_settings_as_it_is(config: Path) -> None:
    path = config / "config.toml"
    rest = '# mine\n\n[presets.mine] # a table\nprompt = """\nmodel = "no"\n"""\n'
    path.write_text(f'\ufeff# first\nmodel = "old" # so far\n{rest}', encoding="utf-8")
    configure_model('me/My "Model":Q8_0')
    assert read_config()["model"] == 'me/My "Model":Q8_0'
    assert path.read_text().endswith(f"# first\n{rest}")
    configure_model(None)
    assert path.read_text() == f"# first\n{rest}"


def test_settings_that_cannot_be_changed_line_by_line_are_left_alone(config: Path) -> None:
    path = config / "config.toml"
    path.write_text(before := '"model" = "old"\n')
    with pytest.raises(UsageError, match=r"config\.toml"):
        configure_model("demo")
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ('modle = "demo"', "unknown key 'modle'", "did you mean model?"),
        ('[preset.mine]\nprompt = "x"', "unknown key 'preset'", "did you mean presets?"),
        ("model = demo", "Invalid value", None),
        ('model = ""', "model must be a name in quotes", None),
        ('model = "qwen2-vl-2"', "unknown model: qwen2-vl-2 (", "did you mean qwen2-vl-2b"),
    ],
)
def test_settings_are_checked_and_named_in_the_error(
    run_here: RunHere, config: Path, text: str, error: str, hint: str | None
) -> None:
    (config / "config.toml").write_text(text)
    code, _, err = run_here("describe", "blocks.png", "What?")
    first, *more = err.splitlines()
    assert code in (2, 4)
    assert error in first
    assert str(config / "config.toml") in first
    assert not hint or hint in more[0]
    assert len(more) <= 1


def test_an_unknown_model_of_the_environment_says_so(run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "xyzzy")
    assert run_here("describe", "blocks.png", "What?")[2].splitlines() == [
        "error: unknown model: xyzzy (GGUFVLM_MODEL names this model)",
        "hint: `ggufvlm list --all` shows the models there are",
    ]


# ---- list --all


def test_all_models_fit_80_columns_recommended_ones_first(folder: Path) -> None:
    shown, code = see_program("list", "--all", folder=folder)
    head, *lines = shown_lines(shown, 81, rows=200)
    rows = [line for line in lines if line and not line.startswith("*")]
    assert code == 0
    assert max(map(len, rows)) <= 80
    assert head.split() == ["NAME", "SIZE", "FITS", "STATE", "TAGS", "SUMMARY"]
    registry = load_registry()
    names = [row.split()[0] for row in rows]
    assert names[: len(registry.recommended)] == [spec.id for spec in registry.recommended]
    assert sorted(names) == [spec.id for spec in registry], "names are whole"
    assert "* recommended" in lines


def test_a_word_chooses_among_the_models(run_here: RunHere) -> None:
    names = [line.split()[0] for line in run_here("list", "--all", "qwen", "boxes")[1].splitlines()[1:-1]]
    assert {"qwen2-vl-2b", "qwen3-vl-4b"} <= set(names)
    assert not {"gemma-3-4b", "lfm2-vl-450m"} & set(names)
    assert "ggufvlm list --all qwen" in run_here("describe", "blocks.png", "What?", "-m", "qwen")[2]
    code, out, err = run_here("list", "qwen")
    assert (code, out, err.splitlines()[1]) == (4, "", "hint: ggufvlm list --all qwen")
    assert run_here("list", "--json", "qwen")[1] == "[]\n"


def test_what_is_too_large_for_the_memory_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from ggufvlm.cli.models.offers import fits

    registry = load_registry()
    monkeypatch.setattr(system, "installed_memory", lambda: 6_000_000_000)
    assert fits(registry.find("lfm2-vl-450m")) is True
    assert fits(registry.find("qwen3-vl-32b")) is False
    monkeypatch.setattr(system, "installed_memory", lambda: None)
    assert fits(registry.find("lfm2-vl-450m")) is None


# ---- the first question


@pytest.fixture
def first_models(hub: HubServer, config: Path) -> HubServer:
    """A registry of three small models, none of them on this machine."""
    names = ("first", "second", "third")
    tables = []
    for name in names:
        hub.add(f"me/{name}", {f"{name}-Q4_K_M.gguf": MODEL, f"mmproj-{name}-F16.gguf": PROJECTOR})
        tables.append(
            f"""[models.{name}]
            summary = "the {name} of three"
            repo = "me/{name}"
            revision = "{COMMIT}"
            memory_gb = 0.1
            files = [{{ quant = "Q4_K_M", name = "{name}-Q4_K_M.gguf", size = {len(MODEL)} }}]
            projectors = [{{ quant = "F16", name = "mmproj-{name}-F16.gguf", size = {len(PROJECTOR)} }}]"""
        )
    head = f'default = "first"\nrecommended = {list(names)}\n'
    (config / "models.toml").write_text(head + "\n".join(tables))
    return hub


def test_the_first_question_offers_three_models_and_one_key_chooses(folder: Path, first_models: HubServer) -> None:
    shown, code = see_program("describe", "blocks.png", folder=folder, key="2")
    lines = [line for line in shown_lines(shown, 80, rows=60) if line]
    assert code == 0, lines
    start = next(place for place, line in enumerate(lines) if "no model is on this machine yet" in line)
    assert [line.split()[:4] for line in lines[start + 1 : start + 4]] == [
        ["1", "first", "4.8", "MB"],
        ["2", "second", "4.8", "MB"],
        ["3", "third", "4.8", "MB"],
    ]
    assert "second: downloading 4.8 MB from me/second" in " ".join(lines)
    assert lines[-1] == SCENE.caption
    assert read_config() == {"model": "second"}
    assert "no model is on" not in see_program("describe", "blocks.png", folder=folder)[0]


def test_enter_takes_the_first_and_another_key_leaves(folder: Path, first_models: HubServer) -> None:
    shown, code = see_program("describe", "blocks.png", folder=folder, key="q")
    assert code == 130
    assert "`ggufvlm demo` needs no model" in shown
    assert first_models.n_sent == 0
    shown, code = see_program("describe", "blocks.png", folder=folder, key="\r")
    assert code == 0, shown
    assert "first: downloading" in shown
    assert read_config() == {}


def test_without_a_terminal_the_default_is_downloaded_and_a_line_says_so(run: Run, first_models: HubServer) -> None:
    done = run("describe", "blocks.png")
    assert done.stdout.decode() == SCENE.caption + "\n", done.stderr
    assert done.stderr.decode().splitlines() == [
        "first: downloading 4.8 MB from me/first: first-Q4_K_M.gguf, mmproj-first-F16.gguf"
    ]


def test_a_model_that_is_named_is_not_chosen_anew(folder: Path, first_models: HubServer) -> None:
    shown, code = see_program("describe", "blocks.png", "-m", "third", "-y", folder=folder)
    assert code == 0
    assert "no model is on this machine" not in shown
