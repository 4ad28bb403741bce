"""NDJSON to a Delta table with Polars and deltalake: polars_delta.py SOURCE OUT THREADS

The types are those of the first file.
"""

import glob
import os
import sys

source, out, threads = sys.argv[1:]
os.environ["POLARS_MAX_THREADS"] = threads

import polars  # noqa: E402, reads the environment
from deltalake import WriterProperties  # noqa: E402

files = sorted(glob.glob(f"{source}/*.json"))
schema = polars.scan_ndjson(files[0], infer_schema_length=None).collect_schema()
polars.scan_ndjson(files, schema=schema).sink_delta(
    out,
    delta_write_options={"writer_properties": WriterProperties(compression="ZSTD", compression_level=1)},
)
