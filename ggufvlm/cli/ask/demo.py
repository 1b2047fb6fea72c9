"""``ggufvlm demo``: the built-in model on a built-in image, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ggufvlm.cache.written import remember
from ggufvlm.cli.ask.ask import answer_question
from ggufvlm.cli.options.overwrite import OverwriteOption, check_outputs
from ggufvlm.cli.options.shared import AnswerOptions, HardwareOptions, ModelOptions, SamplingOptions, grouped
from ggufvlm.cli.terminal import console


@grouped
def demo(
    prompt: Annotated[
        str, typer.Argument(metavar="[PROMPT]", help="The question. [Describe this image.]", show_default=False)
    ] = ("Describe this image."),
    number: Annotated[int, typer.Option("--picture", min=1, max=3, help="Which of the built-in images.")] = 1,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Also write the image to this file.", metavar="FILE", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    sampling: SamplingOptions,
    output: AnswerOptions,
) -> None:
    """Ask the built-in model about a built-in image: works offline, right after installation.

    ggufvlm demo

    ggufvlm demo "What color is the square?" --picture 2

    The model weighs 5 MB and was trained on images of coloured blocks only. It shows the machinery; for photographs
    take a real model with describe.
    """
    from ggufvlm import media
    from ggufvlm.vlm.documents import Attachments

    path = Path(__file__).parents[2] / "demo" / f"blocks-{number}.png"
    image = media.load(path)
    if save is not None:
        check_outputs([save], [path], overwrites=overwrite)
        media.save(image, save)
        remember(save)
        console.say(f"saved {save}")
    if not output.quiet:
        if console.can_draw(output, stderr=True):
            console.draw_image(image, output)
        console.say(f"> {prompt}")
    answer_question(
        lambda: Attachments.of([image]),
        prompt,
        system=None,
        prefill="",
        model=ModelOptions(model="demo"),
        settings=sampling.settings(),
        hardware=HardwareOptions(),
        output=output,
    )
