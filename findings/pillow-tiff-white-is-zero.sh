#!/usr/bin/env bash
# A TIFF in which 0 is white opens inverted at 8 bits, and as a negative at 16 bits.
#
# Guess: PhotometricInterpretation 0 (WhiteIsZero) is taken into account at both depths (or at
# neither), so that a white pixel is the largest number.
#
# Seen with pillow 13.0.0 (9.5.0 and 11.0.0 alike): at 8 bits the numbers are turned round on
# reading, at 16 bits they are left as stored: white is 0 and black 65535, as in no other picture
# that Pillow opens in mode I;16, and nothing in the picture's mode tells.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pillow==13.0.0

venv/bin/python - <<'PYTHON'
import io
import struct
import sys

import PIL
from PIL import Image

print("pillow", PIL.__version__)

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSET, SAMPLES, ROWS, BYTES = 273, 277, 278, 279
SHORT, LONG = 3, 4


def tiff(bits, white_is_zero, row):
    """An uncompressed little-endian TIFF of one row of greys."""
    data = struct.pack(f"<{len(row)}{'B' if bits == 8 else 'H'}", *row)
    tags = [
        (WIDTH, SHORT, len(row)),
        (HEIGHT, SHORT, 1),
        (BITS, SHORT, bits),
        (COMPRESSION, SHORT, 1),
        (PHOTOMETRIC, SHORT, 0 if white_is_zero else 1),
        (OFFSET, LONG, 8 + 2 + 9 * 12 + 4),
        (SAMPLES, SHORT, 1),
        (ROWS, SHORT, 1),
        (BYTES, LONG, len(data)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + data


def opened(bits, white_is_zero, row):
    image = Image.open(io.BytesIO(tiff(bits, white_is_zero, row)))
    return list(struct.unpack(f"<{len(row)}{'B' if bits == 8 else 'H'}", image.tobytes()))


rows = {8: [0, 100, 255], 16: [0, 1000, 65535]}
seen = {bits: opened(bits, True, row) for bits, row in rows.items()}
print("guess: 0 is white: 8 bits [255, 155, 0], 16 bits [65535, 64535, 0]")
for bits, row in rows.items():
    print(f"seen:  {bits} bits, stored {row}: {seen[bits]}")
    assert opened(bits, False, row) == row, "a TIFF in which 0 is black opens as stored"
if seen != {8: [255, 155, 0], 16: rows[16]}:
    sys.exit(f"It changed: a TIFF in which 0 is white opens as {seen}.")
PYTHON
