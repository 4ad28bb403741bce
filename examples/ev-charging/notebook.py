# The same pipeline as a notebook, for comparison. It needs Databricks: cloudFiles is not in open Spark.
import dlt_helpers  # the team's own 200 lines that turn DynamoDB's typed JSON into plain JSON
from delta.tables import DeltaTable
from pyspark.sql import Window, functions as F

LANDING, STATE, ARCHIVE = "s3://lake/landing", "s3://lake/_state/events", "s3://lake/archive"
TABLE = "main.telemetry.events"

raw = (
    spark.readStream.format("cloudFiles")
    .option("cloudFiles.format", "json")
    .option("cloudFiles.inferColumnTypes", "true")
    .option("cloudFiles.schemaLocation", STATE)
    .option("cloudFiles.schemaEvolutionMode", "addNewColumns")  # stops at each new column: a retry must start it again
    .option("cloudFiles.schemaHints", "Metadata.WriteTimestampMicros.N decimal(38,0)")
    .option("cloudFiles.cleanSource", "MOVE")
    .option("cloudFiles.cleanSource.moveDestination", ARCHIVE)
    .option("columnNameOfCorruptRecord", "_corrupt_record")
    .load(LANDING)
    .select("*", "_metadata.file_path")
)


def upsert(batch, batch_id):
    bad = batch.where("_corrupt_record IS NOT NULL")
    bad.write.mode("append").saveAsTable(TABLE + "_quarantine")  # doubled when the batch is done again
    events = dlt_helpers.plain(batch.where("_corrupt_record IS NULL"))
    events = (
        events.select("*", "signals.*").drop("signals")
        .withColumn("recorded_at", F.to_timestamp("recorded_at"))
        .withColumn("day", F.to_date("recorded_at"))
        .withColumn("ingestion_timestamp", F.current_timestamp())
        .withColumn("source_file", F.col("file_path"))
        .withColumn("processing_date", F.current_date())
    )
    newest = Window.partitionBy("event_id").orderBy(F.col("_sequence").desc())
    events = events.withColumn("n", F.row_number().over(newest)).where("n = 1").drop("n")
    (
        DeltaTable.forName(spark, TABLE).alias("t")
        .merge(events.alias("s"), "t.event_id = s.event_id")
        .withSchemaEvolution()
        .whenMatchedDelete("s._op = 'delete' AND s._sequence >= t._sequence")
        .whenMatchedUpdateAll("s._sequence >= t._sequence OR t._sequence IS NULL")
        .whenNotMatchedInsertAll("s._op IS DISTINCT FROM 'delete'")
        .execute()
    )


(
    raw.writeStream.foreachBatch(upsert)
    .option("checkpointLocation", STATE)
    .trigger(availableNow=True)
    .start()
    .awaitTermination()
)
