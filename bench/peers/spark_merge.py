"""Merges NDJSON into a Delta table with Spark: spark_merge.py CHANGES TABLE KEY

Run by spark-submit, which has the jars. The types are those of the table.
"""

import sys

from pyspark.sql import SparkSession

changes, table, key = sys.argv[1:]
spark = SparkSession.builder.appName("bench").getOrCreate()
schema = spark.read.format("delta").load(table).schema
spark.read.schema(schema).json(changes).createOrReplaceTempView("source")
spark.sql(
    f"MERGE INTO delta.`{table}` target USING source ON target.{key} = source.{key} "
    "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
)
spark.stop()
