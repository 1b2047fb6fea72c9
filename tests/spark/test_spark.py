"""The Spark transformer, on a real local Spark with the built-in model. Needs pyspark and Java; skipped without."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest

from ggufvlm import VLM
from ggufvlm.errors import UsageError
from tests.support.scenes import random_scene

pytest.importorskip("pyspark", reason="the extra [spark] is not installed")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("Spark needs Java", allow_module_level=True)

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.param import Param
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import lit

from ggufvlm.spark import DocumentAssembler, GGUFVisionModel, ImageAssembler

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # of pyspark's own
]

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(40)]
CAPTIONS = [scene.caption for scene in SCENES]


def png(image: PIL.Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


FILES = [png(scene.draw(196, 140)) for scene in SCENES]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Two tasks at a time, four attempts each."""
    work = tmp_path_factory.mktemp("spark")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYSPARK_PYTHON", sys.executable)  # else the workers run the python3 of the PATH
    patch.setenv("GGUFVLM_CACHE_DIR", str(work / "cache"))
    session = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(work / "warehouse"))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4")
        .config("spark.local.dir", str(work))
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
    patch.undo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for number, data in enumerate(FILES):
        (folder / f"scene {number:02}.png").write_bytes(data)
    return folder


def stage(**params: object) -> GGUFVisionModel:
    return GGUFVisionModel(model="demo", outputCol="answer", **params)


def number_of(path: str) -> int:
    return int(path[-6:-4])


def test_each_parameter_has_a_setter(spark: SparkSession) -> None:
    model = GGUFVisionModel()
    for parameter in model.params:
        if parameter.name == "inputCols":
            continue
        suffix = parameter.name[0].upper() + parameter.name[1:]
        value = next(value for value in (1, "text", ["text"]) if _is_taken(parameter, value))
        assert getattr(model, f"set{suffix}")(value) is model
        assert model.getOrDefault(parameter) == value


def _is_taken(parameter: Param, value: object) -> bool:
    try:
        parameter.typeConverter(value)
    except TypeError:
        return False
    return True


def test_all_scenes_get_the_answers_of_the_command_line(spark: SparkSession, demo: VLM) -> None:
    rows = [(number, bytearray(data)) for number, data in enumerate(FILES)]
    data = spark.createDataFrame(rows, "id int, image binary").repartition(4)
    found = {row.id: row for row in stage(nSlots=3).transform(data).collect()}
    assert sorted(found) == list(range(len(FILES)))
    assert {number: row.answer for number, row in found.items()} == {
        number: demo.describe(data).text for number, data in enumerate(FILES)
    }
    assert all(row.answer_error is None for row in found.values())
    assert sum(found[number].answer == caption for number, caption in enumerate(CAPTIONS)) >= 38
    assert bytes(found[0].image) == FILES[0]


def test_the_model_is_loaded_once_in_a_worker(spark: SparkSession, folder: Path) -> None:
    """Each row tells the process and the engine that answered it."""
    from pyspark import TaskContext

    model = stage()
    data = spark.createDataFrame([(str(folder / "scene 00.png"),)] * 16, "image string").repartition(8)
    job = model._job(data.schema)

    def engines(batches):
        import pyarrow as pa

        from ggufvlm.spark import rows as spark_rows

        rows = sum(batch.num_rows for batch in spark_rows.answer_batches(batches, job))
        held = id(spark_rows._held[1]) if spark_rows._held else 0
        task = TaskContext.get().partitionId()
        yield pa.RecordBatch.from_pydict({"pid": [os.getpid()], "engine": [held], "task": [task], "rows": [rows]})

    seen = data.mapInArrow(engines, "pid long, engine long, task long, rows long").collect()
    assert sum(row.rows for row in seen) == 16
    assert len({row.task for row in seen if row.rows}) > 2
    pids = {row.pid for row in seen}
    assert len(pids) <= 2
    assert len({(row.pid, row.engine) for row in seen if row.engine}) == len({row.pid for row in seen if row.engine})


def image_source(spark: SparkSession, folder: Path) -> tuple[DataFrame, str]:
    return spark.read.format("image").load(str(folder)), "image.origin"


def binary_files(spark: SparkSession, folder: Path) -> tuple[DataFrame, str]:
    return spark.read.format("binaryFile").load(str(folder)), "path"


def paths(spark: SparkSession, folder: Path) -> tuple[DataFrame, str]:
    found = spark.read.format("binaryFile").load(str(folder)).selectExpr("path as image")
    return found, "image"


def spark_nlp(spark: SparkSession, folder: Path) -> tuple[DataFrame, str]:
    return ImageAssembler.loadImagesAsBytes(spark, str(folder)), "image.origin"


@pytest.mark.parametrize("read", [image_source, binary_files, paths, spark_nlp])
def test_kinds_of_image_columns(spark: SparkSession, folder: Path, read) -> None:
    data, name = read(spark, folder)
    result = stage().transform(data).selectExpr(f"{name} as path", "answer", "answer_error").collect()
    assert len(result) == len(FILES)
    assert [row.answer_error for row in result if row.answer_error] == []
    right = sum(row.answer == CAPTIONS[number_of(row.path)] for row in result)
    assert right >= 38


def test_prompts_of_rows_and_several_images(spark: SparkSession, folder: Path) -> None:
    one, two = (str(folder / f"scene 0{i}.png") for i in (0, 1))
    data = spark.createDataFrame(
        [([one], "Describe this image."), ([one, two], "Describe each image."), ([two], None)],
        "image array<string>, ask string",
    )
    answers = [row.answer for row in stage(promptCol="ask").transform(data).collect()]
    assert answers == [CAPTIONS[0], f"Image 1: {CAPTIONS[0]} Image 2: {CAPTIONS[1]}", CAPTIONS[1]]


def test_bad_images_get_no_answer_and_a_reason(spark: SparkSession) -> None:
    good = bytearray(FILES[0])
    data = spark.createDataFrame(
        [(0, good), (1, bytearray(b"not an image")), (2, None), (3, good[:300]), (4, bytearray()), (5, good)],
        "id int, image binary",
    )
    rows = sorted(stage(errorCol="why").transform(data).collect())
    assert [row.answer for row in rows] == [CAPTIONS[0], None, None, None, None, CAPTIONS[0]]
    assert [row.why is None for row in rows] == [True, False, False, False, False, True]
    assert rows[1].why.startswith("ImageError: ")
    assert "truncated" in rows[3].why


def test_structs_that_hold_something_else_are_bad_rows(spark: SparkSession) -> None:
    """A bad image never fails a task."""
    data = spark.createDataFrame(
        [(("text", "wide"),), (("", None),), ((None, "3"),)], "image struct<data: string, width: string>"
    ).withColumn("path", lit("x").cast("binary"))
    wide = data.selectExpr("named_struct('data', image.data, 'width', image.width, 'more', path) as image")
    rows = stage().transform(wide).collect()
    assert [row.answer for row in rows] == [None] * 3
    assert all(row.answer_error for row in rows)


def test_the_struct_of_hugging_face_s_datasets(spark: SparkSession, folder: Path) -> None:
    path = str(sorted(folder.glob("*.png"))[0])
    data = spark.createDataFrame(
        [(0, (bytearray(FILES[0]), None)), (1, (None, path)), (2, (None, None))],
        "id int, image struct<bytes: binary, path: string>",
    )
    rows = sorted(stage().transform(data).collect())
    assert rows[0].answer == CAPTIONS[0]
    assert rows[1].answer == CAPTIONS[number_of(path)]
    assert rows[2].answer is None


def test_a_null_prompt_asks_the_question_of_the_stage(spark: SparkSession) -> None:
    data = spark.createDataFrame([(bytearray(FILES[0]), None)], "image binary, prompt string")
    data = DocumentAssembler().setInputCol("prompt").setOutputCol("document").transform(data)
    (row,) = stage(inputCols=["document", "image"]).transform(data.drop("prompt")).collect()
    (plain,) = stage().transform(data.select("image")).collect()
    assert row.answer[0].result == plain.answer


def test_only_bad_rows_and_no_rows(spark: SparkSession) -> None:
    data = spark.createDataFrame([("/no/such.png",), (None,)], "image string")
    assert [row.answer for row in stage().transform(data).collect()] == [None, None]
    assert stage().transform(data.limit(0)).collect() == []


def test_the_pipeline_of_spark_nlp_s_page(spark: SparkSession, folder: Path, tmp_path: Path) -> None:
    """As in its documentation of image-text-to-text, with the class and the model changed."""
    data = ImageAssembler.loadImagesAsBytes(spark, str(folder))
    data = data.withColumn("prompt", lit("Describe this image."))

    document_assembler = DocumentAssembler().setInputCol("prompt").setOutputCol("document")
    image_assembler = ImageAssembler().setInputCol("image").setOutputCol("image_assembler")
    auto_gguf_vision_model = (
        GGUFVisionModel.pretrained("demo")
        .setInputCols(["document", "image_assembler"])
        .setOutputCol("completions")
        .setBatchSize(4)
        .setNPredict(64)
        .setTemperature(0.0)
    )
    pipeline = Pipeline(stages=[document_assembler, image_assembler, auto_gguf_vision_model])
    model = pipeline.fit(data)
    model.write().overwrite().save(str(tmp_path / "pipeline"))
    for fitted in (model, PipelineModel.load(str(tmp_path / "pipeline"))):
        result = fitted.transform(data).limit(4)
        rows = result.selectExpr("reverse(split(image.origin, '/'))[0] as image_name", "completions.result").collect()
        assert all(row.result == [CAPTIONS[number_of(row.image_name)]] for row in rows)


def test_parameters_survive_saving(spark: SparkSession, tmp_path: Path) -> None:
    model = stage(nSlots=2).setTopK(7).setStopStrings(["square"]).setSystemPrompt("Be brief.").setSeed(3)
    model.save(str(tmp_path / "stage"))
    loaded = GGUFVisionModel.load(str(tmp_path / "stage"))
    assert loaded.extractParamMap() == {loaded.getParam(p.name): v for p, v in model.extractParamMap().items()}
    assert loaded.sampling_settings() == {"top_k": 7, "stop": ("square",), "seed": 3}
    assert loaded.engine_config().n_slots == 2
    changed = loaded.copy({loaded.temperature: 0.5})
    assert (changed.sampling_settings()["temperature"], "temperature" in loaded.sampling_settings()) == (0.5, False)


def test_settings_reach_the_model(spark: SparkSession) -> None:
    data = spark.createDataFrame([(bytearray(FILES[0]),)], "image binary")
    (short,) = stage(nPredict=2).transform(data).collect()
    assert CAPTIONS[0].startswith(short.answer)
    assert len(short.answer) < len(CAPTIONS[0]) / 2
    (stopped,) = stage(stopStrings=["purple"]).transform(data).collect()
    assert stopped.answer == CAPTIONS[0].partition("purple")[0]


def test_mistakes_are_found_before_anything_runs(spark: SparkSession) -> None:
    data = spark.createDataFrame([("a.png", "b", 1)], "path string, text string, n int")
    for wrong in (
        stage(),
        stage(imageCol="none"),
        stage(imageCol="n"),
        stage(imageCol="path", promptCol="n"),
        stage(inputCols=["path", "text"]),
        stage(imageCol="path", errorCol="text"),
        stage(imageCol="path", temperature=-1.0),
        stage(imageCol="path", nSlots=0),
        stage(imageCol="path", batchSize=-1),
        stage(imageCol="path", batchSize=0),
        stage(imageCol="path", errorCol="answer"),
    ):
        with pytest.raises(UsageError):
            wrong.transform(data)


def test_a_killed_worker_is_retried_and_nothing_is_lost(spark: SparkSession, folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    data = spark.read.format("binaryFile").load(str(folder)).repartition(4)

    def kill_once(batches):
        for number, batch in enumerate(batches):
            if number == 1 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    model = stage()
    job = model._job(data.schema)

    def answered(batches):
        from ggufvlm.spark.rows import answer_batches

        yield from kill_once(answer_batches(batches, job))

    schema = model.transform(data).schema
    rows = data.mapInArrow(answered, schema).select("path", "answer").collect()
    assert marker.exists()
    assert sorted(number_of(row.path) for row in rows) == list(range(len(FILES)))
    assert sum(row.answer == CAPTIONS[number_of(row.path)] for row in rows) >= 38
