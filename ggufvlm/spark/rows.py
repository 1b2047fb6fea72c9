"""What happens to rows inside a Python worker of Spark: cells -> questions -> answers. Does not import Spark."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.request import url2pathname

from ggufvlm.config import EngineConfig, SamplingSettings
from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media import Image
from ggufvlm.vlm.map import Question, QuestionResult

if TYPE_CHECKING:
    import pyarrow as pa

    from ggufvlm.vlm.vlm import VLM


@dataclass(frozen=True, kw_only=True, slots=True)
class SparkJob:
    """What the workers have to know.

    Attributes:
        image_col, prompt_col: columns to read; without a prompt column every row is asked ``prompt``.
        model, mmproj: as :meth:`VLM.load <ggufvlm.VLM.load>` takes them.
        n_ahead: rows in flight at a time, being read, waiting or answered.
        as_annotations: answers as Spark NLP's annotations in place of text.
    """

    image_col: str
    prompt_col: str | None
    output_col: str
    error_col: str
    model: str | None
    mmproj: str | None
    config: EngineConfig
    sampling: SamplingSettings
    prompt: str
    system: str | None
    n_ahead: int | None
    as_annotations: bool


@dataclass(slots=True)
class _PendingBatch:
    """A batch whose rows are being answered."""

    batch: pa.RecordBatch
    texts: list[str | None] = field(init=False)
    errors: list[str | None] = field(init=False)
    n_open: int = field(init=False)

    def __post_init__(self) -> None:
        self.texts = [None] * self.batch.num_rows
        self.errors = [None] * self.batch.num_rows
        self.n_open = self.batch.num_rows

    def settle(self, row: int, text: str | None, error: GGUFVLMError | None) -> None:
        """Note what came of a row: its answer, or the reason why there is none."""
        self.texts[row] = text
        self.errors[row] = f"{type(error).__name__}: {error}" if error is not None else None
        self.n_open -= 1


def answer_batches(batches: Iterator[pa.RecordBatch], job: SparkJob) -> Iterator[pa.RecordBatch]:
    """Add an answer and an error to each row. Batches keep their order, and are read only as far as there is room."""
    tables: deque[_PendingBatch] = deque()
    questions = _questions(batches, job, tables)
    first = next(questions, None)
    if first is not None:  # else there is nothing to load a model for
        for result in _answers(chain((first,), questions), job):
            table, row = result.question.tag
            table.settle(row, result.answer.text if result.answer is not None else None, result.error)
            while tables and not tables[0].n_open:
                yield _finished(tables.popleft(), job)
    while tables:
        yield _finished(tables.popleft(), job)


def _answers(questions: Iterator[Question], job: SparkJob) -> Iterator[QuestionResult]:
    vlm = _engine(job)
    try:
        yield from vlm.map(questions, n_ahead=job.n_ahead)
    except GGUFVLMError:
        _drop_engine()  # it will not recover; the next task begins with a new one
        raise


def _questions(batches: Iterator[pa.RecordBatch], job: SparkJob, tables: deque[_PendingBatch]) -> Iterator[Question]:
    for batch in batches:
        table = _PendingBatch(batch)
        tables.append(table)
        images = batch.column(batch.schema.get_field_index(job.image_col))
        prompts = batch.column(batch.schema.get_field_index(job.prompt_col)) if job.prompt_col else None
        for row in range(batch.num_rows):
            try:
                row_images = read_cell(images[row].as_py())
                prompt = prompt_of(prompts[row].as_py()) if prompts is not None else None
            except ImageError as error:
                table.settle(row, None, error)
                continue
            except Exception as error:  # noqa: BLE001 - a bad row never fails a task
                table.settle(row, None, ImageError(f"the row cannot be read ({type(error).__name__}: {error})"))
                continue
            yield Question(
                prompt=job.prompt if prompt is None else prompt,
                images=row_images,
                system=job.system,
                settings=job.sampling,
                tag=(table, row),
            )


_CONTENTS = ("data", "result", "content", "bytes")
"""Fields of a struct that hold a file, or pixels."""


def read_cell(cell: Any) -> list[Any]:
    """The images of a cell: file bytes, a path or URL, Spark's or Spark NLP's image, or a list of these.

    Raises:
        ImageError: there is none.
    """
    if isinstance(cell, list) and cell:
        return [image for item in cell for image in read_cell(item)]
    if isinstance(cell, str) and cell:
        return [_path(cell)]
    if isinstance(cell, (bytes, bytearray)) and cell:
        return [bytes(cell)]
    if isinstance(cell, dict):
        return [_from_struct(cell)]
    raise ImageError("there is no image in this row")


def prompt_of(cell: Any) -> str | None:
    """The prompt of a cell: a text, or Spark NLP's documents; ``None`` if it has none."""
    if isinstance(cell, list):
        texts = [item["result"] for item in cell if item is not None and item["result"] is not None]
        return "\n".join(map(str, texts)) if texts else None
    return None if cell is None else str(cell)


def _path(text: str) -> str:
    # Hadoop writes file:/tmp/a.png, and escapes what is no letter
    if text.startswith("file:/") and not text.startswith("file://"):
        return url2pathname(text.removeprefix("file:"))
    return text


def _from_struct(cell: dict[str, Any]) -> Image | bytes | str:
    """Spark's image type holds pixels, blue first; Spark NLP puts whole files into the same fields.

    Hugging Face's datasets have the bytes of a file, or its path alone.
    """
    path = cell.get("path")
    origin = str(cell.get("origin") or path or "<image>")
    data = next((cell[name] for name in _CONTENTS if cell.get(name)), None)
    if data is None and "bytes" in cell and isinstance(path, str) and path:
        return _path(path)
    if not isinstance(data, (bytes, bytearray)):
        raise ImageError(f"{origin}: not an image that Spark could read")
    data = bytes(data)
    width, height, channels = (_whole(cell.get(name)) for name in ("width", "height", "nChannels"))
    if channels not in (1, 3, 4) or width < 1 or height < 1 or len(data) != width * height * channels:
        return data
    import numpy as np

    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    rgb = np.repeat(pixels, 3, axis=2) if channels == 1 else pixels[..., ::-1]
    return Image.from_rgb(width, height, np.ascontiguousarray(rgb).tobytes(), origin)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _finished(table: _PendingBatch, job: SparkJob) -> pa.RecordBatch:
    import pyarrow as pa

    answers = _annotations(table.texts) if job.as_annotations else pa.array(table.texts, pa.string())
    batch = table.batch.append_column(job.output_col, answers)
    return batch.append_column(job.error_col, pa.array(table.errors, pa.string()))


def _annotations(texts: list[str | None]) -> pa.Array:
    import pyarrow as pa

    kind = pa.struct(
        [
            ("annotatorType", pa.string()),
            pa.field("begin", pa.int32(), nullable=False),
            pa.field("end", pa.int32(), nullable=False),
            ("result", pa.string()),
            ("metadata", pa.map_(pa.string(), pa.string())),
            ("embeddings", pa.list_(pa.float32())),
        ]
    )
    rows = [
        None
        if text is None
        else [
            {
                "annotatorType": "document",
                "begin": 0,
                "end": len(text) - 1,
                "result": text,
                "metadata": [],
                "embeddings": [],
            }
        ]
        for text in texts
    ]
    return pa.array(rows, pa.list_(kind))


_held: tuple[tuple[Any, ...], VLM] | None = None


def _engine(job: SparkJob) -> VLM:
    """The engine of this process: kept from task to task, replaced if another model is wanted."""
    global _held
    key = (job.model, job.mmproj, job.config)
    if _held is not None and _held[0] == key:
        return _held[1]
    _drop_engine()
    # libgomp reads this when it is loaded: waiting threads leave the cores to the other workers
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from ggufvlm.vlm.vlm import VLM

    vlm = VLM.load(job.model, job.mmproj, config=job.config, progress=False)
    _held = key, vlm
    return vlm


def _drop_engine() -> None:
    global _held
    if _held is not None:
        vlm, _held = _held[1], None
        vlm.close()
