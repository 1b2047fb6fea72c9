"""``ggufvlm show MODEL``: what is known of a model, and whether its two parts fit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ggufvlm.cli.options.models import DebugOptions, JsonOption
from ggufvlm.cli.options.shared import grouped
from ggufvlm.cli.terminal.console import columns
from ggufvlm.cli.usage.complete import model_names, projector_names

if TYPE_CHECKING:
    from ggufvlm.models.files import ModelFiles
    from ggufvlm.models.hub.plan import Download
    from ggufvlm.models.pairing import PairReport
    from ggufvlm.models.schema import ModelFile, ModelSpec


@grouped
def show(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=model_names,
            help="A name, USER/REPO[:QUANT] or FILE.gguf.",
            show_default=False,
        ),
    ],
    mmproj: Annotated[
        Path | None,
        typer.Option(
            "--mmproj", autocompletion=projector_names, help="Projector file.", metavar="FILE", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    *,
    common: DebugOptions,
) -> None:
    """Show what is known of a model: files, licence, context, boxes, memory, and whether its two parts fit.

    ggufvlm show qwen2-vl-2b

    ggufvlm show model.gguf --mmproj mmproj.gguf

    Of a model that is not on this machine a few hundred kilobytes are read from the Hub. A star marks what nobody has
    checked yet.
    """
    facts = gather(model, mmproj)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        typer.echo(_text(facts))


def gather(name: str, mmproj: Path | None = None) -> dict[str, Any]:
    """The facts, as JSON has them.

    Raises:
        ModelError: no such model; of a model that the registry does not know, also that the Hub does not tell.
    """
    from ggufvlm.errors import DownloadError
    from ggufvlm.models.hub.plan import HubView, plan
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import ask_hub, find_model, from_registry, is_path, on_disk, parse_name

    registry = load_registry()
    if is_path(name):
        return _of_files(find_model(name, mmproj, fetch=None))
    wanted = parse_name(name, registry)
    if wanted.repo is None or on_disk(wanted, mmproj):
        return _of_files(find_model(name, mmproj, fetch=None))
    hub = HubView()
    try:
        return _of_download(plan(ask_hub(wanted, registry, hub), mmproj, hub=hub, check_space=False))
    except DownloadError as error:
        if wanted.spec is None or (wanted.quant and wanted.quant not in wanted.spec.quants):
            raise
        selection = from_registry(wanted.spec, wanted.quant)
        files = [selection.model, selection.projectors[0]]
        return _facts(selection.name, wanted.spec, files, {}, {"checked": False, "why": str(error)})


def _of_files(files: ModelFiles) -> dict[str, Any]:
    from ggufvlm.families.registry import find_family
    from ggufvlm.gguf.names import quant_of
    from ggufvlm.models.hub.cache import checksum_of, origin_of
    from ggufvlm.models.inventory import files_of
    from ggufvlm.models.pairing import check_pair
    from ggufvlm.models.schema import FilePart, ModelFile

    shown, paths = [], {}
    for path in files_of(files):
        repo, commit, name = origin_of(path) or (None, None, path.name)
        part = FilePart(name=name, size=path.stat().st_size, sha256=checksum_of(path))
        shown.append(ModelFile(quant=quant_of(name) or "UNKNOWN", parts=(part,), repo=repo, revision=commit))
        paths[name] = str(path)
    report = check_pair(files.model, files.mmproj, allow_untyped=True)
    facts = _facts(files.name, files.spec, shown, paths, _pair(report))
    known_faults = list(find_family(files, report.projector_type).known_faults)
    return {**facts, **_changes(report, files), "known_faults": known_faults}


def _changes(report: PairReport, files: ModelFiles) -> dict[str, str | None]:
    """What is mended when it is loaded, and which projector is derived. Where it can matter, llama.cpp is asked."""
    from ggufvlm.projectors.repair import find_repair
    from ggufvlm.projectors.select import Setup, find_set_up

    try:
        repair = find_repair(report, files.model)
        derived = find_set_up(Setup(files=files, repair=repair))
    except (ImportError, OSError, RuntimeError):  # no llama.cpp here, which `doctor` tells
        return {"repair": None, "projector": None}
    return {"repair": repair.text, "projector": derived.text if derived else None}


def _of_download(download: Download) -> dict[str, Any]:
    selection = download.selection
    files = [file for file in (selection.model, selection.projector) if file]
    facts = _facts(selection.name, selection.spec, files, {}, _pair(download.report))
    return {**facts, "download": download.left, "notes": list(download.notes)}


def _pair(report: PairReport) -> dict[str, Any]:
    return {"checked": True, **asdict(report)}


def _facts(
    name: str, spec: ModelSpec | None, files: list[ModelFile], paths: dict[str, str], pair: dict[str, Any]
) -> dict[str, Any]:
    first = files[0]
    known = {
        key: getattr(spec, key) if spec else None
        for key in ("summary", "license", "params", "context", "memory_gb", "handler", "template", "grounding")
    }
    return {
        "name": name,
        "id": spec.id if spec else None,
        "aliases": list(spec.aliases) if spec else [],
        "repo": first.repo,
        "revision": first.revision,
        "on_disk": bool(paths) or bool(spec and spec.builtin),
        **known,
        "sampling": spec.sampling.given() if spec else {},
        "unverified": list(spec.unverified) if spec else [],
        "files": [_file(file, part, paths) for file in files for part in file.parts],
        "pair": pair,
    }


def _file(file: ModelFile, part: Any, paths: dict[str, str]) -> dict[str, Any]:
    from ggufvlm.models.hub.select import is_projector

    return {
        "name": part.name,
        "role": "projector" if is_projector(part.name) else "model",
        "quant": file.quant,
        "size": part.size,
        "sha256": part.sha256,
        "unverified": list(file.unverified),
        "path": paths.get(part.name),
    }


def _text(facts: dict[str, Any]) -> str:
    from ggufvlm.models.hub.transfer import size_text

    def row(title: str, key: str, unit: str = "") -> tuple[str, str] | None:
        value = facts[key]
        star = "*" if key in facts["unverified"] else ""
        return (title, f"{value}{unit}{star}") if value not in (None, "") else None

    rows = [
        row("name", "name"),
        row("summary", "summary"),
        row("repository", "repo"),
        row("revision", "revision"),
        row("licence", "license"),
        row("parameters", "params"),
        row("context", "context", " tokens"),
        row("memory", "memory_gb", " GB with 8192 tokens of context"),
        row("boxes", "grounding"),
        ("template", str(facts["template"] or _template(facts["pair"]))),
        ("sampling", ", ".join(f"{key} {value}" for key, value in facts["sampling"].items()) or "none recommended"),
    ]
    for file in facts["files"]:
        size = size_text(file["size"]) if file["size"] else "size unknown"
        stars = f" (*{', '.join(file['unverified'])})" if file["unverified"] else ""
        rows.append((file["role"], f"{file['name']}, {file['quant']}, {size}{stars}"))
    rows.append(("on disk", "yes" if facts["on_disk"] else "no"))
    rows.append(("pair", _pair_text(facts["pair"])))
    if facts.get("repair"):
        rows.append(("repaired", facts["repair"]))
    if facts.get("projector"):
        rows.append(("computed in", facts["projector"]))
    rows += [("in llama.cpp", fault) for fault in facts.get("known_faults", [])]
    rows += [("note", note) for note in facts.get("notes", [])]
    return columns([item for item in rows if item is not None])


def _template(pair: dict[str, Any]) -> str:
    known = {True: "in the model", False: "none", None: "not looked for"}
    return known[pair.get("has_chat_template")]


def _pair_text(pair: dict[str, Any]) -> str:
    if not pair["checked"]:
        return f"not checked: {pair['why']}"
    return (
        f"fits: {pair['architecture']}, width {pair['n_embd_inp']}; {pair['projector_type']}, "
        f"width {pair['projector_width']}"
    )
