"""``ggufvlm pull MODEL``: fetch a model into the Hub cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufvlm.cli.models import transfer
from ggufvlm.cli.options.models import ModelArgument, PlainOptions
from ggufvlm.cli.options.shared import OutputOptions, grouped
from ggufvlm.cli.terminal.console import Spinner, say
from ggufvlm.cli.terminal.interruption import leaving_at_once

if TYPE_CHECKING:
    from ggufvlm.models.files import ModelFiles


@grouped
def pull(model: ModelArgument, plain: PlainOptions) -> None:
    """Download a model and its projector, or what is missing of them.

    ggufvlm pull qwen2-vl-2b

    ggufvlm pull ggml-org/Qwen2.5-VL-3B-Instruct-GGUF:Q8_0

    Both are checked against each other before anything large is fetched. Interrupted downloads go on where they
    stopped. Files that other tools have put into the Hub cache are used.
    """
    from ggufvlm.errors import DownloadError, ModelError
    from ggufvlm.models.hub.plan import HubView, plan
    from ggufvlm.models.hub.transfer import size_text
    from ggufvlm.models.inventory import files_of
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import ask_hub, find_model, is_path, on_disk, parse_name

    if is_path(model):
        raise ModelError(f"{model} is a file: there is nothing to download")
    registry = load_registry()
    wanted = parse_name(model, registry)
    if wanted.repo is None:
        files = find_model(model, fetch=None)
    else:
        hub = HubView()
        try:
            download = plan(ask_hub(wanted, registry, hub), hub=hub)
        except DownloadError as error:
            here = on_disk(wanted)
            if here is None or hub.answered:
                raise
            say(f"note: {error}")
            files = here
        else:
            transfer.fetcher(ask=False, quiet=plain.quiet)(download)
            files = download.located()
    _prepare(files, quiet=plain.quiet)
    if not plain.quiet:
        size = sum(path.stat().st_size for path in files_of(files))
        say(f"{files.name} is on this machine: {size_text(size)} in {files.model.parent}")


def _prepare(files: ModelFiles, *, quiet: bool) -> None:
    """Derive the projector that is best here, so that the first question need not wait for it."""
    from ggufvlm.projectors.select import prepare

    with Spinner(OutputOptions(quiet=quiet)) as spinner, leaving_at_once(quiet=quiet):
        try:
            derived = prepare(files, spinner.on_prepare)
        except (ImportError, OSError, RuntimeError):  # no llama.cpp here, which `doctor` tells
            return
    if derived is not None and not quiet:
        say(f"projector: {derived.text}")
