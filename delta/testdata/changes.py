"""Reads the change data feed of the table named on the command line with deltalake, and prints it: one
line a row."""

import sys

import deltalake
import pyarrow

rows = pyarrow.table(deltalake.DeltaTable(sys.argv[1]).load_cdf(starting_version=0).read_all())
for r in rows.to_pylist():
    print(r["id"], r["p"], r["_change_type"], r["_commit_version"])
