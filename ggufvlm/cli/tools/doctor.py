"""``ggufvlm doctor``: what this machine and build can do, and what to mend; ``--build`` makes another build."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.options.shared import OutputOptions, Switch
from ggufvlm.cli.terminal import console
from ggufvlm.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ggufvlm.tools.build import BuildPlan
    from ggufvlm.tools.doctor import Finding

_COLORS = {"ok": "green", "warn": "yellow", "bad": "red"}


def doctor(
    build: Annotated[
        str | None,
        typer.Option(
            "--build",
            metavar="PRESET",
            help="Print the command that builds llama.cpp with cpu, cpu-portable, cuda, metal, vulkan, hip or sycl.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="With --build: do it. Takes minutes.", show_default=False)] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask whether the Hub can be reached.", show_default=False)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON.", show_default=False)] = False,
    color: Annotated[Switch, typer.Option("--color", help="Colours. [auto]", show_default=False)] = Switch.AUTO,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks of errors.", show_default=False)] = False,
) -> None:
    """Show what this machine can do, and the command that mends what it cannot.

    ggufvlm doctor

    ggufvlm doctor --build cuda

    The exit code is 1 if no model can run.
    """
    from ggufvlm.tools.doctor import examine, is_broken

    if run and build is None:
        raise UsageError("--run belongs to --build", hint="ggufvlm doctor --build cpu --run")
    if build is not None:
        _build(build, run=run, json=json)
        return
    findings = examine(offline=offline)
    if json:
        typer.echo(json_module.dumps([finding.to_dict() for finding in findings], indent=2, ensure_ascii=False))
    else:
        _show(findings, OutputOptions(color=color))
    if is_broken(findings):
        raise typer.Exit(ExitCode.FAILED)


def _show(findings: list[Finding], output: OutputOptions) -> None:
    if not console.can_draw(output):
        for finding in findings:
            typer.echo(f"{finding.status:<4}  {finding.topic}: {finding.text}")
            if finding.remedy:
                typer.echo(f"      -> {finding.remedy}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = Text(finding.text)
        if finding.remedy:
            text.append(f"\n-> {finding.remedy}", style="cyan")
        table.add_row(Text(finding.status, style=_COLORS[finding.status]), Text(finding.topic, style="bold"), text)
    console.make_console(output).print(table)


def _build(preset: str, *, run: bool, json: bool) -> None:
    from ggufvlm.tools.build import as_typed, plan_build, run_build

    plan = plan_build(preset)
    if json:
        typer.echo(json_module.dumps(_as_dict(plan), indent=2, ensure_ascii=False))
    else:
        for check in plan.checks:
            state = check.path or (f"missing: {check.remedy}" if check.blocks else "not here; pip brings it")
            typer.echo(f"{check.tool:<13} {state}", err=True)
        typer.echo(as_typed(plan))
    sys.stdout.flush()
    if run:
        run_build(plan)
        console.say("done; `ggufvlm doctor` shows the new build")


def _as_dict(plan: BuildPlan) -> dict[str, object]:
    return {
        "preset": plan.preset.name,
        "flags": dict(plan.preset.variables),
        "environment": dict(plan.environment),
        "command": list(plan.command),
        "tools": {check.tool: check.path for check in plan.checks},
        "missing": {check.tool: check.remedy for check in plan.missing},
    }
