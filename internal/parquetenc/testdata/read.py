"""Reads a Parquet file with every reader that is installed, and compares it with the same rows in Arrow's
IPC format: read.py FILE.parquet ROWS.arrow. Prints a line for each reader; the exit code says whether
all agree. Readers differ in the types that they know, so each compares with what it makes of the rows."""

import math
import os
import sys

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def plain(v):
    """A value in a form that compares: NaN equals itself, -0 is not 0, maps are lists of pairs."""
    if isinstance(v, float):
        return "nan" if math.isnan(v) else (v, math.copysign(1, v))
    if isinstance(v, dict):
        if set(v) == {"key", "value"}:
            return (plain(v["key"]), plain(v["value"]))
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v] if isinstance(v, list) else tuple(plain(x) for x in v)
    return v


def same(name, got, want):
    got, want = plain(got.to_pylist()), plain(want.to_pylist())
    if got == want:
        print(name, "agrees")
        return True
    at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w), min(len(got), len(want)))
    print(f"{name}: row {at} of {len(got)} is\n{got[at:at+1]}\nwant (of {len(want)})\n{want[at:at+1]}")
    return False


def with_polars(path, want):
    import polars as pl

    return pl.read_parquet(path, columns=want.column_names).equals(pl.from_arrow(want), null_equal=True)


def main(path, rows):
    want = pa.ipc.open_file(rows).read_all()
    ok = same("pyarrow", pq.read_table(path), want)
    try:
        import duckdb
    except ImportError:
        print("duckdb is not installed")
    else:
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        # The random maps repeat keys, which DuckDB does not take in; pyarrow compares them.
        want = want.select([f.name for f in want.schema if not pa.types.is_map(f.type)])
        columns = ", ".join(f'"{name}"' for name in want.column_names)
        a = con.sql(f"SELECT {columns} FROM read_parquet('{path}')").to_arrow_table()
        b = con.sql("SELECT * FROM want").to_arrow_table()
        ok &= same("duckdb", a, b)
        for c in want.column_names:  # bounds must not hide rows
            t = want.schema.field(c).type
            if pa.types.is_nested(t) or pa.types.is_boolean(t):
                continue
            q = f'SELECT min("{c}"), max("{c}"), count("{c}") FROM '
            x = con.sql(q + f"read_parquet('{path}')").to_arrow_table().to_pylist()
            y = con.sql(q + "want").to_arrow_table().to_pylist()
            if plain(x) != plain(y) and str(x) != str(y):
                print(f"duckdb: bounds of {c} are {x}, want {y}")
                ok = False
    try:
        import polars  # noqa: F401
    except ImportError:
        print("polars is not installed")
    else:
        agrees = with_polars(path, want)
        print("polars", "agrees" if agrees else "differs")
        ok &= agrees
    sys.stdout.flush()
    os._exit(0 if ok else 1)  # before the threads of the readers can abort it


main(sys.argv[1], sys.argv[2])
