"""Pi, by throwing darts: the job of the guides."""

import random

from pyspark.sql import SparkSession

DARTS = 100_000


def hits(_: int) -> bool:
    x, y = random.random(), random.random()  # noqa: S311 - darts, not secrets
    return x * x + y * y < 1


spark = SparkSession.builder.appName("pi").getOrCreate()
count = spark.sparkContext.parallelize(range(DARTS), 2).filter(hits).count()
print(f"Pi is roughly {4 * count / DARTS}")
spark.stop()
