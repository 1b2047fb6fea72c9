"""Spark: a transformer that answers questions about the images of a DataFrame. Needs ``ggufvlm[spark]`` and Java."""

from ggufvlm.spark.transformer import DocumentAssembler, GGUFVisionModel, ImageAssembler

__all__ = ["DocumentAssembler", "GGUFVisionModel", "ImageAssembler"]
