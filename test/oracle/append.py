#!/usr/bin/env python3
"""Appends rows to a Delta table, one by one, until its input ends: append.py TABLE

The rows have the ids -1, -2, ...; now and then small files are made one. Prints how many it appended.
"""
import sys
import threading

import deltalake
import pyarrow as pa
import tables

table = sys.argv[1]
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
count = 0
while not done.is_set():
    row = pa.table({"id": pa.array([-count - 1], pa.int64())})
    try:
        deltalake.write_deltalake(table, row, mode="append", schema_mode="merge")
    except deltalake.exceptions.DeltaError as e:
        if "changed since" not in str(e) and "oncurrent" not in str(e):
            raise
        continue  # it lost to a commit of the loader
    count += 1
    if count % 5 == 0:
        try:
            deltalake.DeltaTable(table).optimize.compact()
        except deltalake.exceptions.DeltaError:
            pass
print(count)
tables.leave()
