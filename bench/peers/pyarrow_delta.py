"""NDJSON to a Delta table with pyarrow and deltalake: pyarrow_delta.py SOURCE OUT THREADS

The types are those of the first file.
"""

import glob
import sys

import pyarrow
from deltalake import WriterProperties, write_deltalake
from pyarrow import json

source, out, threads = sys.argv[1:]
pyarrow.set_cpu_count(int(threads))
files = sorted(glob.glob(f"{source}/*.json"))
schema = json.read_json(files[0]).schema


def batches():
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for name in files:
        yield from json.read_json(name, parse_options=options).to_batches()


write_deltalake(
    out,
    pyarrow.RecordBatchReader.from_batches(schema, batches()),
    writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
)
