"""Options of ``ggufvlm serve``, as groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ggufvlm.cli.options.shared import option


@dataclass(frozen=True, kw_only=True)
class StayOptions:
    """How many answers at a time, and how long models stay in memory."""

    panel: ClassVar[str] = "Memory"

    slots: Annotated[int, option("--slots", help="Answers of a model at a time. [4]", min=1, max=256)] = 4
    keep_alive: Annotated[
        str, option("--keep-alive", help="How long a model stays after its last answer; -1 for no end. [5m]")
    ] = "5m"
    preload: Annotated[bool, option("--preload", help="Load all models before listening.")] = False
    max_loaded: Annotated[
        int | None, option("--max-loaded", help="Models in memory at a time. [as many as fit]", min=1)
    ] = None
    grace: Annotated[
        str, option("--grace", help="How long running answers may go on when the server is stopped. [30s]")
    ] = "30s"


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """What one request may take."""

    panel: ClassVar[str] = "Limits"

    queue: Annotated[
        int, option("--queue", help="Requests of a model that may wait for a slot; more are refused. [32]", min=0)
    ] = 32
    timeout: Annotated[str, option("--timeout", help="Longest time for an answer, waiting included. [10m]")] = "10m"
    max_body: Annotated[int, option("--max-body", help="Largest body of a request, in MB. [32]", min=1)] = 32
    max_images: Annotated[int, option("--max-images", help="Images in one request. [16]", min=0)] = 16
    max_pixels: Annotated[
        int, option("--max-pixels", help="Largest image, in millions of pixels. [64]", min=1, max=178)
    ] = 64
    max_tokens: Annotated[
        int, option("--max-tokens", "-n", help="Longest answer that a client may ask for, in tokens. [4096]", min=1)
    ] = 4096


@dataclass(frozen=True, kw_only=True)
class AccessOptions:
    """Who may ask, and what is written down."""

    panel: ClassVar[str] = "Access"

    api_key: Annotated[
        str | None,
        option(
            "--api-key",
            help="Key that clients must send; @FILE reads it.",
            metavar="KEY|@FILE",
            envvar="GGUFVLM_API_KEY",
        ),
    ] = None
    no_api_key: Annotated[bool, option("--no-api-key", help="Let everybody ask who can reach --host.")] = False
    allow_host: Annotated[
        list[str] | None,
        option("--allow-host", help="Another name under which it may be asked; may be repeated.", metavar="NAME"),
    ] = None
    cors_origin: Annotated[
        list[str] | None,
        option("--cors-origin", help="A site whose pages may ask; may be repeated; * for all.", metavar="ORIGIN"),
    ] = None
    allow_urls: Annotated[
        bool, option("--allow-urls", help="Fetch images from http(s) URLs for clients; never from private networks.")
    ] = False
    log_prompts: Annotated[bool, option("--log-prompts", help="Write what is asked into the log.")] = False
