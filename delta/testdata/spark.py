"""Reads the Delta tables of a list with Spark, changes them, and reads them again. Takes the jars of
Delta Lake, a file of JSON {"name", "path", "append": rows, "sql": statements on {t}}, one a line, and the
file to write: {"name", "stage": "read" | "changed", "rows" | "error"}, one a line."""

import json, os, sys

from sparkrows import plain, session

from pyspark.sql import functions, types

spark = session(sys.argv[1], os.path.dirname(os.path.abspath(sys.argv[3])))
out = open(sys.argv[3], "w")


def say(**what):
    out.write(json.dumps(what, sort_keys=True) + "\n")
    out.flush()


def rows(path):
    df = spark.read.format("delta").load(path)
    return [plain(r, df.schema) for r in df.collect()]


for line in open(sys.argv[2]):
    job = json.loads(line)
    name, path = job["name"], job["path"]
    stage = "read"
    try:
        say(name=name, stage=stage, rows=rows(path))
        stage = "changed"
        for row in job.get("append") or []:
            schema = spark.read.format("delta").load(path).schema
            df = spark.createDataFrame([(json.dumps(row),)], "j string")
            wanted = types.StructType([f for f in schema.fields if f.name in row])
            df.select(functions.from_json("j", wanted).alias("r")).select("r.*").write.format("delta").mode("append").save(path)
        for statement in job.get("sql") or []:
            spark.sql(statement.replace("{t}", "delta.`" + path + "`"))
        log = spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)
        none = spark._jvm.scala.Option.empty()
        log.checkpoint(log.update(False, none, none), none)
        say(name=name, stage=stage, rows=rows(path))
    except Exception as e:
        say(name=name, stage=stage, error=str(e)[:2000])
out.close()
spark.stop()
