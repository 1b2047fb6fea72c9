"""A download as the client of the Hub shows its own: with its bar, which its switches silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ggufvlm.models.hub.plan import Download, DownloadProgress


def fetch_with_bar(download: Download) -> None:
    """Fetch what is missing, and show how far it is: on stderr, or as a widget of a notebook.

    ``HF_HUB_DISABLE_PROGRESS_BARS=1`` and ``huggingface_hub.utils.disable_progress_bars()`` show nothing.

    Raises:
        DownloadError: as :meth:`Download.run <ggufvlm.models.hub.plan.Download.run>`.
    """
    from huggingface_hub.utils import tqdm

    here = download.total - download.left
    with tqdm(  # type: ignore[no-untyped-call]
        total=download.total,
        initial=here,
        desc=download.selection.name,
        unit="B",
        unit_scale=True,
        name="ggufvlm.download",
    ) as bar:

        def show(progress: DownloadProgress) -> None:
            bar.update(progress.done - bar.n)

        download.run(show)
