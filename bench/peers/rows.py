"""Counts the rows of all Parquet files below a folder, by their footers: rows.py OUT

Folders whose name starts with _ are of the table, not in it.
"""

import os
import sys

from pyarrow import parquet

rows = 0
for folder, below, names in os.walk(sys.argv[1]):
    below[:] = [d for d in below if not d.startswith("_")]
    rows += sum(parquet.read_metadata(os.path.join(folder, n)).num_rows for n in names if n.endswith(".parquet"))
print(rows)
