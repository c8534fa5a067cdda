"""Image files that Pillow does not write, byte by byte, for tests."""

import io
import struct
import zlib

from PIL import Image, ImageCms

GREY, COLOUR, GREY_AND_ALPHA = 0, 2, 4  # colour types of PNG
SHORT, LONG = 3, 4  # types of a TIFF's tags


def chunk(name: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + content) ^ damaged
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(bits: int, colour: int, rows: list[bytes], width: int, *chunks: bytes) -> bytes:
    """A PNG of these rows of packed samples; the chunks stand before the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return PNG + chunk(b"IHDR", header) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


PNG = b"\x89PNG\r\n\x1a\n"


def spliced(data: bytes, *chunks: bytes, after_pixels: bool = False) -> bytes:
    """A PNG with more chunks, before or after its pixels."""
    place = data.rindex(b"IEND") - 4 if after_pixels else len(PNG) + 25
    return data[:place] + b"".join(chunks) + data[place:]


def tiff(bits: list[int], meaning: int, size: tuple[int, int], pixels: bytes, *more) -> bytes:
    """A TIFF of one strip; `more` are tags, as (number, type, values)."""
    width, height = size
    tags = [
        (256, SHORT, [width]),
        (257, SHORT, [height]),
        (258, SHORT, bits),
        (259, SHORT, [1]),
        (262, SHORT, [meaning]),
        (273, LONG, [0]),
        (277, SHORT, [len(bits)]),
        (278, SHORT, [height]),
        (279, LONG, [len(pixels)]),
        *more,
    ]
    tags.sort()
    end, tail, entries = 8 + 2 + 12 * len(tags) + 4, b"", []
    for number, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", end + len(tail)), tail + packed
        entries.append([number, kind, len(values), packed.ljust(4, b"\0")])
    for entry in entries:
        if entry[0] == 273:
            entry[3] = struct.pack("<I", end + len(tail))
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + directory + bytes(4) + tail + pixels


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """What Pillow writes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    """An Exif block that says which side is up."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def rgb_profile(*, swapped: bool = False, padding: int = 0) -> bytes:
    """A profile that means sRGB; swapped, one whose red is sRGB's green, and the other way round.

    Args:
        swapped: Whether the two are exchanged.
        padding: Bytes of noise that follow, as a large table would.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if swapped:
        red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
        profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    profile += Image.effect_noise((1024, -(-padding // 1024)), 90).tobytes() if padding else b""
    profile[:4] = struct.pack(">I", len(profile))
    return bytes(profile)


def grey_profile(gamma: float) -> bytes:
    """A profile of greys with that gamma."""
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(256 * gamma)) + bytes(2)
    return profile_of(b"GRAY", b"XYZ ", [(b"wtpt", WHITE_POINT), (b"kTRC", curve)])


def cmyk_profile(paper: tuple[int, int, int], ink: tuple[int, int, int]) -> bytes:
    """A profile of inks: without any there is paper, with any of them there is that colour.

    Args:
        paper: L, a and b, as bytes have them.
        ink: The same.
    """
    identity = bytes(range(256))
    corners = bytes(paper) + 15 * bytes(ink)
    matrix = struct.pack(">9i", *[65536 * (place % 4 == 0) for place in range(9)])
    head = struct.pack(">4sIBBBB", b"mft1", 0, 4, 3, 2, 0)
    table = head + matrix + 4 * identity + corners + 3 * identity
    return profile_of(b"CMYK", b"Lab ", [(b"wtpt", WHITE_POINT), (b"A2B0", table)], kind=b"prtr")


WHITE_POINT = struct.pack(">4sI3i", b"XYZ ", 0, 63190, 65536, 54061)  # D50


def profile_of(
    space: bytes, between: bytes, tags: list[tuple[bytes, bytes]], kind: bytes = b"mntr"
) -> bytes:
    """An ICC profile of version 2."""
    place, entries, contents = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags:
        content += bytes(-len(content) % 4)
        entries += struct.pack(">4sII", name, place + len(contents), len(content))
        contents += content
    body = struct.pack(">I", len(tags)) + entries + contents
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, kind, space, between)
    made = struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    head += made + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + body
