"""NDJSON to Parquet with DuckDB: duckdb_parquet.py SOURCE OUT THREADS"""

import os
import sys

import duckdb

source, out, threads = sys.argv[1:]
os.makedirs(out)
con = duckdb.connect()
con.execute(f"SET threads = {threads}")
con.execute("SET preserve_insertion_order = false")  # silt promises no order of rows either
con.execute(
    f"COPY (SELECT * FROM read_json('{source}/*.json', format = 'newline_delimited'))"
    f" TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
)
