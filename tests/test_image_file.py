import struct
import threading

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datamodules.image_file import (
    TooLargeError,
    decode,
    decode_resized,
    decode_with_alpha,
    upright_size,
)
from tests.encoded_images import (
    COLOUR,
    GREY,
    GREY_AND_ALPHA,
    SHORT,
    chunk,
    cmyk_profile,
    encoded,
    exif,
    grey_profile,
    png,
    rgb_profile,
    spliced,
    tiff,
)

WHITE_IS_ZERO, BLACK_IS_ZERO, TRUE_COLOUR = 0, 1, 2
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def shorts(*values: int, order: str = ">") -> bytes:
    return struct.pack(f"{order}{len(values)}H", *values)


def two(mode: str, first, second) -> Image.Image:
    """A picture of two pixels, the first one on the left."""
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), first)
    image.putpixel((1, 0), second)
    return image


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = two("P", 0, 1)
    image.putpalette([band for colour in colours for band in colour])
    return image


def pixels(image: Image.Image) -> list:
    return [image.getpixel((column, 0)) for column in range(image.width)]


INK, SEA, ROSE = (10, 20, 30), (0, 90, 200), (200, 40, 20)
CLEAR_FIRST = [(*INK, 0), (*SEA, 255)]

# What is in the file, and what its pixels are, with their transparency where there is some.
KINDS = {
    "1": (encoded(two("1", 0, 1), "PNG"), [(0, 0, 0), (255, 255, 255)]),
    "1, white transparent": (
        png(1, GREY, [b"\x40"], 2, chunk(b"tRNS", shorts(1))),
        [(0, 0, 0, 255), (255, 255, 255, 0)],
    ),
    "2 bits": (png(2, GREY, [b"\x10"], 2), [(0, 0, 0), (85, 85, 85)]),
    "2 bits, one transparent": (
        png(2, GREY, [b"\x10"], 2, chunk(b"tRNS", shorts(1))),
        [(0, 0, 0, 255), (85, 85, 85, 0)],
    ),
    "4 bits, one transparent": (
        png(4, GREY, [b"\x2f"], 2, chunk(b"tRNS", shorts(2))),
        [(34, 34, 34, 0), (255, 255, 255, 255)],
    ),
    "L": (encoded(two("L", 90, 91), "PNG"), [(90, 90, 90), (91, 91, 91)]),
    "L, one transparent": (
        encoded(two("L", 90, 91), "PNG", transparency=91),
        [(90, 90, 90, 255), (91, 91, 91, 0)],
    ),
    "LA": (
        encoded(two("LA", (90, 7), (91, 255)), "PNG"),
        [(90, 90, 90, 7), (91, 91, 91, 255)],
    ),
    "P": (encoded(palette(INK, SEA), "PNG"), [INK, SEA]),
    "P, one transparent": (encoded(palette(INK, SEA), "PNG", transparency=0), CLEAR_FIRST),
    "P, each its own alpha": (
        encoded(palette(INK, SEA), "PNG", transparency=b"\x07\x80"),
        [(*INK, 7), (*SEA, 128)],
    ),
    "GIF, one transparent": (encoded(palette(INK, SEA), "GIF", transparency=0), CLEAR_FIRST),
    "RGB": (encoded(two("RGB", INK, SEA), "PNG"), [INK, SEA]),
    "RGB, one transparent": (
        encoded(two("RGB", INK, SEA), "PNG", transparency=INK),
        CLEAR_FIRST,
    ),
    "RGBA": (
        encoded(two("RGBA", (*INK, 0), (*SEA, 255)), "WEBP", lossless=True, exact=True),
        CLEAR_FIRST,
    ),
    "CMYK": (
        encoded(two("CMYK", (0, 0, 0, 0), (0, 255, 255, 0)), "TIFF"),
        [(255, 255, 255), (255, 0, 0)],
    ),
    "16-bit grey": (
        png(16, GREY, [shorts(128 * 257 - 128, 128 * 257 + 129)], 2),
        [(128, 128, 128), (129, 129, 129)],
    ),
    "16-bit grey, one transparent": (
        png(16, GREY, [shorts(40000, 40001)], 2, chunk(b"tRNS", shorts(40000))),
        [(156, 156, 156, 0), (156, 156, 156, 255)],
    ),
    "16-bit grey and alpha": (
        png(16, GREY_AND_ALPHA, [shorts(0x80FF, 0xFFFF, 0, 0x0700)], 2),
        [(128, 128, 128, 255), (0, 0, 0, 7)],
    ),
    "16-bit RGB": (
        png(16, COLOUR, [shorts(0, 0x00FF, 0x0100, 0x7FFF, 0x80FF, 0xFFFF)], 2),
        [(0, 0, 1), (127, 128, 255)],
    ),
    "16-bit RGB, one transparent": (
        png(16, COLOUR, [shorts(0x80FF, 0, 0, 0, 0, 0)], 2, chunk(b"tRNS", shorts(0x80FF, 0, 0))),
        [(128, 0, 0, 0), (0, 0, 0, 255)],
    ),
    "16-bit grey TIFF": (
        tiff([16], BLACK_IS_ZERO, (2, 1), shorts(0, 128 * 257, order="<")),
        [(0, 0, 0), (128, 128, 128)],
    ),
    "16-bit grey TIFF, white is zero": (
        tiff([16], WHITE_IS_ZERO, (2, 1), shorts(0, 55 * 257, order="<")),
        [(255, 255, 255), (200, 200, 200)],
    ),
    "12-bit grey TIFF": (
        tiff([12], BLACK_IS_ZERO, (2, 1), b"\xff\xf8\x00"),
        [(255, 255, 255), (128, 128, 128)],
    ),
    "16-bit RGB TIFF": (
        tiff([16] * 3, TRUE_COLOUR, (2, 1), shorts(0, 255, 256, 0, 0x80FF, 0xFFFF, order="<")),
        [(0, 0, 1), (0, 128, 255)],
    ),
    "16-bit PGM": (b"P5\n2 1\n65535\n" + shorts(0, 128 * 257), [(0, 0, 0), (128, 128, 128)]),
    "animated": (
        encoded(two("RGB", INK, SEA), "GIF", save_all=True, append_images=[two("RGB", SEA, INK)]),
        [INK, SEA],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_has_its_pixels(kind):
    data, expected = KINDS[kind]
    assert pixels(decode_with_alpha(data)) == expected
    assert upright_size(data) == (1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_transparent_becomes_white(kind):
    data, expected = KINDS[kind]
    for found, wanted in zip(pixels(decode(data)), expected, strict=True):
        *colour, alpha = wanted if len(wanted) == 4 else (*wanted, 255)
        on_white = [255 + (band - 255) * alpha / 255 for band in colour]
        assert np.abs(np.subtract(found, on_white)).max() <= 0.51


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.new("F", (2, 1)), "TIFF"),
        encoded(Image.new("I", (2, 1)), "TIFF"),
        tiff([16], BLACK_IS_ZERO, (2, 1), bytes(4), (339, SHORT, [2])),
    ],
    ids=["F", "32 bits", "signed"],
)
def test_numbers_without_an_agreed_range_are_refused(data):
    with pytest.raises(ValueError, match="no agreed range"):
        decode(data)


# The picture of two by three whose pixels, turned upright, are 1 to 6.
UPRIGHT = np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: np.rot90(UPRIGHT, 2).T,
    8: np.rot90(UPRIGHT, -1),
}


def stored(orientation: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(STORED[orientation])).convert("RGB")


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
    ],
)
def test_a_picture_stands_upright_however_the_camera_was_held(form, options, orientation):
    data = encoded(stored(orientation), form, exif=exif(orientation), **options)
    assert upright_size(data) == (2, 3)
    found = np.asarray(decode(data)).astype(int)[..., 0]
    assert np.abs(found - UPRIGHT).max() <= (2 if form in ("JPEG", "AVIF") else 0)


def test_exif_after_the_pixels_of_a_png_counts_too():
    block = exif(6).tobytes().removeprefix(b"Exif\0\0")
    data = spliced(encoded(stored(6), "PNG"), chunk(b"eXIf", block), after_pixels=True)
    assert upright_size(data) == (2, 3)
    assert np.array_equal(np.asarray(decode(data))[..., 0], UPRIGHT)


@pytest.mark.parametrize(
    "data",
    [
        encoded(stored(1), "JPEG", xmp=XMP),
        encoded(stored(1), "WEBP", xmp=XMP),
        encoded(stored(1), "TIFF", tiffinfo={700: XMP}),
        encoded(stored(1), "TIFF", tiffinfo={700: XMP}, compression="tiff_lzw"),
        spliced(encoded(stored(1), "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    ],
    ids=["JPEG", "WEBP", "TIFF", "TIFF, compressed", "PNG"],
)
def test_an_orientation_that_only_xmp_knows_is_left_aside_as_in_browsers(data):
    assert upright_size(data) == (2, 3)
    assert decode(data).size == (3, 2)


SWAPPED, LARGE = rgb_profile(swapped=True), rgb_profile(swapped=True, padding=2 * 2**20)
DARK, DARK_GREY = grey_profile(1.0), (188, 188, 188)  # sRGB's value for half of the light


@pytest.mark.parametrize(
    ("image", "form", "profile", "expected"),
    [
        (two("RGB", ROSE, SEA), "PNG", SWAPPED, [(40, 200, 20), (90, 0, 200)]),
        (two("RGB", ROSE, SEA), "TIFF", SWAPPED, [(40, 200, 20), (90, 0, 200)]),
        (two("RGB", ROSE, SEA), "PNG", LARGE, [(40, 200, 20), (90, 0, 200)]),
        (two("RGB", ROSE, SEA), "PNG", rgb_profile(), [ROSE, SEA]),
        (two("RGBA", (*ROSE, 7), (*SEA, 9)), "PNG", SWAPPED, [(40, 200, 20, 7), (90, 0, 200, 9)]),
        (palette(ROSE, SEA), "PNG", SWAPPED, [(40, 200, 20), (90, 0, 200)]),
        (two("L", 0, 127), "PNG", DARK, [(0, 0, 0), DARK_GREY]),
        (two("LA", (0, 7), (127, 9)), "PNG", DARK, [(0, 0, 0, 7), (*DARK_GREY, 9)]),
        (
            two("CMYK", (0, 0, 0, 0), (0, 255, 0, 0)),
            "TIFF",
            cmyk_profile(paper=(255, 128, 128), ink=(0, 128, 128)),
            [(255, 255, 255), (0, 0, 0)],
        ),
    ],
    ids=["PNG", "TIFF", "large", "sRGB", "RGBA", "P", "L", "LA", "CMYK"],
)
def test_colours_are_those_that_a_viewer_shows(image, form, profile, expected):
    found = decode(encoded(image, form, icc_profile=profile))
    opaque = [colour for colour in expected if len(colour) == 3]
    for colour, wanted in zip(pixels(found), opaque, strict=False):
        assert np.abs(np.subtract(colour, wanted)).max() <= 1
    kept = decode_with_alpha(encoded(image, form, icc_profile=profile))
    if image.mode in ("L", "LA", "CMYK"):
        assert "icc_profile" not in kept.info
        assert np.abs(np.subtract(pixels(kept), expected)).max() <= 1
    else:
        assert kept.info["icc_profile"] == profile
        assert pixels(kept) == pixels(image.convert(kept.mode))


BROKEN_EXIF = b"Exif\0\0not a TIFF file"
SOUND = stored(1)


def damaged_avif() -> bytes:
    named = Image.Exif()
    named[0x010F] = "maker"
    return encoded(SOUND, "AVIF", quality=100, exif=named).replace(b"MM\0*", b"XX\0*")


DAMAGED = {
    "PNG, Exif": encoded(SOUND, "PNG", exif=BROKEN_EXIF),
    "PNG, checksum of Exif": spliced(
        encoded(SOUND, "PNG"), chunk(b"eXIf", exif(6).tobytes()[6:], damaged=True)
    ),
    "PNG, checksum of text": spliced(
        encoded(SOUND, "PNG"), chunk(b"tEXt", b"Title\0rose", damaged=True)
    ),
    "PNG, text after the pixels": spliced(
        encoded(SOUND, "PNG"), chunk(b"zTXt", b"Title\0\x05rose"), after_pixels=True
    ),
    "PNG, text": spliced(encoded(SOUND, "PNG"), chunk(b"zTXt", b"Title\0\x05rose")),
    "PNG, cut after the pixels": spliced(
        encoded(SOUND, "PNG"), chunk(b"tEXt", b"T\0" + bytes(99)), after_pixels=True
    )[:-60],
    "PNG, profile": spliced(encoded(SOUND, "PNG"), chunk(b"iCCP", b"name\0\x07what")),
    "PNG, length of gamma": spliced(encoded(SOUND, "PNG"), chunk(b"pHYs", b"\1")),
    "WEBP, Exif": encoded(SOUND, "WEBP", lossless=True, exif=BROKEN_EXIF),
    "JPEG, Exif": encoded(SOUND, "JPEG", quality=100, subsampling=0, exif=BROKEN_EXIF),
    "AVIF, Exif": damaged_avif(),
    "TIFF, Exif": encoded(SOUND, "TIFF", tiffinfo={34665: 99_999_999}),
    "JPEG, cut Exif": encoded(
        SOUND, "JPEG", quality=100, subsampling=0, exif=exif(1).tobytes()[:-12]
    ),
    "PNG, profile of other colours": encoded(SOUND, "PNG", icc_profile=grey_profile(1.0)),
    "PNG, no profile": encoded(SOUND, "PNG", icc_profile=b"RGB " * 40),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_metadata_lose_no_picture_and_are_told_once(kind):
    said: list[str] = []
    found = decode(DAMAGED[kind], tell=said.append)
    assert np.abs(np.asarray(found).astype(int)[..., 0] - UPRIGHT).max() <= 2
    assert len(said) == 1, said
    assert upright_size(DAMAGED[kind], tell=said.append) == (2, 3)
    with pytest.warns(UserWarning, match="of an image, "):
        decode(DAMAGED[kind])


@pytest.mark.parametrize(
    "data",
    [
        encoded(SOUND, "PNG")[:-30],
        encoded(SOUND, "PNG").replace(b"IHDR", b"IHDX"),
        encoded(Image.effect_noise((64, 64), 90), "JPEG")[:-900],
        b"no image",
        b"",
        damaged_avif()[:-200],
    ],
)
def test_damaged_pixels_are_no_picture(data):
    with pytest.raises(Exception, match=r"."):
        decode(data, tell=lambda text: None)


def test_images_above_the_limit_are_refused_with_megapixels_and_memory():
    data = encoded(Image.new("RGB", (2000, 1000)), "PNG")
    with pytest.raises(TooLargeError, match=r"2 megapixels .*max_megapixels=1.5.*0.008 GB"):
        decode(data, max_megapixels=1.5)
    assert decode(data, max_megapixels=2.0).size == (2000, 1000)
    assert upright_size(data) == (1000, 2000)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_the_limit_is_ours_and_pillows_comes_back(form, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    data = encoded(Image.new("RGB", (40, 20)), form)
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    assert decode(data).size == (40, 20)
    assert upright_size(data) == (20, 40)
    with pytest.raises(TooLargeError):
        decode(data, max_megapixels=1e-4)
    assert limits == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK)


def test_threads_do_not_take_each_others_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    data, failed = encoded(Image.effect_noise((200, 200), 90), "PNG"), []

    def read() -> None:
        try:
            for _ in range(20):
                decode(data)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert Image.MAX_IMAGE_PIXELS == 4


def scene(width: int, height: int) -> Image.Image:
    """Waves of all lengths, as in a photograph that is in focus."""
    generator = np.random.default_rng(0)
    waves = sum(
        np.asarray(
            Image.fromarray(generator.normal(size=(2 + height // step, 2 + width // step))).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for step in (3, 6, 12, 24, 48)
    )
    grey = np.clip(128 + 25 * waves, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(np.roll(grey, 5 * band, 1)) for band in range(3)])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("factor", [1.0, 2.5, 4.4, 6.5, 8.8, 13.0, 26.0])
def test_a_jpeg_decoded_small_looks_as_one_decoded_whole(factor, orientation):
    image = scene(1203, 805)
    data = encoded(image, "JPEG", quality=95, exif=exif(orientation))
    whole = decode(data)
    height, width = round(whole.height / factor), round(whole.width / factor)
    found = decode_resized(data, height, width)
    reference = whole.resize((width, height), Image.Resampling.LANCZOS)
    assert found.size == (width, height)
    difference = np.asarray(found).astype(float) - np.asarray(reference)
    # These waves are sharper than a photograph's: at twice the size in place of three it is 2.
    assert np.sqrt((difference**2).mean()) < 1.3
    if factor < 3:
        assert not difference.any()


def test_a_jpeg_decoded_small_may_be_larger_than_the_limit():
    data = encoded(scene(1200, 800), "JPEG")
    with pytest.raises(TooLargeError):
        decode(data, max_megapixels=0.1)
    assert decode_resized(data, 40, 60, max_megapixels=0.1).size == (60, 40)


def test_files_are_read_as_their_content_is(tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(DAMAGED["PNG, checksum of Exif"])
    said: list[str] = []
    assert upright_size(file, tell=said.append) == (2, 3)
    assert np.array_equal(np.asarray(decode(file, tell=said.append))[..., 0], UPRIGHT)
    assert len(said) == 2
