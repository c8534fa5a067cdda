"""What image files hold besides pixels: the side that is up, and what of it can be left aside."""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from PIL import ExifTags, Image, TiffImagePlugin

__all__ = ["LARGEST_CHUNK", "Tell", "exif_of_png", "orientation", "without_metadata"]

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_CHUNK = 64 * 2**20  # bytes of a profile or text after inflation, against bombs
# Entry of an AVIF's table of contents that says an item is Exif.
AVIF_EXIF = re.compile(rb"(infe.{8})Exif", re.DOTALL)

Chunk = tuple[bytes, memoryview, bytes]
Tell = Callable[[str], None]  # is told, in half a sentence, what could not be read


def orientation(image: Image.Image) -> int:
    """The Exif orientation, 1 to 8, where 1 is upright; pixels need not have been decoded.

    It is read where browsers read it: an Exif block of JPEG, PNG, WebP or AVIF (for AVIF, how the
    file itself says the picture is turned), or the tag of a TIFF. What XMP says is not looked at.

    Raises:
        Exception: Of whatever type Pillow raises, if the block is damaged.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        found = image.tag_v2.get(ExifTags.Base.Orientation, 1)
    else:
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        found = exif.get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def exif_of_png(data: bytes) -> bytes:
    """The Exif block of a PNG, which may stand after the pixels; empty if there is none."""
    return next((bytes(content) for name, content, _ in _chunks(data) if name == b"eXIf"), b"")


def without_metadata(data: bytes) -> bytes | None:
    """Returns an encoded image without the metadata that may keep its decoder from the pixels.

    A PNG keeps its palette, transparency, and of Exif and profile what is whole; an AVIF loses its
    Exif block. Of other formats it is None: there Pillow itself gets past damaged metadata.
    """
    if data.startswith(PNG):
        kept = b"".join(b"".join(_framed(chunk)) for chunk in _chunks(data) if _matters(*chunk))
        return PNG + kept
    if data[4:12] in (b"ftypavif", b"ftypavis") or AVIF_EXIF.search(data[:4096]):
        return AVIF_EXIF.sub(rb"\1skip", data, count=1)
    return None


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Yields name, content and checksum of the chunks that are there whole."""
    place, view = len(PNG), memoryview(data)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 <= len(data):
            yield name, view[place + 8 : end], data[end : end + 4]
        place = end + 4


def _framed(chunk: Chunk) -> tuple[bytes | memoryview, ...]:
    name, content, checksum = chunk
    return struct.pack(">I", len(content)), name, content, checksum


def _matters(name: bytes, content: memoryview, checksum: bytes) -> bool:
    """Whether a chunk is part of the pixels, or says what they mean and can be read."""
    if name[:1].isupper() or name == b"tRNS":
        return True
    if zlib.crc32(content, zlib.crc32(name)).to_bytes(4) != checksum:
        return False
    return name == b"eXIf" or (name == b"iCCP" and _inflates(bytes(content)))


def _inflates(profile: bytes) -> bool:
    """Whether the compressed profile of a PNG can be had, after its name and method."""
    _, _, compressed = profile.partition(b"\0")
    try:
        inflater = zlib.decompressobj()
        inflater.decompress(compressed[1:], LARGEST_CHUNK)
    except zlib.error:
        return False
    return compressed[:1] == b"\0" and not inflater.unconsumed_tail
