"""The parameters of :class:`~ggufvlm.spark.GGUFVisionModel`, named as Spark NLP names those of AutoGGUFVisionModel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyspark.ml.param import Param, Params, TypeConverters

from ggufvlm.config import EngineConfig, SamplingParams, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    Self = TypeVar("Self", bound="VisionParams")


def _param(name: str, doc: str, converter: Callable[[Any], Any]) -> Any:
    return Param(Params._dummy(), name, doc, typeConverter=converter)  # noqa: SLF001 - as pyspark's own params do


_text, _int, _float = TypeConverters.toString, TypeConverters.toInt, TypeConverters.toFloat
_texts = TypeConverters.toListString

_SAMPLING = {
    "nPredict": "max_tokens",
    "temperature": "temperature",
    "topK": "top_k",
    "topP": "top_p",
    "minP": "min_p",
    "repeatPenalty": "repeat_penalty",
    "repeatLastN": "penalty_last_n",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "seed",
}
_ENGINE = {
    "nCtx": "n_ctx",
    "nThreads": "n_threads",
    "nGpuLayers": "n_gpu_layers",
    "imageMinTokens": "image_min_tokens",
    "imageMaxTokens": "image_max_tokens",
    "nSlots": "n_slots",
}


class VisionParams(Params):
    """Columns, model, engine and sampling. Setters return the stage itself."""

    inputCols = _param("inputCols", "columns with the prompts and the images, told apart by their types", _texts)
    imageCol = _param("imageCol", "column with the images", _text)
    promptCol = _param("promptCol", "column with the prompts", _text)
    outputCol = _param("outputCol", "column for the answers", _text)
    errorCol = _param("errorCol", "column for the reason why there is no answer; default: outputCol + _error", _text)
    model = _param("model", "registry name, USER/REPO[:QUANT] or a path that every worker can read", _text)
    mmproj = _param("mmproj", "projector file, if it is not the one beside the model", _text)
    prompt = _param("prompt", "the question for rows that have none of their own", _text)
    systemPrompt = _param("systemPrompt", "system message", _text)
    batchSize = _param("batchSize", "rows in flight at a time; default: twice nSlots", _int)
    nSlots = _param("nSlots", "answers that a Python worker makes at the same time", _int)
    nCtx = _param("nCtx", "context in tokens; default: grows", _int)
    nThreads = _param("nThreads", "CPU threads of a Python worker; default: spark.task.cpus", _int)
    nGpuLayers = _param("nGpuLayers", "layers on the GPU, -1 for all; default: as many as fit", _int)
    imageMinTokens = _param("imageMinTokens", "least tokens of an image", _int)
    imageMaxTokens = _param("imageMaxTokens", "most tokens of an image", _int)
    nPredict = _param("nPredict", "longest answer in tokens, -1 for no limit", _int)
    temperature = _param("temperature", "0 always takes the most probable token", _float)
    topK = _param("topK", "choose among this many tokens, 0 for all", _int)
    topP = _param("topP", "choose among the tokens that reach this probability", _float)
    minP = _param("minP", "drop tokens below this fraction of the most probable one", _float)
    repeatPenalty = _param("repeatPenalty", "above 1: less repetition", _float)
    repeatLastN = _param("repeatLastN", "tokens that the penalties look at", _int)
    frequencyPenalty = _param("frequencyPenalty", "subtracted for each time a token was said", _float)
    presencePenalty = _param("presencePenalty", "subtracted if a token was said", _float)
    seed = _param("seed", "the same seed gives the same answers", _int)
    stopStrings = _param("stopStrings", "texts that end an answer", _texts)

    def setInputCols(self: Self, *value: Any) -> Self:
        """Prompt and image columns, in any order: a list, or one by one."""
        given = value[0] if len(value) == 1 and not isinstance(value[0], str) else value
        return self._with(inputCols=list(given))

    def setImageCol(self: Self, value: str) -> Self:
        """Column with the images: binary, paths or URLs, Spark's image type, or Spark NLP's."""
        return self._with(imageCol=value)

    def setPromptCol(self: Self, value: str) -> Self:
        """Column with the prompts: text, or Spark NLP's documents."""
        return self._with(promptCol=value)

    def setOutputCol(self: Self, value: str) -> Self:
        """Column for the answers."""
        return self._with(outputCol=value)

    def setErrorCol(self: Self, value: str) -> Self:
        """Column for the reasons why there is no answer."""
        return self._with(errorCol=value)

    def setModel(self: Self, value: str) -> Self:
        """A registry name, ``USER/REPO[:QUANT]``, or a path that every worker can read."""
        return self._with(model=value)

    def setMmproj(self: Self, value: str) -> Self:
        """The projector file."""
        return self._with(mmproj=value)

    def setPrompt(self: Self, value: str) -> Self:
        """The question for rows that have none."""
        return self._with(prompt=value)

    def setSystemPrompt(self: Self, value: str) -> Self:
        """The system message."""
        return self._with(systemPrompt=value)

    def setBatchSize(self: Self, value: int) -> Self:
        """Rows in flight at a time."""
        return self._with(batchSize=value)

    def setNSlots(self: Self, value: int) -> Self:
        """Answers made at the same time by one Python worker."""
        return self._with(nSlots=value)

    def setNCtx(self: Self, value: int) -> Self:
        """Context in tokens."""
        return self._with(nCtx=value)

    def setNThreads(self: Self, value: int) -> Self:
        """CPU threads of one Python worker."""
        return self._with(nThreads=value)

    def setNGpuLayers(self: Self, value: int) -> Self:
        """Layers on the GPU, -1 for all."""
        return self._with(nGpuLayers=value)

    def setImageMinTokens(self: Self, value: int) -> Self:
        """Least tokens of an image."""
        return self._with(imageMinTokens=value)

    def setImageMaxTokens(self: Self, value: int) -> Self:
        """Most tokens of an image."""
        return self._with(imageMaxTokens=value)

    def setNPredict(self: Self, value: int) -> Self:
        """Longest answer in tokens."""
        return self._with(nPredict=value)

    def setTemperature(self: Self, value: float) -> Self:
        """0 always takes the most probable token."""
        return self._with(temperature=value)

    def setTopK(self: Self, value: int) -> Self:
        """Choose among this many tokens."""
        return self._with(topK=value)

    def setTopP(self: Self, value: float) -> Self:
        """Choose among the tokens that reach this probability."""
        return self._with(topP=value)

    def setMinP(self: Self, value: float) -> Self:
        """Drop tokens below this fraction of the most probable one."""
        return self._with(minP=value)

    def setRepeatPenalty(self: Self, value: float) -> Self:
        """Above 1: less repetition."""
        return self._with(repeatPenalty=value)

    def setRepeatLastN(self: Self, value: int) -> Self:
        """Tokens that the penalties look at."""
        return self._with(repeatLastN=value)

    def setFrequencyPenalty(self: Self, value: float) -> Self:
        """Subtracted for each time a token was said."""
        return self._with(frequencyPenalty=value)

    def setPresencePenalty(self: Self, value: float) -> Self:
        """Subtracted if a token was said."""
        return self._with(presencePenalty=value)

    def setSeed(self: Self, value: int) -> Self:
        """The same seed gives the same answers."""
        return self._with(seed=value)

    def setStopStrings(self: Self, value: list[str]) -> Self:
        """Texts that end an answer."""
        return self._with(stopStrings=value)

    def _with(self: Self, **values: Any) -> Self:
        self._set(**values)
        return self

    def _value(self, name: str, default: Any = None) -> Any:
        """What was set, or by default."""
        return self.getOrDefault(name) if self.isDefined(name) else default

    def engine_config(self) -> EngineConfig:
        """The engine's settings.

        Raises:
            UsageError: one of them makes no sense.
        """
        given = {field: self._value(name) for name, field in _ENGINE.items() if self.isDefined(name)}
        return EngineConfig(**given, priority="throughput")

    def sampling_settings(self) -> SamplingSettings:
        """The sampling that was asked for.

        Raises:
            UsageError: it makes no sense.
        """
        given: dict[str, Any] = {field: self._value(name) for name, field in _SAMPLING.items() if self.isDefined(name)}
        if self.isDefined("stopStrings"):
            given["stop"] = tuple(self._value("stopStrings"))
        SamplingParams(**given)
        return cast("SamplingSettings", given)
