"""NDJSON to Parquet with DuckDB: duckdb_parquet.py SOURCE OUT THREADS [SETTING ...]"""

import os
import sys

import duckdb

source, out, threads, *settings = sys.argv[1:]
os.makedirs(out)
con = duckdb.connect()
con.execute(f"SET threads = {threads}")
for setting in settings:
    con.execute(setting)
con.execute(
    f"COPY (SELECT * FROM read_json('{source}/*.json', format = 'newline_delimited'))"
    f" TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
)
