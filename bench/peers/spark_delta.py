"""NDJSON to a Delta table with Spark's Structured Streaming: spark_delta.py SOURCE OUT THREADS

Run by spark-submit, which has the jars. The types are those of the first file.
"""

import glob
import sys

from pyspark.sql import SparkSession

source, out, threads = sys.argv[1:]
spark = SparkSession.builder.appName("bench").getOrCreate()
schema = spark.read.json(sorted(glob.glob(f"{source}/*.json"))[0]).schema
(
    spark.readStream.schema(schema)
    .json(source)
    .writeStream.format("delta")
    .option("checkpointLocation", f"{out}_checkpoint")
    .trigger(availableNow=True)
    .start(out)
    .awaitTermination()
)
spark.stop()
