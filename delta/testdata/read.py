"""Reads the Delta tables named on the command line with deltalake and, where its extension is
installed, with DuckDB, and prints their rows as JSON: one line a table and reader."""

import base64, datetime, decimal, glob, json, math, os, sys

import deltalake
import deltalake.exceptions
import pyarrow


def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list):
        if v and all(isinstance(x, tuple) and len(x) == 2 for x in v):  # a map
            return {"map": sorted(([plain(k), plain(x)] for k, x in v), key=json.dumps)}
        return [plain(x) for x in v]
    if isinstance(v, bytes):
        return base64.b64encode(v).decode()
    if isinstance(v, datetime.datetime):
        if v.tzinfo is not None:
            v = v.astimezone(datetime.timezone.utc)
        return v.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if v.tzinfo is not None else "")
    if isinstance(v, datetime.date):
        return v.isoformat()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, float) and not math.isfinite(v):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[repr(v)]
    return v


def show(path, reader, table):
    rows = [plain(r) for r in table.to_pylist()]
    print(json.dumps({"path": path, "reader": reader, "rows": rows}, sort_keys=True))


def duckdb_reader():
    try:
        import duckdb
        import duckdb_extension_delta

        found = glob.glob(os.path.join(os.path.dirname(duckdb_extension_delta.__file__), "extensions", "*", "*.duckdb_extension"))
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        con.execute("LOAD '" + found[0] + "'")
        return con
    except ImportError:
        return None


def deltalake_rows(path):
    table = deltalake.DeltaTable(path)
    try:  # knows column mapping and deletion vectors, but cannot read maps that have grown
        query = deltalake.QueryBuilder().register("t", table).execute("SELECT * FROM t")
        return pyarrow.table(query.read_all())
    except Exception:
        if "delta.columnMapping.mode" in table.metadata().configuration:  # which the other way does not see
            raise
        return table.to_pyarrow_table()


def main():
    con = duckdb_reader()
    if con is not None:
        from duckdb import NotImplementedException as con_unable
    for path in sys.argv[1:]:
        try:
            show(path, "deltalake", deltalake_rows(path))
        except deltalake.exceptions.DeltaError as e:
            unable = "nsupported" in str(e) or "not yet supported" in str(e)
            print(json.dumps({"path": path, "reader": "deltalake", "refuses" if unable else "error": str(e).splitlines()[0]}))
        except Exception as e:
            # Maps whose objects have grown, which it cannot read in tables of its own either.
            unable = "Cannot cast column" in str(e) and "Map(" in str(e)
            print(json.dumps({"path": path, "reader": "deltalake", "refuses" if unable else "error": str(e)[:1000]}))
        if con is not None:
            try:
                show(path, "duckdb", con.execute("SELECT * FROM delta_scan('" + path.replace("'", "''") + "')").to_arrow_table())
            except con_unable as e:  # such as handing a variant over
                print(json.dumps({"path": path, "reader": "duckdb", "refuses": str(e).splitlines()[0]}))
            except Exception as e:
                print(json.dumps({"path": path, "reader": "duckdb", "error": str(e)[:1000]}))


if __name__ == "__main__":
    main()

    # The threads of the readers may abort an interpreter that ends in the usual way.
    sys.stdout.flush()
    os._exit(0)
