"""Changes the Delta tables named on the command line, behind the name of who does it: duckdb appends a
copy of a row with id 100; deltalake appends a row with id 101, deletes the row with id 3, optimizes, makes
a checkpoint. Prints the rows there are then, or why it cannot: one line a table."""

import json, os, sys

import deltalake
import deltalake.exceptions
import pyarrow as pa

import read


def by_deltalake(path):
    deltalake.write_deltalake(path, pa.table({"id": pa.array([101], pa.int64())}), mode="append", schema_mode="merge")
    table = deltalake.DeltaTable(path)
    if table.metadata().configuration.get("delta.appendOnly") != "true":
        table.delete("id = 3")
    table.optimize.compact()
    table.create_checkpoint()
    return read.deltalake_rows(path)


def by_duckdb(path):
    con = read.duckdb_reader()  # another one each time: an error may leave it unusable
    con.execute("ATTACH '" + path + "' AS t (TYPE delta)")
    con.execute("INSERT INTO t SELECT * REPLACE (100 AS id) FROM t WHERE id = 3")
    return con.execute("SELECT * FROM delta_scan('" + path + "')").to_arrow_table()


who = sys.argv[1]
change = {"deltalake": by_deltalake, "duckdb": by_duckdb}[who]
for path in sys.argv[2:]:
    try:
        read.show(path, who, change(path))
    except Exception as e:
        print(json.dumps({"path": path, "reader": who, "refuses": str(e)[:300]}))

# The threads of the readers may abort an interpreter that ends in the usual way.
sys.stdout.flush()
os._exit(0)
