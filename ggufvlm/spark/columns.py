"""Which columns of a DataFrame are images and which one is the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    FloatType,
    IntegerType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from ggufvlm.errors import UsageError

ANNOTATIONS = ArrayType(
    StructType(
        [
            StructField("annotatorType", StringType()),
            StructField("begin", IntegerType(), nullable=False),
            StructField("end", IntegerType(), nullable=False),
            StructField("result", StringType()),
            StructField("metadata", MapType(StringType(), StringType())),
            StructField("embeddings", ArrayType(FloatType(), containsNull=False)),
        ]
    )
)
"""What Spark NLP's annotators give for text."""

_DEFAULT_IMAGES = ("image", "content")
_DEFAULT_PROMPT = "prompt"


def find_columns(
    schema: StructType, inputs: Sequence[str] | None, image: str | None, prompt: str | None
) -> tuple[str, str | None]:
    """The image column, and the prompt column if there is one.

    Args:
        schema: of the DataFrame.
        inputs: columns that are one or the other, told apart by their types.
        image, prompt: columns that are named for it.

    Raises:
        UsageError: missing, of a type that cannot be read, or not to be told apart.
    """
    for name in (*(inputs or ()), image, prompt):
        if name is not None and name not in schema.names:
            raise UsageError(f"there is no column {name!r}", hint=f"columns: {', '.join(schema.names)}")
    if inputs:
        image, prompt = _told_apart(schema, [name for name in inputs if name not in (image, prompt)], image, prompt)
    image = image or next((name for name in _DEFAULT_IMAGES if name in schema.names), None)
    if image is None:
        raise UsageError("which column has the images?", hint='setImageCol("...")')
    if not inputs and prompt is None and _DEFAULT_PROMPT in schema.names:
        prompt = _DEFAULT_PROMPT
    if not (_holds_images(schema[image].dataType) or _is_text(schema[image].dataType)):
        raise UsageError(f"column {image!r} is {schema[image].dataType.simpleString()}: no images")
    if prompt is not None and not _is_text(schema[prompt].dataType):
        raise UsageError(f"column {prompt!r} is {schema[prompt].dataType.simpleString()}: no prompts")
    return image, prompt


def _told_apart(
    schema: StructType, inputs: Sequence[str], image: str | None, prompt: str | None
) -> tuple[str | None, str | None]:
    images = [name for name in inputs if _holds_images(schema[name].dataType)]
    texts = [name for name in inputs if name not in images]
    if image is None and not images and len(texts) == 1:
        return texts[0], prompt  # paths
    if len(images) > (image is None) or len(texts) > (prompt is None):
        raise UsageError(
            f"input columns {', '.join(inputs)}: which has the images, and which the prompts?",
            hint="setImageCol and setPromptCol",
        )
    return image or next(iter(images), None), prompt or next(iter(texts), None)


def _holds_images(kind: Any) -> bool:
    """Whether nothing else can be meant: files, or structs with pixels; paths may be prompts as well."""
    if isinstance(kind, ArrayType):
        return isinstance(kind.elementType, StringType) or _holds_images(kind.elementType)
    if isinstance(kind, StructType):
        return any(isinstance(field.dataType, BinaryType) for field in kind.fields)
    return isinstance(kind, BinaryType)


def _is_text(kind: Any) -> bool:
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType):
        names = kind.elementType.names
        return "result" in names and isinstance(kind.elementType["result"].dataType, StringType)
    return isinstance(kind, StringType)
