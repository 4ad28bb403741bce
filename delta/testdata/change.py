"""Changes the Delta table named on the command line with deltalake as an ordinary user of it would:
appends with a new column, deletes, optimizes, makes a checkpoint. Prints the rows there are then."""

import json, os, sys

import deltalake
import pyarrow as pa

path = sys.argv[1]
deltalake.write_deltalake(path, pa.table({"id": pa.array([100, 101], pa.int64())}), mode="append", schema_mode="merge")
deltalake.write_deltalake(
    path, pa.table({"id": pa.array([102], pa.int64()), "theirs": pa.array([{"x": 1}], pa.struct([("x", pa.int64())]))}),
    mode="append", schema_mode="merge")
table = deltalake.DeltaTable(path)
table.delete("id = 1")
table.optimize.compact()
table.create_checkpoint()
deltalake.write_deltalake(path, pa.table({"id": pa.array([103], pa.int64())}), mode="append", schema_mode="merge")
table = deltalake.DeltaTable(path)
print(json.dumps({"version": table.version(), "ids": sorted(table.to_pyarrow_table()["id"].to_pylist())}))

# The threads of the readers may abort an interpreter that ends in the usual way.
sys.stdout.flush()
os._exit(0)
