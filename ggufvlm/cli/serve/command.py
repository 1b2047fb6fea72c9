"""``ggufvlm serve``: the engine for clients of OpenAI and Ollama, over HTTP."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.open_model import find_files
from ggufvlm.cli.options.models import PlainOptions
from ggufvlm.cli.options.shared import HardwareOptions, ModelOptions, grouped, text_or_file
from ggufvlm.cli.serve.aliases import read_aliases
from ggufvlm.cli.serve.options import AccessOptions, LimitOptions, StayOptions
from ggufvlm.cli.terminal.interruption import leaving_at_once
from ggufvlm.cli.usage.complete import model_names, projector_names
from ggufvlm.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ggufvlm.server.app import Rules
    from ggufvlm.server.contract import Limits
    from ggufvlm.server.engines.messages import Load
    from ggufvlm.server.engines.pool import EnginePool
    from ggufvlm.server.http.address import Address

_MEGA = 1_000_000
_MORE_AT_A_TIME = 16
"""Requests with a body beyond those that wait for models, so that a full queue is told by the model it belongs to."""


@grouped
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            rich_help_panel="Model",
            autocompletion=model_names,
            help="A model; may be repeated, the first is the default.",
            metavar="MODEL",
        ),
    ] = None,
    mmproj: Annotated[
        Path | None,
        typer.Option(
            "--mmproj",
            rich_help_panel="Model",
            autocompletion=projector_names,
            help="Projector file of the one model.",
            metavar="FILE",
        ),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            rich_help_panel="Model",
            help="Another name for a model; may be repeated.",
            metavar="NAME[=MODEL]",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", rich_help_panel="Model", help="No chat template: for base models.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", rich_help_panel="Model", help="Download a missing model without asking.")
    ] = False,
    host: Annotated[str, typer.Option("--host", help="Address to listen on. [127.0.0.1]", show_default=False)] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, typer.Option("--port", help="0 takes a free one. [8080]", min=0, max=65535, show_default=False)
    ] = 8080,
    *,
    stay: StayOptions,
    limits: LimitOptions,
    access: AccessOptions,
    hardware: HardwareOptions,
    plain: PlainOptions,
) -> None:
    """Answer clients of OpenAI and Ollama over HTTP, and show a page to ask from.

    ggufvlm serve -m qwen2-vl-2b

    ggufvlm serve -m qwen2-vl-2b -m gemma-3-4b --host 0.0.0.0 --api-key @key

    Models are loaded when they are first asked, and leave after --keep-alive. Reachable from other machines only with
    --host and a key.
    """
    with leaving_at_once(quiet=plain.quiet):
        _require_extra()
        from ggufvlm.server.durations import parse_duration
        from ggufvlm.server.http.address import bind, is_loopback
        from ggufvlm.server.run import Plan, serve_until_stopped

    _log_to_stderr(quiet=plain.quiet, debug=plain.debug)
    key = text_or_file(access.api_key).strip() if access.api_key else None
    _check_key(host, key, is_local=is_loopback(host), may_be_open=access.no_api_key)
    grace = parse_duration(stay.grace)
    if grace < 0:
        raise UsageError("--grace cannot be endless", hint="--grace 10m")
    found = _limits(limits)
    loads = _loads(model or [None], mmproj, found, stay, hardware, plain, raw=raw, yes=yes)
    names = [(typed, load.files.name) for typed, load in zip(model or (None,), loads, strict=True)]
    aliases = read_aliases(alias or (), names)
    loads = [replace(load, aliases=names) for load, names in zip(loads, aliases, strict=True)]
    address = bind(host, port)
    rules = _rules(access, found, address, key)

    def make() -> tuple[FastAPI, EnginePool]:
        from ggufvlm.server.app import make_app
        from ggufvlm.server.engines.pool import EnginePool
        from ggufvlm.server.metrics import Metrics

        metrics = Metrics()
        pool = EnginePool(loads, metrics, keep_alive=parse_duration(stay.keep_alive), max_loaded=stay.max_loaded)
        pool.cards()  # reads the headers now, and tells what is damaged
        at_a_time = (found.queue + stay.slots) * len(loads) + _MORE_AT_A_TIME
        return make_app(pool, rules, metrics, n_at_a_time=at_a_time), pool

    def say() -> None:
        if not plain.quiet or not port:  # a port that was not chosen has to be told
            typer.echo(f"listening on {address.url}", err=True)

    with leaving_at_once(quiet=plain.quiet):  # until the server has its own way with signals
        serve_until_stopped(make, Plan(address=address, grace=grace, preload=stay.preload, on_listening=say))


def _require_extra() -> None:
    if not all(map(find_spec, ("fastapi", "uvicorn", "prometheus_client"))):
        raise MissingExtra("serve", "serve")


def _log_to_stderr(*, quiet: bool, debug: bool) -> None:
    if debug:
        from ggufvlm.cli.ask.ask import log_to_stderr

        log_to_stderr()
        return
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("ggufvlm.server").setLevel(logging.ERROR if quiet else logging.INFO)


def _check_key(host: str, key: str | None, *, is_local: bool, may_be_open: bool) -> None:
    """Raises: UsageError, everybody on the network could ask."""
    if key is not None and may_be_open:
        raise UsageError("--no-api-key, and there is a key", hint="--api-key or GGUFVLM_API_KEY: leave one out")
    if key == "":
        raise UsageError("the API key is empty")
    if key is None and not is_local and not may_be_open:
        raise UsageError(
            f"--host {host} lets other machines ask, and there is no key",
            hint="--api-key KEY, or GGUFVLM_API_KEY; --no-api-key if everybody may",
        )


def _limits(given: LimitOptions) -> Limits:
    from ggufvlm.server.contract import Limits
    from ggufvlm.server.durations import parse_duration

    seconds = parse_duration(given.timeout)
    if seconds <= 0:
        raise UsageError("--timeout must be above 0", hint="--timeout 1h")
    return Limits(
        body=given.max_body * _MEGA,
        images=given.max_images,
        pixels=given.max_pixels * _MEGA,
        tokens=given.max_tokens,
        seconds=seconds,
        queue=given.queue,
    )


def _loads(
    names: list[str] | list[None],
    mmproj: Path | None,
    limits: Limits,
    stay: StayOptions,
    hardware: HardwareOptions,
    plain: PlainOptions,
    *,
    raw: bool,
    yes: bool,
) -> list[Load]:
    """The files of each model; missing ones are fetched now, while somebody is there to see it."""
    from ggufvlm.server.engines.messages import Load

    if mmproj is not None and len(names) > 1:
        raise UsageError("--mmproj belongs to one model, and several are named")
    config = replace(hardware.config(), n_slots=stay.slots, priority="latency")
    found = [find_files(ModelOptions(model=name, mmproj=mmproj, yes=yes), quiet=plain.quiet) for name in names]
    return [Load(files=files, config=config, limits=limits, raw=raw, debug=plain.debug) for files in found]


def _rules(access: AccessOptions, limits: Limits, address: Address, key: str | None) -> Rules:
    from ggufvlm.server.app import Rules
    from ggufvlm.server.fetch.remote import RemoteRules
    from ggufvlm.server.http.own_names import read_host, read_origin

    allowed = tuple(map(read_host, access.allow_host or ()))
    return Rules(
        limits=limits,
        remote=RemoteRules(allowed=access.allow_urls, max_bytes=limits.body),
        api_key=key,
        hosts=(*allowed, address.socket.getsockname()[0]) if address.is_loopback or allowed else None,
        origins=tuple(map(read_origin, access.cors_origin or ())),
        log_prompts=access.log_prompts,
    )
