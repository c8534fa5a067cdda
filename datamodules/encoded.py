"""What an encoded image says of itself before it is decoded: which pixels they are, and if all."""

import hashlib
import struct
from collections.abc import Iterator

__all__ = ["looks_whole", "pixel_content"]

JPEG, PNG, GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8"
PIXELS_OF_PNG = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
# Markers of a JPEG that say nothing of its pixels: what applications write, and comments. APP14
# says which colours they are.
METADATA_OF_JPEG = frozenset({*range(0xE0, 0xEE), 0xEF, 0xFE})
START_OF_SCAN, END = 0xDA, b"\xff\xd9"


def pixel_content(data: bytes) -> str:
    """SHA-256 of what an image's pixels are decoded from, in hexadecimal.

    Of a JPEG or PNG that leaves out metadata: a copy that was renamed, tagged or turned by its Exif
    has the same content. Of other formats it is the whole file.

    >>> pixel_content(b"no image") == hashlib.sha256(b"no image").hexdigest()
    True
    """
    digest = hashlib.sha256()
    for part in _pixels(memoryview(data)):
        digest.update(part)
    return digest.hexdigest()


def looks_whole(data: bytes) -> bool:
    """Whether the end of the image is there; false where only decoding can tell.

    A file that was cut off has none, and is told without decoding.
    """
    if data.startswith(JPEG):
        # Not in what comes before the scans: a thumbnail has an end of its own.
        *_, scans = _segments(memoryview(data))
        return END in bytes(scans[-65536:])
    if data.startswith(PNG):
        return any(name == b"IEND" for name, _ in _chunks(memoryview(data)))
    if data.startswith(GIF):
        return data.rstrip(b"\0").endswith(b";")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    return False


def _pixels(data: memoryview) -> Iterator[memoryview | bytes]:
    if data[: len(JPEG)] == JPEG:
        yield from _segments(data)
    elif data[: len(PNG)] == PNG:
        for name, chunk in _chunks(data):
            if name in PIXELS_OF_PNG:
                yield chunk
    else:
        yield data


def _segments(data: memoryview) -> Iterator[memoryview]:
    """Yields the segments of a JPEG that pixels depend on, and its scans."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != START_OF_SCAN:
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        if data[place + 1] not in METADATA_OF_JPEG:
            yield data[place:end]
        place = end
    yield data[place:]


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the chunks of a PNG by name, the last one as far as it is there."""
    place = len(PNG)
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        yield name, data[place : place + 8 + length]
        place += 12 + length
