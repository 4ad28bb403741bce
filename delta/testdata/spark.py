"""Reads the Delta tables of a list with Spark, changes them, and reads them again. Takes the jars of
Delta Lake, a file of JSON {"name", "path", "append": rows, "sql": statements on {t}}, one a line, and the
file to write: {"name", "stage": "read" | "changed", "rows" | "error"}, one a line."""

import base64, datetime, decimal, glob, json, math, os, struct, sys, time

os.environ["TZ"] = "UTC"
time.tzset()
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

from pyspark.sql import SparkSession, functions, types


def plain(v, t):
    if v is None:
        return None
    if isinstance(t, types.StructType):
        return {f.name: plain(v[i], f.dataType) for i, f in enumerate(t.fields)}
    if isinstance(t, types.ArrayType):
        return [plain(x, t.elementType) for x in v]
    if isinstance(t, types.MapType):
        return {"map": sorted(([plain(k, t.keyType), plain(x, t.valueType)] for k, x in v.items()), key=json.dumps)}
    if isinstance(t, types.TimestampType):
        return v.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(t, types.TimestampNTZType):
        return v.strftime("%Y-%m-%dT%H:%M:%S.%f")
    if isinstance(v, datetime.date):
        return v.isoformat()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, (bytes, bytearray)):
        return base64.b64encode(v).decode()
    if isinstance(v, float) and not math.isfinite(v):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[repr(v)]
    if isinstance(v, float) and isinstance(t, types.FloatType):
        return shortest(v)
    if isinstance(t, types.VariantType):
        return json.loads(v.toJson())
    return v


def shortest(v):
    """The number with the fewest digits that is the same float of 32 bits."""
    for digits in range(1, 18):
        text = "%.*g" % (digits, v)
        if struct.pack("f", float(text)) == struct.pack("f", v):
            return float(text)
    return v


jars = ",".join(glob.glob(os.path.join(sys.argv[1], "*.jar")))
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.driver.memory", "2g")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.databricks.delta.snapshotPartitions", "1")
    .config("spark.sql.warehouse.dir", os.path.dirname(os.path.abspath(sys.argv[3])))
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
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
