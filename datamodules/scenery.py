"""Painting of procedural landscapes, of any length and without an edge.

Lengths are fractions of the picture's height, measured from its top left corner. Along the scene
there is nothing but lattice noise and point processes whose cells are hashed and whose origin is
uniformly random, so that a scene is stationary: every window of it has the same distribution.

A pixel is a function of its own absolute column, made of IEEE additions, products, quotients and
square roots only (no sine, no exponential, no matrix product, whose last bit may depend on the
processor or on the size of the array). A scene is therefore the same to the last bit wherever it
is painted, and a short crop is the beginning of a long one.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt8, UInt32

__all__ = ["Scene", "paint", "sample_scene"]

Columns = Float64[np.ndarray, " width"]
Rows = Float64[np.ndarray, " height"]
Plane = Float32[np.ndarray, "height width"]
Picture = Float32[np.ndarray, "3 height width"]
Color = Float32[np.ndarray, "3 1 1"]

# Rows are kinds of light; columns the colours of zenith, horizon, glow and cloud in per cent, and
# the tint of what is lit.
LIGHTS = (
    np.array(
        [
            [(20, 46, 86), (72, 87, 97), (100, 98, 86), (100, 100, 100), (110, 106, 97)],  # noon
            [(5, 55, 78), (70, 94, 88), (100, 98, 80), (100, 98, 94), (115, 110, 95)],  # tropics
            [(40, 54, 74), (100, 79, 46), (100, 88, 50), (100, 86, 68), (110, 86, 60)],  # evening
            [(19, 15, 42), (98, 45, 30), (100, 66, 30), (76, 36, 46), (60, 38, 46)],  # dusk
            [(46, 44, 76), (100, 74, 74), (100, 90, 78), (100, 78, 82), (90, 70, 82)],  # pink dawn
            [(2, 4, 14), (17, 25, 45), (80, 86, 96), (20, 25, 38), (20, 27, 45)],  # night
            [(50, 56, 63), (82, 84, 86), (96, 95, 92), (90, 91, 92), (70, 74, 77)],  # overcast
            [(10, 19, 26), (60, 72, 62), (92, 95, 78), (34, 40, 44), (50, 56, 52)],  # storm
        ]
    )
    / 100
)  # fmt: skip

# What the land is made of, in white light, in per cent.
GROUNDS = (
    np.array(
        [
            [(16, 33, 15)],  # forest
            [(38, 52, 16)],  # meadow
            [(46, 40, 36)],  # rock
            [(72, 46, 26)],  # desert
            [(30, 36, 46)],  # slate
            [(62, 34, 12)],  # autumn wood
            [(48, 30, 46)],  # heather
            [(80, 66, 28)],  # wheat
        ]
    )
    / 100
)

RIDGE_OCTAVES = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colours of a scene, the same all along it."""

    zenith: Color
    horizon: Color
    glow: Color
    cloud: Color
    light: Color
    rock: Color
    field: Color


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """A line that runs along the scene, and the land below it.

    Args:
        level: Mean height of the line, from the top of the picture.
        relief: How far the line strays from its level.
        frequency: Lattice cells per picture height of the coarsest octave.
        gain: Amplitude of each octave relative to the one before.
        angularity: 0 for rounded hills, 1 for angular peaks.
        trees: Height of the trees on the line; 0 for none.
        haze: Share of the colour that the air adds.
        snow: How far the snow reaches down from the level, negative above it; None without snow.
        color: Colour of the land, before the air.
        salt: Seeds its noise.
    """

    level: float
    relief: float
    frequency: float
    gain: float
    angularity: float
    trees: float
    haze: float
    snow: float | None
    color: Color
    salt: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that is drawn at random once for a scene.

    Args:
        palette: Its colours.
        ridges: From the farthest to the nearest.
        shore: Land in front of the water, or the field in front of the ridges; may be missing.
        horizon: Height of the water line, from the top of the picture.
        water: Whether there is water below the horizon.
        calm: 0 for choppy water, 1 for a mirror.
        cloudiness: Share of the sky under clouds, roughly.
        cloud_scale: Lattice cells per picture height of the largest clouds, along the scene.
        sun: Radius of the sun's or moon's disc; 0 for none.
        sun_level: Height of the disc's centre, from the top of the picture.
        sun_spacing: Length of scene to one sun.
        salt: Seeds its noise.
    """

    palette: Palette
    ridges: tuple[Ridge, ...]
    shore: Ridge | None
    horizon: float
    water: bool
    calm: float
    cloudiness: float
    cloud_scale: float
    sun: float
    sun_level: float
    sun_spacing: float
    salt: int


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draws a scene."""
    palette = sample_palette(rng)
    water = rng.random() < 0.55
    horizon = between(rng, 0.52, 0.74)
    sun_level = between(rng, 0.10, horizon - 0.06)
    return Scene(
        palette=palette,
        ridges=sample_ridges(rng, palette, horizon),
        shore=sample_shore(rng, palette, horizon, water),
        horizon=horizon,
        water=water,
        calm=between(rng, 0.0, 1.0),
        cloudiness=between(rng, -0.2, 0.8),
        cloud_scale=between(rng, 0.7, 1.7),
        sun=between(rng, 0.05, 0.11) if rng.random() < 0.65 else 0.0,
        sun_level=sun_level,
        sun_spacing=between(rng, 3.0, 4.5),
        salt=draw_salt(rng),
    )


def sample_palette(rng: np.random.Generator) -> Palette:
    """Draws a mixture of lights and of grounds: mostly one of them, always some of the others."""
    zenith, horizon, glow, cloud, light = mixture(rng, LIGHTS)
    (rock,), (field,) = mixture(rng, GROUNDS), mixture(rng, GROUNDS)
    return Palette(
        zenith=zenith,
        horizon=horizon,
        glow=glow,
        cloud=cloud,
        light=light,
        rock=rock * light,
        field=field * light,
    )


def sample_ridges(rng: np.random.Generator, palette: Palette, horizon: float) -> tuple[Ridge, ...]:
    """Draws one to four ridges between the sky and the horizon."""
    count = 1 + int(4 * rng.random())
    highest, roughness, haze = between(rng, 0.10, 0.36), rng.random(), between(rng, 0.45, 0.85)
    snowy = rng.random() < 0.4
    wooded = rng.random() < 0.5
    ridges = []
    for nearness in ((k + 0.5 * rng.random()) / count for k in range(count)):
        height = highest * (1 - nearness) + 0.05 * nearness
        relief = height * between(rng, 0.7, 1.1)
        angularity = roughness * (1 - 0.5 * nearness)
        ridges.append(
            Ridge(
                level=horizon - height,
                relief=relief,
                frequency=between(rng, 0.8, 1.7),
                gain=0.25 + 0.3 * angularity,
                angularity=angularity,
                trees=between(rng, 0.04, 0.08) if wooded and nearness > 0.45 else 0.0,
                haze=haze * (1 - nearness) * (1 - nearness) + 0.06,
                snow=between(rng, -0.3, 0.2) * relief if snowy and height > 0.16 else None,
                color=palette.rock * between(rng, 0.75, 1.0),
                salt=draw_salt(rng),
            )
        )
    return tuple(ridges)


def sample_shore(
    rng: np.random.Generator, palette: Palette, horizon: float, water: bool
) -> Ridge | None:
    """Draws the foreground: a field from the horizon on, or sometimes a bank before the water."""
    if water and rng.random() < 0.6:
        return None
    return Ridge(
        level=between(rng, 0.88, 0.97) if water else horizon,
        relief=between(rng, 0.03, 0.08),
        frequency=between(rng, 0.5, 1.2),
        gain=0.3,
        angularity=0.0,
        trees=between(rng, 0.05, 0.13) if rng.random() < 0.35 else 0.0,
        haze=0.0,
        snow=None,
        color=palette.field * (0.5 if water else 1.0),
        salt=draw_salt(rng),
    )


def paint(scene: Scene, height: int, width: int) -> UInt8[np.ndarray, "3 {height} {width}"]:
    """Paints the first `width` columns of a scene, `height` pixels from sky to foreground."""
    u = (np.arange(width) + 0.5) / height
    v = (np.arange(height) + 0.5) / height
    picture = paint_sky(scene, u, v)
    paint_sun(picture, scene, u, v)
    paint_clouds(picture, scene, u, height)
    grain = fractal(scene.salt + 1, 6.0 * u, 9.0 * v, octaves=2)
    for ridge in scene.ridges:
        paint_ridge(picture, ridge, scene.palette, grain)
    if scene.water:
        paint_water(picture, scene, u, v)
    if scene.shore:
        if not scene.water:
            grain = meadow(scene, u, v)
        paint_ridge(picture, scene.shore, scene.palette, grain)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def paint_sky(scene: Scene, u: Columns, v: Rows) -> Picture:
    """Blends from the zenith down to the horizon."""
    share = (v / scene.horizon).clip(0, 1).astype(np.float32)[:, None]
    column = scene.palette.zenith + share * (scene.palette.horizon - scene.palette.zenith)
    return np.repeat(column, len(u), axis=2)


def paint_sun(picture: Picture, scene: Scene, u: Columns, v: Rows) -> None:
    """Adds discs and their glow: one in each cell of the scene, somewhere in its middle half.

    Only the nearest disc counts. Discs are at least half a cell apart, so that a glow no wider
    than a quarter of a cell ends before another begins.
    """
    if not scene.sun:
        return
    position = u / scene.sun_spacing + phases(scene.salt + 2, 1)[0]
    cells = np.floor(position) + np.array([[-1.0], [0.0], [1.0]])
    centers = cells + 0.5 + 0.25 * hashed(cells, scene.salt + 3)
    across = np.abs(position - centers).min(axis=0) * scene.sun_spacing
    up = v - scene.sun_level
    square = (across**2 + (up**2)[:, None]).astype(np.float32)
    reach = scene.sun_spacing / 4
    glow = (1 - square / (reach * reach)).clip(0, 1)
    glow = glow * glow
    blend(picture, scene.palette.glow, 0.7 * glow * glow)
    disc = ((scene.sun - np.sqrt(square)) * len(v) + 0.5).clip(0, 1)
    blend(picture, 0.5 + 0.5 * scene.palette.glow, disc)


def paint_clouds(picture: Picture, scene: Scene, u: Columns, height: int) -> None:
    """Adds clouds, flatter towards the horizon, lit from above."""
    edges = np.arange(height + 1) / height
    y = 1.6 / (1.35 - np.minimum(edges, 1.0))
    density = fractal(scene.salt + 4, scene.cloud_scale * u, 2.2 * y, octaves=3)
    slope = (density[1:] - density[:-1]) * height
    cover = (2.0 * (density[1:] + scene.cloudiness - 0.45)).clip(0, 0.9)
    lit = scene.palette.cloud * (0.97 + 0.025 * slope.clip(-5, 3) - 0.12 * cover)
    picture += cover * (lit - picture)


def paint_ridge(picture: Picture, ridge: Ridge, palette: Palette, grain: Plane) -> None:
    """Covers what lies below a ridge by its land."""
    _, height, width = picture.shape
    v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    line = outline(ridge, np.arange(width + 1) / height, height)
    middle = (line[1:] + line[:-1]) / 2
    rise = line[1:] - line[:-1]
    depth = v - middle
    # The share of a pixel below a line of this slope, a box as wide as the line's rise.
    cover = (depth * height / (1 + np.abs(rise) * height) + 0.5).clip(0, 1)
    air = palette.horizon * 0.75 + palette.zenith * 0.25
    flank = (rise * height).clip(-1, 1) * (1 - depth / (ridge.trees or 0.25)).clip(0, 1)
    shade = 1 + 0.22 * grain + 0.2 * flank
    land = ridge.color * shade
    land += (ridge.haze * (1 + depth.clip(0, 0.25))) * (air - land)
    if ridge.snow is not None:
        drift = ridge.level + ridge.snow + 0.03 * grain - v
        snow = palette.light * (0.85 + 0.15 * flank) + 0.4 * ridge.haze * (air - palette.light)
        land += (20 * drift).clip(0, 1) * (snow - land)
    picture += cover * (land - picture)


def outline(ridge: Ridge, u: Columns, height: int) -> Float32[np.ndarray, " width"]:
    """Height of a ridge's line, from the top of the picture, at the places `u`."""
    octaves = np.arange(RIDGE_OCTAVES)
    frequency = ridge.frequency * np.ldexp(1.0, octaves)
    # Octaves finer than five pixels a cell fade, those finer than two and a half are left out.
    amplitude = np.cumprod([1.0] + [ridge.gain] * (RIDGE_OCTAVES - 1))
    amplitude *= (2 - 5 * frequency / height).clip(0, 1)
    kept = int((amplitude > 0).sum()) or 1
    place = frequency[:kept, None] * u + phases(ridge.salt, kept)[:, None]
    noise = lattice(place, ridge.salt + np.arange(kept)[:, None], ridge.angularity)
    line = ridge.level - ridge.relief * weighted(amplitude[:kept], noise)
    return line - crowns(ridge, u) if ridge.trees else line


def crowns(ridge: Ridge, u: Columns) -> Float32[np.ndarray, " width"]:
    """Height of conifers above a ridge's line, one in each cell, in groves."""
    place = u / (0.9 * ridge.trees + 0.05) + phases(ridge.salt + 50, 1)[0]
    cell = np.floor(place)
    cone = (1 - np.abs(2 * (place - cell) - 1)).astype(np.float32)
    size = (0.55 + 0.75 * hashed(cell, ridge.salt + 51)).clip(0, 1)
    return ridge.trees * size * cone


def paint_water(picture: Picture, scene: Scene, u: Columns, v: Rows) -> None:
    """Mirrors what stands above the horizon, broken by ripples that grow towards the viewer."""
    height = len(v)
    first = int(scene.horizon * height)
    v = v[first:]
    depth = (v - scene.horizon).clip(0, None)
    y = 3.0 / (depth + 0.12)
    ripple = fractal(scene.salt + 5, 2.5 * u, y, octaves=2)
    depth = depth.astype(np.float32)[:, None]
    swing = (1 - scene.calm) * 0.9 + 0.1
    source = scene.horizon - 1.1 * depth + swing * ripple * (0.3 * depth + 0.01)
    row = (source * height - 0.5).clip(0, max(first - 1, 0))
    upper = row.astype(np.intp)
    lower = np.minimum(upper + 1, max(first - 1, 0))
    columns = np.arange(len(u))
    above, below = picture[:, upper, columns], picture[:, lower, columns]
    mirrored = above + (row - upper) * (below - above)
    deep = scene.palette.zenith * 0.45 + scene.palette.horizon * 0.1
    tint = (0.18 + 0.9 * depth + 0.12 * swing * ripple).clip(0, 0.7)
    mirrored += tint * (deep - mirrored)
    cover = ((v - scene.horizon) * height + 0.5).clip(0, 1).astype(np.float32)[:, None]
    rest = picture[:, first:]
    rest += cover * (mirrored - rest)


def meadow(scene: Scene, u: Columns, v: Rows) -> Plane:
    """Light and dark of a field: patches that lengthen towards the viewer."""
    y = 1.5 / ((v - scene.horizon).clip(0, None) + 0.15)
    return 1.3 * fractal(scene.salt + 6, 1.5 * u, y, octaves=3)


def blend(picture: Picture, color: Color, cover: Plane) -> None:
    """Covers the picture by a colour, in place."""
    picture += cover * (color - picture)


def fractal(salt: int, x: Columns, y: Rows, *, octaves: int) -> Plane:
    """Smooth noise in about [-1, 1] at the places x by y, each octave half as strong."""
    scale = np.ldexp(1.0, np.arange(octaves))[:, None]
    offset = phases(salt, octaves)[:, None]
    x, y = scale * x + offset, scale * y
    left, top = np.floor(x), np.floor(y)
    s, t = smooth(x - left)[:, None, :], smooth(y - top)[:, :, None]
    columns = integers(np.stack([left, left + 1]))[None, :, :, None, :]
    rows = integers(np.stack([top, top + 1]))[:, None, :, :, None] * np.uint32(0x9E3779B1)
    seeds = (np.arange(octaves) + 1000 * salt).astype(np.uint32)[:, None, None]
    corners = unit(scrambled(scrambled(rows + seeds) + columns))
    sides = corners[:, 0] + s * (corners[:, 1] - corners[:, 0])
    planes = sides[0] + t * (sides[1] - sides[0])
    return weighted(1 / scale[:, 0], planes)


def lattice(
    place: Float64[np.ndarray, "octaves width"],
    salts: Int[np.ndarray, "octaves 1"],
    angularity: float,
) -> Float32[np.ndarray, "octaves width"]:
    """Noise in [-1, 1] interpolated between random values at the integers."""
    cell = np.floor(place)
    t = (place - cell).astype(np.float32)
    s = smooth(t)
    s += angularity * (t - s)
    left, right = hashed(np.stack([cell, cell + 1]), salts)
    return left + s * (right - left)


def weighted(
    weights: Float64[np.ndarray, " count"], terms: Float32[np.ndarray, "count ..."]
) -> Float32[np.ndarray, "..."]:
    """Sums `terms` times their weights, term after term."""
    total = terms[0] * np.float32(weights[0])
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total += np.float32(weight) * term
    return total


def smooth(t: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Eases from 0 to 1, flat at both ends."""
    t = t.astype(np.float32)
    return t * t * (3 - 2 * t)


def phases(salt: int, count: int) -> Float64[np.ndarray, " count"]:
    """Offsets of `count` lattices, uniform over a cell: they make lattice noise stationary."""
    return 0.5 + 0.5 * hashed(np.arange(count), salt + 7919).astype(np.float64)


def hashed(
    cell: Float64[np.ndarray, "..."] | Int[np.ndarray, "..."], salts: int | Int[np.ndarray, "..."]
) -> Float32[np.ndarray, "..."]:
    """Uniform random numbers in [-1, 1), one for each cell and salt."""
    seeds = np.atleast_1d(salts).astype(np.uint32)
    return unit(scrambled(integers(cell) + scrambled(seeds)))


def scrambled(word: UInt32[np.ndarray, "..."]) -> UInt32[np.ndarray, "..."]:
    """A bijection of 32-bit words that looks random (the finaliser of MurmurHash3)."""
    word = word ^ (word >> 16)
    word *= np.uint32(0x85EBCA6B)
    word ^= word >> 13
    word *= np.uint32(0xC2B2AE35)
    word ^= word >> 16
    return word


def integers(
    cell: Float64[np.ndarray, "..."] | Int[np.ndarray, "..."],
) -> UInt32[np.ndarray, "..."]:
    """Cell numbers modulo 2^32, negative ones too."""
    return cell.astype(np.int64).astype(np.uint32)


def unit(word: UInt32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """The upper 24 bits of a word as a number in [-1, 1)."""
    number = (word >> 8).astype(np.float32)
    number *= np.float32(2.0**-23)
    number -= 1
    return number


def mixture(
    rng: np.random.Generator, rows: Float64[np.ndarray, "kinds colors 3"]
) -> Float32[np.ndarray, "colors 3 1 1"]:
    """Draws a convex mixture of rows of colours, peaked at few of them, slightly tinted."""
    weights = rng.random(len(rows))
    weights = weights * weights * weights
    weights = weights * weights * weights  # the ninth power
    tint = 0.92 + 0.16 * rng.random(3)
    mixed = sum(weight * row for weight, row in zip(weights / sum(weights), rows, strict=True))
    return (mixed * tint).astype(np.float32)[:, :, None, None]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a uniform number."""
    return low + (high - low) * rng.random()


def draw_salt(rng: np.random.Generator) -> int:
    """Draws a seed for hashed noise."""
    return int(2**31 * rng.random())
