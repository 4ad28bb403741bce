"""Appends rows with the ids FROM to TO, one commit each, to the Delta table PATH with deltalake."""

import os, sys

import deltalake
import deltalake.exceptions
import pyarrow as pa

path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(first, last):
    for attempt in range(50):
        try:
            deltalake.write_deltalake(path, pa.table({"id": pa.array([i], pa.int64())}), mode="append")
            break
        except deltalake.exceptions.CommitFailedError:
            if attempt == 49:
                raise

# The threads of the readers may abort an interpreter that ends in the usual way.
sys.stdout.flush()
os._exit(0)
