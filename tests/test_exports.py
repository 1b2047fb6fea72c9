"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import ggufvlm

HEAVY = (
    "llama_cpp",
    "huggingface_hub",
    "PIL",
    "numpy",
    "httpx",
    "jinja2",
    "rich",
    "prompt_toolkit",
    "av",
    "pypdfium2",
    "pyspark",
    "markdown_it",
)


def test_every_public_name_is_there_and_listed_once() -> None:
    assert all(getattr(ggufvlm, name) is not None for name in ggufvlm.__all__)
    assert len(ggufvlm.__all__) == len(set(ggufvlm.__all__))
    assert set(ggufvlm.__all__) == {
        *ggufvlm._HOME_OF,
        *ggufvlm._FORMER_NAMES,
        *ggufvlm.errors.__all__,
        "__version__",
    }


def test_former_names_are_the_same_things() -> None:
    assert ggufvlm.Result is ggufvlm.QuestionResult
    assert ggufvlm.Score is ggufvlm.AnswerScore
    assert ggufvlm.Times is ggufvlm.AnswerTimes


def loaded_by(code: str) -> set[str]:
    """The heavy modules that running ``code`` in a new interpreter loads."""
    program = f"import sys\n{code}\nprint(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.__stdout__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import ggufvlm") == set()


def test_help_loads_nothing_heavy() -> None:
    help_of = (
        "from ggufvlm.cli.main import main\n"
        "sys.argv = ['ggufvlm', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0, done.code"
    )
    helps = ([command, "--help"] for command in ("describe", "demo", "chat", "compare", "alt"))
    for arguments in (["--help"], *helps, ["--version"]):
        assert loaded_by(help_of.format(arguments=arguments)) == set(), arguments
