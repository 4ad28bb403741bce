"""Merges NDJSON into a Delta table with deltalake: deltalake_merge.py CHANGES TABLE KEY

The types are those of the table. Files are compressed as silt does it.
"""

import glob
import sys

import pyarrow
from deltalake import DeltaTable, WriterProperties
from pyarrow import json

changes, path, key = sys.argv[1:]
table = DeltaTable(path)
options = json.ParseOptions(
    explicit_schema=pyarrow.schema(table.to_pyarrow_dataset().schema), unexpected_field_behavior="ignore"
)
rows = pyarrow.concat_tables(json.read_json(name, parse_options=options) for name in sorted(glob.glob(f"{changes}/*.json")))
(
    table.merge(
        rows,
        f"target.{key} = source.{key}",
        source_alias="source",
        target_alias="target",
        writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
    )
    .when_matched_update_all()
    .when_not_matched_insert_all()
    .execute()
)
