#!/usr/bin/env python3
"""Turns a folder of NDJSON into one Parquet file with DuckDB: duck_parquet.py SOURCE OUT"""
import json
import os
import sys

import duckdb

source, out = sys.argv[1:]
os.makedirs(out)
con = duckdb.connect()
con.execute("SET preserve_insertion_order = false")
con.execute(
    f"""COPY (SELECT * FROM read_json('{source}/*.json', format='newline_delimited', union_by_name=true))
    TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION CODEC)""".replace("CODEC", "zstd")
)
rows = con.execute(f"SELECT count(*) FROM '{out}/part.parquet'").fetchone()[0]
print(json.dumps({"rows": rows}))
