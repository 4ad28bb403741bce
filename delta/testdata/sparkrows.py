"""Starts Spark with Delta Lake, and makes JSON of its rows."""

import base64, datetime, decimal, glob, json, math, os, struct, time

os.environ["TZ"] = "UTC"
time.tzset()
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

from pyspark.sql import SparkSession, types


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


def session(jars, warehouse, conf={}):
    """Takes the folder of the jars of Delta Lake, one to leave things in, and settings."""
    builder = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(glob.glob(os.path.join(jars, "*.jar"))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.sql.warehouse.dir", warehouse)
    )
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
