"""Makes merges into Delta tables with Spark. Takes the jars of Delta Lake, the folder of sparkrows.py, a
file of JSON {"name", "path", "create": {"schema", "partitionBy", "properties", "rows"} or none where
there is a table, "steps": [{"schema", "rows", "sql"}]}, one a line, where rows is a file of JSON, one a
line, and the file to write: {"name", "step", "schema", "rows", "error"}, one a line, for each
step, and for the table where there is none."""

import json, os, sys

sys.path.insert(0, sys.argv[2])
from sparkrows import plain, session

# The tables are tiny: what makes large queries fast would take most of the time.
spark = session(
    sys.argv[1],
    os.path.dirname(os.path.abspath(sys.argv[4])),
    {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.merge.materializeSource": "none",
    },
)


def read(schema, rows):
    return spark.read.schema(schema).option("mode", "FAILFAST").json(rows)


def create(path, schema, partitionBy, properties, rows):
    read(schema, rows).write.format("delta").partitionBy(*partitionBy or []).options(**properties or {}).save(path)


def make(job, say):
    if job["create"]:
        create(job["path"], **job["create"])
    steps = job["steps"] or []
    if not steps:
        say(0)
    for n, step in enumerate(steps, 1):
        try:
            read(step["schema"], step["rows"]).createOrReplaceTempView("arrived")
            spark.sql(step["sql"].replace("{t}", "delta.`" + job["path"] + "`"))
            say(n)
        except Exception as e:
            say(n, error=str(e)[:2000])


with open(sys.argv[4], "w") as out:
    for line in open(sys.argv[3]):
        job = json.loads(line)

        def say(step, **what):
            df = spark.read.format("delta").load(job["path"])
            what["rows"] = [plain(r, df.schema) for r in df.collect()]
            out.write(json.dumps({"name": job["name"], "step": step, "schema": df._jdf.schema().toDDL(), **what}) + "\n")
            out.flush()

        make(job, say)
spark.stop()
