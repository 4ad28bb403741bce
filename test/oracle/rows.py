#!/usr/bin/env python3
"""Prints the rows of a Delta table as sorted JSON lines, for comparison.

rows.py TABLE [--reader deltalake|duckdb] [--columns a,b] [--without a,b]

Members that are null are left out; an absent table has no rows.
"""
import argparse
import json
import sys

import tables


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    return str(value)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("table")
    args.add_argument("--reader", default="deltalake")
    args.add_argument("--columns", default="")
    args.add_argument("--without", default="")
    args = args.parse_args()
    rows = tables.read(args.table, args.reader)
    if rows is None:
        return
    if args.columns:
        rows = rows.select(args.columns.split(","))
    rows = rows.drop_columns([c for c in args.without.split(",") if c in rows.column_names])
    lines = sorted(json.dumps(plain(r), sort_keys=True, ensure_ascii=True) for r in rows.to_pylist())
    sys.stdout.writelines(line + "\n" for line in lines)


main()
tables.leave()
