"""Opens a Delta table, and appends to it or checkpoints it: deltalake_log.py append|checkpoint TABLE"""

import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

does, table = sys.argv[1:]
if does == "append":
    write_deltalake(DeltaTable(table), pyarrow.table({"id": [1, 2], "kwh": [2.5, 3.5]}), mode="append", schema_mode="merge")
else:
    DeltaTable(table).create_checkpoint()
