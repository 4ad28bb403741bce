"""Changes the Delta tables named on the command line with deltalake: appends a row with id 101, deletes
the row with id 3, optimizes, makes a checkpoint. Prints the rows there are then, or why it cannot: one
line a table."""

import json, os, sys

import deltalake
import deltalake.exceptions
import pyarrow as pa

import read


def change(path):
    deltalake.write_deltalake(path, pa.table({"id": pa.array([101], pa.int64())}), mode="append", schema_mode="merge")
    table = deltalake.DeltaTable(path)
    if table.metadata().configuration.get("delta.appendOnly") != "true":
        table.delete("id = 3")
    table.optimize.compact()
    table.create_checkpoint()


for path in sys.argv[1:]:
    try:
        change(path)
        read.show(path, "deltalake", read.deltalake_rows(path))
    except Exception as e:
        print(json.dumps({"path": path, "reader": "deltalake", "refuses": str(e)[:300]}))

# The threads of the readers may abort an interpreter that ends in the usual way.
sys.stdout.flush()
os._exit(0)
