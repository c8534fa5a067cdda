#!/usr/bin/env bash
# The transparent grey of a PNG with 2 or 4 bits a pixel stays opaque.
#
# Guess: a grey PNG that names grey 1 as transparent (tRNS chunk) opens with the pixels of grey 1
# transparent, whatever its bit depth.
#
# Seen with pillow 13.0.0 (9.5.0 and 11.0.0 alike): at 8 bits they are; at 2 and 4 bits no pixel is
# transparent. The greys are scaled to 0..255 when read (grey 1 of 3 becomes 85), and the number in
# the tRNS chunk is not. No error, no warning; `image.info["transparency"]` is 1.
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
import zlib

import PIL
from PIL import Image

print("pillow", PIL.__version__)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits, row):
    """A PNG of one row of greys, with grey 1 transparent."""
    packed = "".join(f"{grey:0{bits}b}" for grey in row)
    line = bytes(int(packed[i : i + 8], 2) for i in range(0, len(packed), 8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", len(row), 1, bits, 0, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", 1))
        + chunk(b"IDAT", zlib.compress(b"\0" + line))
        + chunk(b"IEND", b"")
    )


row = [0, 1, 2, 3]
seen = {}
for bits in (2, 4, 8):
    image = Image.open(io.BytesIO(png(bits, row))).convert("LA")
    seen[bits] = list(image.getchannel("A").tobytes())
print(f"guess: greys {row}, grey 1 transparent: alpha [255, 0, 255, 255] at every bit depth")
for bits, alpha in seen.items():
    print(f"seen:  {bits} bits: alpha {alpha}")
if seen != {2: [255] * 4, 4: [255] * 4, 8: [255, 0, 255, 255]}:
    sys.exit(f"It changed: the alpha of the three bit depths is {seen}.")
PYTHON
