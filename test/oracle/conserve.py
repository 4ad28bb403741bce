#!/usr/bin/env python3
"""Checks that a table holds each record of a folder of JSON files, whole.

conserve.py TABLE FOLDER [--reader deltalake|duckdb] [--suffix .json,.ndjson] [--unread NAME...]

Every record is rebuilt from the columns of its row and its rescued data, or found in the quarantine
table beside the table, and compared with the text of the file:

  - keys in any order; null is the same as a missing member; a struct of NULLs is {}
  - a number in a DOUBLE column equals the source as a float64, in any other numeric column exactly
  - a STRING column equals the source text
  - all else is in the rescued data as it was written, or in quarantine to the byte

No row and no quarantined record may be left over.
"""
import argparse
import base64
import bisect
import codecs
import collections
import datetime
import decimal
import gzip
import io
import itertools
import json
import os
import sys

import pyarrow as pa
import tables

sys.setrecursionlimit(20_000)
BOM = b"\xef\xbb\xbf"
LINEAGE = {"ingestion_timestamp", "source_file"}
RESCUED = "_rescued_data"


class Number(str):
    """A number as it is written."""


class Object(dict):
    """An object that remembers all values of a key. Nulls are left out."""

    def __init__(self, pairs):
        super().__init__()
        self.values_of = collections.defaultdict(list)
        for key, value in pairs:
            if value is not None:
                self[key] = value
                self.values_of[key].append(value)

    def all(self, key):
        return self.values_of.get(key, [])


DECODER = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_int=Number,
    parse_float=Number,
    parse_constant=Number,  # NaN, Infinity and -Infinity, which silt takes for numbers as Spark does
)


def parse(text):
    value, end = DECODER.raw_decode(text, len(text) - len(text.lstrip()))
    if text[end:].strip():
        raise ValueError("text behind the value")
    return value


# ---- what is in a file


class Text:
    """The text of a file, by characters and by bytes."""

    def __init__(self, data):
        self.bytes = data
        self.chars = data.decode("utf-8", "surrogateescape")
        self.offsets = None  # of each character, where they differ
        if len(self.chars) != len(data):
            sizes = (len(c.encode("utf-8", "surrogateescape")) for c in self.chars)
            self.offsets = [0, *itertools.accumulate(sizes)]

    def byte(self, char):
        return self.offsets[char] if self.offsets else char

    def char(self, byte):
        return bisect.bisect_left(self.offsets, byte) if self.offsets else byte


def load(path):
    with open(path, "rb") as f:
        data = f.read()
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.input_stream(io.BytesIO(data), compression="zstd").read()
    return data


def split(text, set_aside):
    """Yields the records of a text. What was quarantined, by its offset, is checked and stepped over."""
    at = 0
    while True:
        while at < len(text.chars) and text.chars[at] in " \t\r\n\ufeff":
            at += 1
        if at == len(text.chars):
            return
        bad = set_aside.pop(text.byte(at), None)
        if bad is not None:
            end = text.byte(at) + bad["length"]
            kept = bad["record_bytes"] if bad["record"] is None else bad["record"].encode("utf-8")
            original = text.bytes[text.byte(at) : end]
            if not (original.startswith(kept) if bad["cut"] else original == kept):
                raise Lost(f"byte {text.byte(at)}: quarantine has {kept[:80]!r}, the file {original[:80]!r}")
            at = text.char(end)
            continue
        if text.chars[at] in "[],":  # between records of an array
            at += 1
            continue
        try:
            value, end = DECODER.raw_decode(text.chars, at)
        except (ValueError, RecursionError) as e:
            raise Lost(f"byte {text.byte(at)}: no JSON ({e}) and not in quarantine: {text.chars[at:at+80]!r}")
        if not isinstance(value, dict):
            raise Lost(f"byte {text.byte(at)}: no object, and not in quarantine: {text.chars[at:at+80]!r}")
        yield text.byte(at), value
        at = end


class Lost(Exception):
    pass


# ---- comparison; each returns None, or what is wrong


def same_json(a, b):
    """Compares two values as they are written."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return False
        return all(len(a.all(k)) == len(b.all(k)) and all(map(same_json, a.all(k), b.all(k))) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return type(a) is type(b) and a == b


def same_scalar(source, column):
    if isinstance(column, bool):
        return source is column
    if isinstance(column, str):
        if isinstance(source, bool):
            return column == str(source).lower()
        return column == str(source)
    if isinstance(column, (int, decimal.Decimal)):
        return isinstance(source, Number) and decimal.Decimal(str(source)) == decimal.Decimal(column)
    if isinstance(column, float):
        return isinstance(source, Number) and (float(source) == column or source == "NaN" and column != column)
    if isinstance(column, datetime.datetime):
        then = datetime.datetime.fromisoformat(str(source))
        return then.replace(tzinfo=then.tzinfo or datetime.timezone.utc) == column.replace(
            tzinfo=column.tzinfo or datetime.timezone.utc
        )
    if isinstance(column, datetime.date):
        return str(source) == column.isoformat()
    if isinstance(column, bytes):
        return base64.b64decode(source) == column
    return False


def compare(source, column, rescued, path="$"):
    if column is None:
        if source is None and rescued is None or same_json(source, rescued):
            return None
        return f"{path}: lost: {short(source)}, rescued {short(rescued)}"
    if isinstance(column, str) and isinstance(source, (dict, list)):
        try:
            whole = rescued is None and same_json(source, parse(column))
        except ValueError:
            whole = False
        return None if whole else f"{path}: got text {short(column)}, want {short(source)}"
    if isinstance(column, dict) and isinstance(source, dict) and (rescued is None or isinstance(rescued, dict)):
        return compare_members(source, column, rescued or Object(()), path)
    if isinstance(column, list) and isinstance(source, list) and (rescued is None or isinstance(rescued, list)):
        if len(column) != len(source) or len(rescued or ()) > len(source):
            return f"{path}: {len(column)} elements, want {len(source)}"
        both = itertools.zip_longest(source, column, rescued or ())
        return next(filter(None, (compare(s, c, r, f"{path}[{i}]") for i, (s, c, r) in enumerate(both))), None)
    if rescued is not None or isinstance(column, (dict, list)) or not same_scalar(source, column):
        return f"{path}: got {short(column)} and rescued {short(rescued)}, want {short(source)}"
    return None


def compare_members(source, column, rescued, path):
    column = {k: v for k, v in column.items() if v is not None}
    for key in {**source, **column, **rescued}:
        at = f"{path}.{key}"
        values, kept = source.all(key), rescued.all(key)
        if len(values) <= 1 and len(kept) <= 1:
            wrong = compare(source.get(key), column.get(key), rescued.get(key), at)
        else:
            wrong = compare_repeated(values, column.get(key), kept, at)
        if wrong:
            return wrong
    return None


def compare_repeated(values, column, kept, path):
    """A key that came more than once: one value is in the column, the others are rescued as they are."""

    def left(rest):
        rest = list(rest)
        for value in kept:
            i = next((i for i, r in enumerate(rest) if same_json(r, value)), None)
            if i is None:
                return True
            rest.pop(i)
        return bool(rest)

    if column is None:
        return f"{path}: repeated, lost: {short(values)}" if left(values) else None
    for i, value in enumerate(values):
        if compare(value, column, None, path) is None and not left(values[:i] + values[i + 1 :]):
            return None
    return f"{path}: repeated {short(values)}: got {short(column)} and rescued {short(kept)}"


def short(value):
    text = repr(value)
    return text if len(text) < 160 else text[:157] + "..."


# ---- tables


def uri_of(path):
    """The name of a file in the table. Bytes that are no text are percent-encoded, nothing else is."""
    return "file://" + path.decode("utf-8", "percent")


def percent(error):
    return "".join(f"%{b:02X}" for b in error.object[error.start : error.end]), error.end


codecs.register_error("percent", percent)


def own_rescued(text):
    """What is in a rescued text, less the path of the file that silt puts last."""
    value = parse(text)
    path = value.values_of.pop("_file_path")[-1]
    del value["_file_path"]
    return unescape(value), path


def unescape(value):
    """Takes the underscore away that a record's own _file_path gets."""
    if not isinstance(value, Object):
        return value
    return Object(
        ("_file_path" if k == "__file_path" else k, unescape(v)) for k, all_of in value.values_of.items() for v in all_of
    )


def rows_by_file(table):
    out = collections.defaultdict(list)
    columns = [c for c in table.column_names if c not in LINEAGE and c != RESCUED]
    # A record may have keys that are called as silt's own columns; those are rescued.
    data = table.select(columns).to_pylist()
    for row, uri, text in zip(data, table["source_file"].to_pylist(), table[RESCUED].to_pylist()):
        rescued = Object(())
        if text is not None:
            rescued, path = own_rescued(text)
            if path != uri:
                raise SystemExit(f"rescued data names {path}, the row {uri}")
        out[uri].append((row, rescued))
    return out


def quarantine_by_file(table):
    out = collections.defaultdict(dict)
    for row in table.to_pylist() if table is not None else ():
        mine = out[row["source_file"]]
        if row["offset"] in mine:
            raise SystemExit(f"{row['source_file']} byte {row['offset']} is in quarantine twice")
        mine[row["offset"]] = row
    return out


def match(records, rows):
    """Pairs each record with a row of its own. Most often the order is the same."""
    first = None
    for i, (offset, record) in enumerate(records):
        for k in itertools.chain([i] if i < len(rows) else [], range(len(rows))):
            if rows[k] is None:
                continue
            wrong = compare_members(record, rows[k][0], rows[k][1], "$")
            if wrong is None:
                rows[k] = None
                break
            if k == i:
                first = wrong
        else:
            raise Lost(f"byte {offset}: no row is the record; the nearest: {first}")
    left = [r for r in rows if r is not None]
    if left:
        raise Lost(f"{len(left)} rows too many, such as {short(left[0])}")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("table")
    args.add_argument("folder")
    args.add_argument("--reader", default="deltalake")
    args.add_argument("--suffix", default="")
    args.add_argument("--unread", nargs="*", default=[])
    args = args.parse_args()

    table = tables.read(args.table, args.reader)
    rows = rows_by_file(table) if table is not None else {}
    aside = quarantine_by_file(tables.read(args.table + "_quarantine", args.reader))
    wrong, files, records, bad = [], 0, 0, 0
    for folder, _, names in os.walk(os.fsencode(os.path.abspath(args.folder))):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.startswith((b".", b"_")) or not name.endswith(tuple(os.fsencode(s) for s in args.suffix.split(","))):
                continue
            mine, set_aside = rows.pop(uri_of(path), []), aside.pop(uri_of(path), {})
            if os.fsdecode(name) in args.unread:
                if mine:
                    wrong.append(f"{path!r} has {len(mine)} rows, want none")
                continue
            files, bad = files + 1, bad + len(set_aside)
            try:
                found = list(split(Text(load(path)), set_aside))
                records += len(found)
                match(found, mine)
                if any(row["length"] for row in set_aside.values()):  # where an end is missing, nothing is lost
                    raise Lost(f"quarantine has records that are not in the file at bytes {sorted(set_aside)[:5]}")
            except Lost as e:
                wrong.append(f"{uri_of(path)}: {e}")
    wrong += [f"rows of a file that is not there: {uri}" for uri in [*rows, *aside]]
    for line in wrong[:20]:
        print(line)
    print(f"{args.reader}: {files} files, {records} records in rows, {bad} in quarantine, {len(wrong)} differences")
    tables.leave(1 if wrong else 0)


main()
