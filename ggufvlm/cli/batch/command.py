"""``ggufvlm batch INPUT... -p PROMPT -o OUT``: one row for each of many images."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.ask.ask import log_to_stderr
from ggufvlm.cli.batch.options import (
    BatchDocumentOptions,
    EmbedOptions,
    InputOptions,
    RowOptions,
    RunOptions,
    SidecarOptions,
)
from ggufvlm.cli.batch.preflight import show_preflight
from ggufvlm.cli.batch.progress import BatchProgress, counted, duration, rate
from ggufvlm.cli.batch.stdout_rows import STDOUT, kept_for_now, write_rows
from ggufvlm.cli.open_model import find_files
from ggufvlm.cli.options.constraint import ConstraintOptions, shaped_settings
from ggufvlm.cli.options.examples import ExampleOptions
from ggufvlm.cli.options.shared import (
    HardwareOptions,
    ModelOptions,
    OutputOptions,
    PromptOptions,
    SamplingOptions,
    TalkOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.options.stdin_text import check_stdin_once
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.asking import confirm, has_terminal
from ggufvlm.cli.terminal.interruption import Interrupted, leaving_at_once
from ggufvlm.cli.usage.complete import preset_names
from ggufvlm.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ggufvlm.batch.inputs.arguments import Inputs
    from ggufvlm.batch.item import Item
    from ggufvlm.batch.journal.rows import Row
    from ggufvlm.batch.outputs.embed import EmbedStyle
    from ggufvlm.batch.outputs.sidecar import SidecarStyle
    from ggufvlm.batch.run.run import Ask, RowTask
    from ggufvlm.batch.run.session import EngineSettings, Session
    from ggufvlm.config import SamplingSettings
    from ggufvlm.tasks.presets import Preset


@grouped
def batch(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Images, PDFs, videos, folders, patterns, URLs, .csv .tsv .jsonl .parquet; - for stdin lines.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            rich_help_panel="Question",
            autocompletion=preset_names,
            help="caption, detailed, alt, tags, ocr, or your own.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    *,
    asked: PromptOptions,
    shape: ConstraintOptions,
    worked: ExampleOptions,
    model: ModelOptions,
    inputs: InputOptions,
    documents: BatchDocumentOptions,
    rows: RowOptions,
    sidecars: SidecarOptions,
    embedding: EmbedOptions,
    running: RunOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    talk: TalkOptions,
) -> None:
    """Ask about many images, and write a row for each.

    ggufvlm batch photos/ -p "Describe this image." -o captions.jsonl

    ggufvlm batch receipts/ --schema "shop, total float" -o totals.csv

    PDFs, TIFFs of several pages and videos become a row for each page or frame, or one row each with --whole.

    Run the same command again after Ctrl-C, a crash or a power cut: it goes on where it was. Prompts may have fields:
    {stem} {name} {folder} {exif.DateTimeOriginal} and the columns of tables. Exit code 5 if a row is an error.
    """
    from ggufvlm.tasks.presets import find_preset

    found, output = find_preset(preset) if preset else None, talk.output()
    check_stdin_once(arguments, asked.prompt, asked.system)
    task = _task(asked, found, rows, running)
    given = _inputs(arguments, inputs, documents, asked, found)
    task.template.check(given.known_fields)
    keywords = embedding.keywords if embedding.keywords is not None else preset == "tags"
    embed, sidecar = embedding.style(keywords=keywords), sidecars.style(keywords=keywords)
    if embedding.keywords and embed is None and (sidecar is None or sidecar.kind != "xmp"):
        raise UsageError("--keywords: where to?", hint="--sidecar xmp, or --embed xmp,iptc")
    if embed is not None and embed.folder is not None:
        _check_folder(embed.folder, arguments, inputs)
    settings = shaped_settings(sampling, shape, found, asked.prefill)
    examples = worked.read()
    if examples and task.template.fields:
        field = task.template.fields[0]
        raise UsageError(f"--example: the prompt has the field {{{field}}}, and examples are asked the same question")
    engine = replace(_engine(model, settings, hardware, running, output), examples=examples)
    is_stdout = rows.out == STDOUT
    if running.dry_run:
        show_preflight(given, task, engine, None if is_stdout else rows.out)
        return
    with ExitStack() as stack:
        kept = stack.enter_context(kept_for_now(rows)) if is_stdout else rows
        session = stack.enter_context(_session(given, task, engine, kept, sidecar, embed))
        if session.note and not output.quiet:
            console.say(f"note: {session.note}")
        interrupted = _run(session, engine, given, rows, output)
        if is_stdout and rows.ordered:
            write_rows(session.journal.rows())
        _report(session, rows, output)
    if interrupted:
        way_on = "" if is_stdout else "; the same command goes on from here"
        raise Interrupted("" if rows.json_progress else f"interrupted{way_on}")
    if session.n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _task(asked: PromptOptions, preset: Preset | None, rows: RowOptions, running: RunOptions) -> RowTask:
    from ggufvlm.batch.inputs.templates import parse
    from ggufvlm.batch.run.run import RowTask
    from ggufvlm.vlm.vlm import DEFAULT_PROMPT

    given = text_or_file(asked.prompt) if asked.prompt is not None else ""
    system = text_or_file(asked.system) if asked.system else None
    return RowTask(
        template=parse(given or (preset.prompt if preset else DEFAULT_PROMPT)),
        system=system or (preset.system if preset else None),
        prefill=asked.prefill,
        n_retries=running.retries,
        max_errors=rows.max_errors,
        window=running.slots + 2,
        keeps_reasoning=rows.reasoning or "reasoning" in _named_columns(rows),
    )


def _inputs(
    arguments: list[str],
    inputs: InputOptions,
    documents: BatchDocumentOptions,
    asked: PromptOptions,
    preset: Preset | None,
) -> Inputs:
    from ggufvlm.batch.inputs.arguments import Inputs
    from ggufvlm.batch.inputs.cells import Columns
    from ggufvlm.batch.inputs.walk import Filter
    from ggufvlm.media import rejoined

    columns = Columns(
        image=inputs.image_column,
        prompt=inputs.prompt_column,
        system=inputs.system_column,
        id=inputs.id_column,
        guesses_prompt=asked.prompt is None and preset is None,
    )
    wanted = Filter(inputs.include or (), inputs.exclude or ())
    return Inputs(rejoined(arguments), wanted, columns, documents.reading(), null_separated=inputs.null)


def _engine(
    model: ModelOptions,
    settings: SamplingSettings,
    hardware: HardwareOptions,
    running: RunOptions,
    output: OutputOptions,
) -> EngineSettings:
    from ggufvlm.batch.journal.identity import sampling_of
    from ggufvlm.batch.run.session import EngineSettings

    config = replace(hardware.config(), n_slots=running.slots)
    files = find_files(model, quiet=output.quiet)
    return EngineSettings(
        files=files,
        config=config,
        sampling=sampling_of(files, settings),
        raw=model.raw,
        isolate=running.isolate,
        debug=output.debug,
    )


def _check_folder(folder: Path, arguments: list[str], inputs: InputOptions) -> None:
    """Refuse a place for copies where the next run would take them for inputs."""
    from ggufvlm.batch.inputs.walk import Filter
    from ggufvlm.media.sources.read import expand_user

    place, wanted = folder.resolve(), Filter(exclude=inputs.exclude or ())
    for argument in arguments:
        root = expand_user(argument).resolve()
        if not root.is_dir() or not place.is_relative_to(root):
            continue
        on_the_way = [above for above in (place, *place.parents) if above != root and above.is_relative_to(root)]
        if not any(wanted.excludes(above, root) for above in on_the_way):
            raise UsageError(
                f"--embed-to {folder}: lies in {argument}, so that the copies would be asked about, too",
                hint=f"name a folder outside, or --exclude {place.name}",
            )


def _session(
    given: Inputs,
    task: RowTask,
    engine: EngineSettings,
    rows: RowOptions,
    sidecar: SidecarStyle | None,
    embed: EmbedStyle | None,
) -> Session:
    from ggufvlm.batch.run.session import OutputSettings, Session

    if rows.out is None:
        raise UsageError("no output named", hint="-o captions.jsonl; or .csv, .tsv, .parquet; - for stdout")
    output = OutputSettings(
        path=rows.out,
        ordered=rows.ordered,
        restart=rows.restart,
        sync_every=rows.sync_every,
        sidecar=sidecar,
        embed=embed,
        html=rows.html,
        csv_safe=rows.csv_safe,
        columns=_columns(rows, rows.out),
    )
    return Session(given, task, engine, output)


def _columns(rows: RowOptions, out: Path) -> tuple[str, ...]:
    """Of CSV, TSV and Parquet; nothing stands for all that rows usually have."""
    from ggufvlm.batch.outputs.writers import find_writer, with_reasoning

    columns = _named_columns(rows)
    return with_reasoning(columns) if rows.reasoning and find_writer(out) is not None else columns


def _named_columns(rows: RowOptions) -> tuple[str, ...]:
    from ggufvlm.batch.outputs.writers import parse_columns

    return parse_columns(rows.columns) if rows.columns is not None else ()


def _run(session: Session, engine: EngineSettings, given: Inputs, rows: RowOptions, output: OutputOptions) -> bool:
    """Returns whether it was interrupted."""
    from ggufvlm.batch.run.session import load_engine

    if output.debug:
        log_to_stderr()
    writes_rows = rows.out == STDOUT and not rows.ordered
    with BatchProgress(output, as_json=rows.json_progress, beside_rows=writes_rows) as shown:
        interrupted = False

        def load(stack: ExitStack) -> Ask:
            if engine.starts_process(given.count):
                return load_engine(engine, given.count, stack, shown.on_warning)
            with leaving_at_once(quiet=output.quiet):
                return load_engine(engine, given.count, stack, shown.on_warning)

        def on_row(item: Item, row: Row | None) -> None:
            shown.on_row(item, row)
            if writes_rows and row is not None:
                write_rows([row])

        shown(session.progress)
        try:
            session.run(shown, load, on_row, shown.on_problem, partial(_ask_to_replace, rows.out, shown))
        except KeyboardInterrupt:
            interrupted = True
        shown.end(session.progress, finished=not (interrupted or session.progress.stopped))
    return interrupted


def _ask_to_replace(out: Path | None, shown: BatchProgress, change: str, row_id: str) -> None:
    """Ask whether answers may be replaced by those to another question.

    Raises:
        UsageError: they may not, or nobody is there to ask.
    """
    from ggufvlm.batch.journal.durable_write import RESTART

    other = "other settings" if change == "settings" else f"another {change}"
    found = f"{out} holds answers with {other}, such as that about {row_id}"
    hint = f"{RESTART}; -o with another name keeps both"
    if not has_terminal():
        raise UsageError(found, hint=hint)
    shown.pause()
    if not confirm(f"{found}. Replace them?"):
        raise UsageError(f"{out} stays as it is", hint=hint)


def _report(session: Session, rows: RowOptions, output: OutputOptions) -> None:
    progress, embedder = session.progress, session.embedder
    if output.quiet or rows.json_progress:
        return
    parts = [f"{progress.answered} answered"]
    parts += [f"{progress.kept} there before"] if progress.kept else []
    parts += [f"{progress.copied} same as another"] if progress.copied else []
    parts += [f"{progress.skipped} with a sidecar there before"] if progress.skipped else []
    parts += [f"{progress.errors} errors"] if progress.errors else []
    n_unwritten = session.n_failed - progress.errors
    parts += [f"{n_unwritten} not written beside or into their images"] if n_unwritten else []
    seconds = time.monotonic() - progress.began
    name = "stdout" if rows.out == STDOUT else rows.out
    console.say(f"{name}: {', '.join(parts)}; {duration(seconds)}, {rate(progress):.2f} images/s")
    if session.sidecars is not None and session.sidecars.with_ending is not None:
        console.say(f"sidecars of images that share a name keep their endings: {session.sidecars.with_ending}")
    if embedder is not None:
        others = embedder.n_without_file
        more = f"; not about one image file: {counted(others, 'answer')}" if others else ""
        what = "keywords" if embedder.writes_keywords else "a description"
        console.say(f"with {what}: {counted(embedder.n_written, 'image file')}{more}")
        for field, number in embedder.n_without_field.items():
            console.say(f"no place for {field.value.upper()} in {counted(number, 'file')}; the other fields are there")
    if progress.cut:
        by_limit, by_context = progress.cut - progress.cut_by_context, progress.cut_by_context
        ways = [f"{by_limit} by the token limit (-n raises it)"] if by_limit else []
        ways += [f"{by_context} by a full context (-c makes it larger)"] if by_context else []
        console.say(f"warning: answers were cut: {', '.join(ways)}")
    if progress.stopped:
        console.say(f"stopped after {progress.errors} errors (--max-errors)")
    written = _written(session, rows)
    if len(written) > 1 or (rows.out == STDOUT and written):
        console.say(f"written: {', '.join(written)}")


def _written(session: Session, rows: RowOptions) -> list[str]:
    """All files of a run; those of single images are counted."""
    names = [str(path) for path in session.written if rows.out != STDOUT or path == rows.html]
    sidecars, embedder = session.sidecars, session.embedder
    if sidecars is not None and sidecars.n_written:
        names.append(counted(sidecars.n_written, "sidecar"))
    if embedder is not None and embedder.n_written:
        names.append(f"{counted(embedder.n_written, 'image')} in {embedder.folder or 'place'}")
    return names
