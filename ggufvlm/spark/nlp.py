"""Stand-ins for the two assemblers that Spark NLP's pipelines begin with: the same columns, without its Java part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.ml import Transformer
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import functions as sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_FIELDS = ("origin", "height", "width", "nChannels", "mode")


class _Assembler(Transformer, HasInputCol, HasOutputCol, DefaultParamsReadable, DefaultParamsWritable):
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._set(**params)

    def setInputCol(self, value: str) -> Any:
        """The column to read."""
        return self._set(inputCol=value)

    def setOutputCol(self, value: str) -> Any:
        """The column to add."""
        return self._set(outputCol=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset.withColumn(self.getOutputCol(), self._assembled(dataset[self.getInputCol()]))

    def _assembled(self, column: Column) -> Column:
        raise NotImplementedError


class DocumentAssembler(_Assembler):
    """Text -> Spark NLP's documents."""

    def _assembled(self, column: Column) -> Column:
        return sql.array(
            sql.struct(
                sql.lit("document").alias("annotatorType"),
                sql.lit(0).alias("begin"),
                (sql.length(column) - 1).alias("end"),
                column.alias("result"),
                sql.create_map(sql.lit("sentence"), sql.lit("0")).alias("metadata"),
                sql.array().cast("array<float>").alias("embeddings"),
            )
        )


class ImageAssembler(_Assembler):
    """Spark's images -> Spark NLP's."""

    def _assembled(self, column: Column) -> Column:
        return sql.array(
            sql.struct(
                sql.lit("image").alias("annotatorType"),
                *(column[name].alias(name) for name in _FIELDS),
                column["data"].alias("result"),
                sql.create_map(sql.lit("image"), sql.lit("0")).alias("metadata"),
                sql.lit("").alias("text"),
            )
        )

    @staticmethod
    def loadImagesAsBytes(spark: SparkSession, path: str) -> DataFrame:
        """The files of a folder, as they are: nothing is decoded here."""
        files = spark.read.format("binaryFile").load(path)
        unknown = [sql.lit(-1).alias(name) for name in _FIELDS[1:]]
        return files.select(
            sql.struct(sql.col("path").alias("origin"), *unknown, sql.col("content").alias("data")).alias("image")
        )
