"""A job that does with the bucket whatever Spark can do with a file system, and prints what became of each."""

import contextlib
import os

from pyspark import SparkFiles
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession

BUCKET = "s3a://spark-local"
NAMES = ("with space", "hash#x", "comma,y", "percent%z", "percent%20z", "Кириллица", "a+b", "q?m", "eq=1", "semi;x")

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
rows = spark.range(10).selectExpr("id", "cast(id as string) AS text")
steps = {}


def step(function):
    steps[function.__name__] = function
    return function


# First: what stands in the bucket later looks like partitions to Spark.
@step
def the_root():
    assert spark.read.option("pathGlobFilter", "*.txt").text(f"{BUCKET}/").count() > 0
    assert spark.read.format("binaryFile").option("pathGlobFilter", "*.txt").load(BUCKET).count() > 0
    assert context.textFile(f"{BUCKET}/*.txt").count() > 0
    path = spark._jvm.org.apache.hadoop.fs.Path(f"{BUCKET}/")
    system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    assert f"{BUCKET}/notes.txt" in [status.getPath().toString() for status in system.listStatus(path)]
    assert system.getFileStatus(path).isDirectory()


@step
def readers_and_writers():
    for kind in ("parquet", "csv", "json", "orc"):
        rows.write.format(kind).save(f"{BUCKET}/files/{kind}")
        rows.write.mode("append").format(kind).save(f"{BUCKET}/files/{kind}")
        assert spark.read.format(kind).load(f"{BUCKET}/files/{kind}").count() == 20, kind
    rows.select("text").write.option("compression", "gzip").text(f"{BUCKET}/files/text")
    assert spark.read.text(f"{BUCKET}/files/text").count() == 10


@step
def partitions():
    spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")
    for part in (rows, rows.filter("id < 3")):
        part.write.mode("overwrite").partitionBy("text").parquet(f"{BUCKET}/partitions")
    assert spark.read.parquet(f"{BUCKET}/partitions").filter("text = '7'").count() == 1


@step
def tables():
    rows.write.option("path", f"{BUCKET}/tables/one").saveAsTable("one")
    rows.write.insertInto("one")
    spark.sql(f"CREATE TABLE two USING csv LOCATION '{BUCKET}/tables/two' AS SELECT * FROM range(3)")
    spark.sql(f"CREATE DATABASE three LOCATION '{BUCKET}/tables/three'")
    rows.write.bucketBy(2, "id").saveAsTable("three.four")
    assert [spark.table(name).count() for name in ("one", "two", "three.four")] == [20, 3, 10]


@step
def rdds():
    numbers = context.parallelize([(1, "a"), (2, "b")])
    numbers.saveAsTextFile(f"{BUCKET}/rdds/text")
    numbers.saveAsPickleFile(f"{BUCKET}/rdds/pickle")
    numbers.saveAsSequenceFile(f"{BUCKET}/rdds/sequence")
    output = "org.apache.hadoop.mapreduce.lib.output.TextOutputFormat"
    numbers.saveAsNewAPIHadoopFile(f"{BUCKET}/rdds/hadoop", output)
    assert context.textFile(f"{BUCKET}/rdds/text").count() == 2
    assert context.wholeTextFiles(f"{BUCKET}/rdds/text").count() > 0
    assert context.pickleFile(f"{BUCKET}/rdds/pickle").count() == 2
    assert context.sequenceFile(f"{BUCKET}/rdds/sequence").count() == 2
    context.setCheckpointDir(f"{BUCKET}/rdds/checkpoints")
    numbers.checkpoint()
    assert numbers.count() == 2


@step
def streams():
    source = spark.readStream.schema("id LONG, text STRING").csv(f"{BUCKET}/files/csv")
    sink = source.writeStream.format("parquet").option("path", f"{BUCKET}/streams/out")
    query = sink.option("checkpointLocation", f"{BUCKET}/streams/one").trigger(availableNow=True).start()
    query.awaitTermination()
    assert spark.read.parquet(f"{BUCKET}/streams/out").count() == 20
    # With a state that is checkpointed, too.
    counts = source.groupBy("text").count().writeStream.outputMode("complete").format("memory").queryName("counts")
    query = counts.option("checkpointLocation", f"{BUCKET}/streams/two").trigger(availableNow=True).start()
    query.awaitTermination()
    assert spark.table("counts").count() == 10


@step
def models():
    data = rows.selectExpr("id", "cast(id AS double) AS label")
    stages = [VectorAssembler(inputCols=["id"], outputCol="features"), LinearRegression()]
    Pipeline(stages=stages).fit(data).write().save(f"{BUCKET}/model")
    assert PipelineModel.load(f"{BUCKET}/model").transform(data).count() == 10


@step
def files():
    context.addFile(f"{BUCKET}/notes.txt")
    context.addPyFile(f"{BUCKET}/late.py")
    with open(SparkFiles.get("notes.txt")) as file:
        assert file.read() == "noted"
    assert context.parallelize([0], 1).map(lambda _: __import__("come_along").NAME).first() == "come along"
    assert os.path.isfile(SparkFiles.get("with space;more.txt"))
    assert os.path.isfile("env/inside.txt") or os.path.isfile(SparkFiles.get("env") + "/inside.txt")


@step
def names():
    for name in NAMES:
        rows.write.parquet(f"{BUCKET}/names/{name}")
        assert spark.read.parquet(f"{BUCKET}/names/{name}").count() == 10, name


@step
def another_bucket():
    with contextlib.suppress(Exception):
        spark.read.text("s3a://other/x").count()
        raise SystemExit("another bucket was read")


@step
def a_cast_that_fails_is_null():
    bad = spark.sql("SELECT cast('1,5' AS double) AS number, to_date('31.31.2026', 'dd.MM.yyyy') AS day").first()
    assert (bad.number, bad.day) == (None, None)


for name, run in steps.items():
    try:
        run()
        print(f"{name}: well")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}"[:2000])
spark.stop()
