"""Surfaces: a bank of grey tiles, several for every material and every texture.

- `MATERIALS`, `TEXTURES`: name → (the function that draws one tile, its strength or None)
- `tile`: one tile of a material or texture
- `TILE`: side of a tile in canvas pixels

A material (brick, fur, water …) modulates the brightness of whatever it is painted on; a texture (striped, dotted …)
mixes two colours. To add one, write a function `def cobbled(draw: Draw) -> np.ndarray` that returns a (TILE, TILE)
array in [0, 1], add one row to the table below, and its name to `vocabulary`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

TILE = 320
VARIANTS = 5  # different tiles of each kind


class Draw:
    """What a tile function draws with: a seeded generator, pixel coordinates and three noises."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.y, self.x = np.mgrid[0:TILE, 0:TILE].astype(np.float64)

    def noise(self, slope: float, fine_x: float = 1.0, fine_y: float = 1.0, above: float = 0.0) -> np.ndarray:
        """Gaussian noise with power falling as 1/f^slope, in [0, 1] with mean 0.5.

        `fine_x` < 1 makes the grain finer along x, > 1 coarser (likewise y); frequencies below `above` cycles a
        tile are left out.
        """
        spectrum = np.fft.rfft2(self.rng.standard_normal((TILE, TILE)))
        ky = np.fft.fftfreq(TILE)[:, None] * TILE * fine_y
        kx = np.fft.rfftfreq(TILE)[None] * TILE * fine_x
        k = np.hypot(kx, ky)
        k[0, 0] = np.inf  # no constant part
        z = np.fft.irfft2(spectrum * k ** (-slope / 2) * (k > above), s=(TILE, TILE))
        return np.clip(0.5 + 0.22 * (z - z.mean()) / z.std(), 0, 1)

    def cells(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Voronoi cells of about `side` pixels: (distance to the border, a random value a cell)."""
        n = TILE // side + 4  # one more cell on every side, so that border pixels have all nine neighbours
        px = (np.arange(n)[None] - 1 + self.rng.random((n, n))) * side
        py = (np.arange(n)[:, None] - 1 + self.rng.random((n, n))) * side
        gx, gy = (self.x // side).astype(int) + 1, (self.y // side).astype(int) + 1
        nearest, second = np.full((TILE, TILE), np.inf), np.full((TILE, TILE), np.inf)
        owner = np.zeros((TILE, TILE), int)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                a, b = gy + dy, gx + dx
                d = np.hypot(px[a, b] - self.x, py[a, b] - self.y)
                closer = d < nearest
                second = np.where(closer, nearest, np.minimum(second, d))
                owner, nearest = np.where(closer, a * n + b, owner), np.where(closer, d, nearest)
        return second - nearest, self.rng.random(n * n)[owner]

    def turned(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates turned by a random angle, in units of a random period of low … high pixels."""
        angle, period = self.rng.uniform(0, np.pi), self.rng.uniform(low, high)
        c, s = np.cos(angle), np.sin(angle)
        return (self.x * c + self.y * s) / period, (-self.x * s + self.y * c) / period


def _edge(z: np.ndarray, sharpness: float) -> np.ndarray:
    """A soft step from 0 to 1 where z passes 0."""
    return 1 / (1 + np.exp(-np.clip(sharpness * z, -30, 30)))


# ---- materials: brightness around 0.5 ----------------------------------------------------------------------------


def brick(d: Draw) -> np.ndarray:
    """Courses of bricks, each half a brick on, with light mortar."""
    height = d.rng.uniform(9, 16)
    width = height * d.rng.uniform(2, 2.8)
    row = d.y // height
    along = d.x + (row % 2) * width / 2
    shade = d.rng.random((200, 200))[row.astype(int), (along // width).astype(int) % 200]
    mortar = (d.y % height < height * 0.16) | (along % width < height * 0.16)
    return np.where(mortar, 0.95, 0.15 + 0.4 * shade + 0.2 * (d.noise(0.8) - 0.5))


def wood(d: Draw) -> np.ndarray:
    """Wavy growth rings along the grain."""
    rings = d.noise(4.5, fine_x=0.3) * d.rng.uniform(30, 60)
    return 0.5 + 0.3 * np.sin(rings + d.y * 0.05) + 0.5 * (d.noise(1.5, fine_x=8.0) - 0.5)


def grass(d: Draw) -> np.ndarray:
    """Fine upright blades."""
    return d.noise(1.1, fine_y=0.3)


def water(d: Draw) -> np.ndarray:
    """Wavelets, long across and short upwards."""
    # Wavelets are long across and short upwards; seen in perspective, anything else becomes radial streaks.
    return np.clip(1.3 * d.noise(2.0, fine_x=2.2, fine_y=0.45) - 0.15, 0, 1) ** 1.5


def sand(d: Draw) -> np.ndarray:
    """Fine grains on soft ripples."""
    return 0.5 + 0.5 * (d.noise(0.8) - 0.5) + 0.6 * (d.noise(2.5, fine_x=1.5) - 0.5)


def snow(d: Draw) -> np.ndarray:
    """Smooth drifts."""
    return 0.5 + 0.3 * (d.noise(0.8) - 0.5) + 0.9 * (d.noise(3.0, fine_x=1.4) - 0.5)


def stone(d: Draw) -> np.ndarray:
    """Cut stones of all shapes with dark joints."""
    border, shade = d.cells(int(d.rng.integers(18, 34)))
    return np.where(border < 2.2, 0.05, 0.35 + 0.45 * shade) + 0.3 * (d.noise(2.2) - 0.5)


def rock(d: Draw) -> np.ndarray:
    """Ridges and clefts."""
    return 1 - 3 * np.abs(d.noise(2.4) - 0.5)


def asphalt(d: Draw) -> np.ndarray:
    """Fine even grain."""
    return 0.5 + 0.9 * (d.noise(0.3) - 0.5)


def foliage(d: Draw) -> np.ndarray:
    """Leaves in light and shade."""
    return 0.5 + 1.6 * (d.noise(1.4, above=6) - 0.5)


def earth(d: Draw) -> np.ndarray:
    """Clods."""
    return d.noise(1.5)


def fur(d: Draw) -> np.ndarray:
    """Short hair, one way or the other."""
    long_way = d.rng.random() < 0.5
    return 0.5 + 0.8 * (d.noise(1.0, *((1.0, 0.3) if long_way else (0.3, 1.0))) - 0.5)


def metal(d: Draw) -> np.ndarray:
    """Soft reflections."""
    return 0.5 + 0.35 * (d.noise(2.8) - 0.5)


def fabric(d: Draw) -> np.ndarray:
    """A fine weave."""
    return 0.5 + 0.12 * np.sin(1.5 * d.x) * np.sin(1.5 * d.y) + 0.4 * (d.noise(2.4) - 0.5)


def tiles(d: Draw) -> np.ndarray:
    """Square tiles with dark joints."""
    side = d.rng.uniform(14, 26)
    shade = d.rng.random((200, 200))[(d.y // side).astype(int), (d.x // side).astype(int)]
    joint = (d.x % side < 2) | (d.y % side < 2)
    return np.where(joint, 0.0, 0.6 + 0.25 * (shade - 0.5) + 0.2 * (d.noise(2.2) - 0.5))


def plaster(d: Draw) -> np.ndarray:
    """A nearly even wall."""
    return 0.5 + 0.35 * (d.noise(2.2) - 0.5) + 0.1 * (d.noise(0.8) - 0.5)


def glass(d: Draw) -> np.ndarray:
    """Broad reflections."""
    return 0.5 + 0.7 * (d.noise(3.0) - 0.5)


def scales(d: Draw) -> np.ndarray:
    """Overlapping rows of scales."""
    side = d.rng.uniform(7, 12)
    row = np.floor(d.y / side)
    return 0.3 + 0.6 * np.hypot((d.x / side + 0.5 * (row % 2)) % 1 - 0.5, (d.y / side) % 1)


def feather(d: Draw) -> np.ndarray:
    """Fine vanes."""
    return 0.5 + 0.5 * (d.noise(1.2, fine_x=0.25) - 0.5)


def cloud(d: Draw) -> np.ndarray:
    """Billows."""
    return d.noise(2.8, fine_y=1.4)


def plant(d: Draw) -> np.ndarray:
    """Long fibres."""
    return 0.5 + 0.4 * (d.noise(1.6, fine_x=0.3) - 0.5)


# ---- textures: how much of the second colour ---------------------------------------------------------------------


def striped(d: Draw) -> np.ndarray:
    """Parallel bars."""
    u, _ = d.turned(9, 24)
    return _edge(np.sin(2 * np.pi * u) - d.rng.uniform(-0.4, 0.4), 6)


def dotted(d: Draw) -> np.ndarray:
    """A square lattice of dots."""
    u, v = d.turned(9, 24)
    return _edge(0.3 - np.hypot(u % 1 - 0.5, v % 1 - 0.5), 25)


def checkered(d: Draw) -> np.ndarray:
    """A checkerboard."""
    u, v = d.turned(9, 24)
    return _edge(np.sin(np.pi * u) * np.sin(np.pi * v), 12)


def zigzag(d: Draw) -> np.ndarray:
    """Bars that turn back and forth."""
    u, v = d.turned(9, 24)
    return _edge(np.sin(2 * np.pi * (u + 0.6 * np.abs(2 * ((0.6 * v) % 1) - 1))), 5)


def woven(d: Draw) -> np.ndarray:
    """Strands over and under each other."""
    u, v = d.turned(9, 24)
    over = np.sin(np.pi * (u % 1)) * (0.6 + 0.4 * np.sin(6 * np.pi * v))
    under = np.sin(np.pi * (v % 1)) * (0.6 + 0.4 * np.sin(6 * np.pi * u))
    return np.where((np.floor(u) + np.floor(v)) % 2 > 0, over, under)


def swirly(d: Draw) -> np.ndarray:
    """Level lines of a smooth field."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * d.noise(5.0) * d.rng.uniform(14, 22))


def marbled(d: Draw) -> np.ndarray:
    """Veins."""
    u, _ = d.turned(9, 24)
    return (0.5 + 0.5 * np.sin(1.5 * u + 30 * d.noise(4.0))) ** 3


def grid(d: Draw) -> np.ndarray:
    """Thin lines both ways."""
    u, v = d.turned(9, 24)
    return ((u % 1 < 0.2) | (v % 1 < 0.2)).astype(float)


def cracked(d: Draw) -> np.ndarray:
    """Thin dark borders between cells."""
    border, _ = d.cells(int(d.rng.integers(14, 36)))
    return _edge(2.0 - border, 2)


def speckled(d: Draw) -> np.ndarray:
    """Small blots."""
    return _edge(d.noise(2.5, above=18) - 0.62, 25)


def honeycomb(d: Draw) -> np.ndarray:
    """Hexagonal cells."""
    u, v = d.turned(9, 24)
    centres = ((0.0, 0.0), (0.5, 0.5))
    distance = [np.hypot((u - a) % 1 - 0.5, ((v / 1.732 - b) % 1 - 0.5) * 1.732) for a, b in centres]
    return _edge(np.minimum(*distance) - 0.42, 25)


Maker = Callable[[Draw], np.ndarray]

# material: how it is drawn, and how strongly it shows (0 = flat). Skin, sky, rubber … are plaster at low strength.
MATERIALS: dict[str, tuple[Maker, float]] = {
    "brick": (brick, 0.50),
    "wood": (wood, 0.35),
    "grass": (grass, 0.55),
    "water": (water, 0.40),
    "sand": (sand, 0.20),
    "stone": (stone, 0.50),
    "asphalt": (asphalt, 0.30),
    "foliage": (foliage, 0.70),
    "fur": (fur, 0.40),
    "metal": (metal, 0.30),
    "fabric": (fabric, 0.30),
    "tile": (tiles, 0.35),
    "plaster": (plaster, 0.15),
    "snow": (snow, 0.12),
    "glass": (glass, 0.40),
    "skin": (plaster, 0.15),
    "rock": (rock, 0.50),
    "ceramic": (plaster, 0.15),
    "sky": (cloud, 0.0),
    "cloud": (cloud, 0.40),
    "earth": (earth, 0.45),
    "rubber": (plaster, 0.15),
    "feather": (feather, 0.40),
    "scales": (scales, 0.40),
    "plant": (plant, 0.30),
    "paper": (plaster, 0.10),
    "leather": (plaster, 0.20),
}

TEXTURES: dict[str, Maker] = {
    "striped": striped,
    "dotted": dotted,
    "checkered": checkered,
    "zigzag": zigzag,
    "woven": woven,
    "swirly": swirly,
    "marbled": marbled,
    "grid": grid,
    "cracked": cracked,
    "speckled": speckled,
    "honeycomb": honeycomb,
}


@cache
def tile(name: str, variant: int) -> np.ndarray:
    """Tile `variant` (0 … VARIANTS − 1) of a material or texture: (TILE, TILE) float32 in [0, 1], read-only.

    Drawn when first asked for. Each tile is seeded by its own name, so adding a material changes no other, and is
    rounded to 8 bits, which absorbs the last-digit differences between machines' Fourier transforms.
    """
    maker = TEXTURES[name] if name in TEXTURES else MATERIALS[name][0]
    rng = np.random.default_rng([zlib.crc32(name.encode()), variant])
    grey = np.round(255 * np.clip(maker(Draw(rng)), 0, 1)).astype(np.float32) / 255
    grey.flags.writeable = False
    return grey
