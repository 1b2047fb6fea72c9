"""Spark: a transformer that answers questions about the images of a DataFrame. Needs ``ggufvlm[spark]`` and Java.

    from ggufvlm.spark import GGUFVisionModel

    model = GGUFVisionModel.pretrained("qwen2-vl-2b").setInputCols("prompt", "image").setOutputCol("completions")
    model.transform(data)

Every Python worker loads the model once and keeps it from task to task, so as many models are in memory as tasks run at
the same time: with ``spark.task.cpus`` at the number of cores it is one on each executor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import MissingExtra, UsageError
from ggufvlm.spark.rows import SparkJob, answer_batches

try:
    from pyspark import TaskContext
    from pyspark.ml import Transformer
    from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
    from pyspark.sql.types import StringType, StructField, StructType
except ImportError as error:
    raise MissingExtra("ggufvlm.spark", "spark") from error

from ggufvlm.spark.columns import ANNOTATIONS, find_columns
from ggufvlm.spark.nlp import DocumentAssembler, ImageAssembler
from ggufvlm.spark.params import VisionParams

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

__all__ = ["DocumentAssembler", "GGUFVisionModel", "ImageAssembler"]


class GGUFVisionModel(Transformer, VisionParams, DefaultParamsReadable, DefaultParamsWritable):
    """Asks a vision-language model about the image of each row.

    The image column holds files (binary), paths or URLs (text), Spark's image type, Spark NLP's, or an array of one of
    these. Without ``inputCols``, ``imageCol`` and ``promptCol`` it is the column ``image``, or ``content`` of the
    binaryFile format; the prompt is the column ``prompt``, if there is one, else the parameter of that name.

    A row whose image cannot be read gets no answer, and the reason in the error column.
    """

    def __init__(self, **params: Any) -> None:
        """Any parameter can be given by name: ``GGUFVisionModel(model="demo", outputCol="answer")``."""
        super().__init__()
        from ggufvlm.vlm.vlm import DEFAULT_PROMPT

        self._setDefault(outputCol="completions", prompt=DEFAULT_PROMPT, nSlots=1)
        self._set(**params)

    @classmethod
    def pretrained(cls, name: str = "") -> GGUFVisionModel:
        """A model by its name: ``qwen2-vl-2b``, ``USER/REPO[:QUANT]``; the user's default without one."""
        return cls(model=name) if name else cls()

    @classmethod
    def loadSavedModel(cls, path: str, mmproj: str | None = None) -> GGUFVisionModel:
        """A model from GGUF files, at paths that every worker can read."""
        return cls(model=path, mmproj=mmproj) if mmproj else cls(model=path)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        job = self._job(dataset.schema)
        answer = ANNOTATIONS if job.as_annotations else StringType()
        added = [StructField(job.output_col, answer), StructField(job.error_col, StringType())]
        schema = StructType([*dataset.schema.fields, *added])

        def answered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return answer_batches(batches, _with_threads(job))

        return dataset.mapInArrow(answered, schema)

    def _job(self, schema: StructType) -> SparkJob:
        image, prompt = find_columns(
            schema, self._value("inputCols"), self._value("imageCol"), self._value("promptCol")
        )
        output = self._value("outputCol")
        error = self._value("errorCol", f"{output}_error")
        if output == error:
            raise UsageError(f"the column {output!r} cannot hold answers and errors", hint="setErrorCol")
        n_ahead = self._value("batchSize")
        if n_ahead is not None and n_ahead < 1:
            raise UsageError(f"batchSize must be positive, not {n_ahead}", hint="setBatchSize")
        for name in (output, error):
            if name in schema.names:
                raise UsageError(f"the column {name!r} is there already", hint="setOutputCol, setErrorCol")
        kinds = [schema[name].dataType for name in (image, prompt) if name is not None]
        return SparkJob(
            image_col=image,
            prompt_col=prompt,
            output_col=output,
            error_col=error,
            model=_absolute(self._value("model")),
            mmproj=_absolute(self._value("mmproj")),
            config=self.engine_config(),
            sampling=self.sampling_settings(),
            prompt=self._value("prompt"),
            system=self._value("systemPrompt"),
            n_ahead=n_ahead,
            as_annotations=any(_is_annotations(kind) for kind in kinds),
        )


def _is_annotations(kind: Any) -> bool:
    element = getattr(kind, "elementType", None)
    return isinstance(element, StructType) and "annotatorType" in element.names


def _absolute(name: str | None) -> str | None:
    """A file's name as workers need it, who run elsewhere."""
    return str(Path(name).absolute()) if name and Path(name).is_file() else name or None


def _with_threads(job: SparkJob) -> SparkJob:
    """In the worker: as many threads as Spark has given to the task."""
    context = TaskContext.get()
    if job.config.n_threads is not None or context is None:
        return job
    return replace(job, config=replace(job.config, n_threads=context.cpus()))
