"""Reads Delta tables by programs that are not silt."""

import os
import sys

import pyarrow as pa


def leave(status=0):
    """Ends the process at once: the threads of these libraries sometimes abort it on the way out."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read(path, reader):
    """The rows of the table as a pyarrow.Table, or None when there is no table."""
    if not os.path.isdir(os.path.join(path, "_delta_log")):
        return None
    return {"deltalake": by_deltalake, "duckdb": by_duckdb}[reader](path)


def by_deltalake(path):
    import deltalake

    # The SQL engine of delta-rs reads what its pyarrow reader refuses.
    reader = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute("SELECT * FROM t")
    return pa.table(reader.read_all())


def by_duckdb(path):
    import duckdb
    import duckdb_extension_delta

    home = os.path.dirname(duckdb_extension_delta.__file__)
    con = duckdb.connect()
    con.execute(f"LOAD '{home}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")
    return con.execute("SELECT * FROM delta_scan(?)", [path]).to_arrow_table()
