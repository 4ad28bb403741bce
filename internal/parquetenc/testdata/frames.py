"""Reads Zstandard frames with libzstd, at once and as a stream: frames.py FILE, which has, for each frame, its
length and that of what is in it, of four bytes, then the frame, then what is in it. Prints how many there are; the exit code
says whether all are read as they should be."""

import struct
import sys

import pyarrow as pa

data = open(sys.argv[1], "rb").read()
at = frames = bad = 0
while at < len(data):
    size, raw = struct.unpack_from("<II", data, at)
    frame = data[at + 8 : at + 8 + size]
    at += 8 + size
    want = data[at : at + raw]
    at += raw
    for how, read in {
        "at once": lambda: pa.decompress(frame, raw, "zstd").to_pybytes(),
        "as a stream": lambda: pa.CompressedInputStream(pa.BufferReader(frame), "zstd").read(),
    }.items():
        try:
            got = read()
        except OSError as e:
            got = e
        if got != want:
            print(f"frame {frames} of {raw} bytes, {how}: {got if isinstance(got, OSError) else len(got)}")
            bad += 1
    frames += 1
print(frames, "frames")
sys.exit(bad > 0)
