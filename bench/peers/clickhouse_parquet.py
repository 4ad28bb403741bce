"""NDJSON to Parquet with ClickHouse: clickhouse_parquet.py SOURCE OUT THREADS"""

import os
import sys

import chdb

source, out, threads = sys.argv[1:]
os.makedirs(out)
chdb.query(
    f"""INSERT INTO FUNCTION file('{out}/part.parquet', 'Parquet')
    SELECT * FROM file('{source}/*.json', 'JSONEachRow')
    SETTINGS max_threads = {threads}, schema_inference_make_columns_nullable = 1,
        input_format_json_try_infer_named_tuples_from_objects = 1,
        output_format_parquet_compression_method = 'zstd', output_format_compression_level = 1"""
)
