"""The sheet that scenes and objects are painted on. Every stroke writes its pixels AND their labels.

- `Canvas`: a canvas with `paint`, `sky`, `ground`, `shadow`, `glow` and `view`
- `SIZE`: side of a finished image in pixels
- `SUPERSAMPLING`: canvas pixels per image pixel, each way

Labels cannot drift away from the picture, because there is only one call that paints, and it does both. Coordinates
are canvas pixels, x to the right and y down; `canvas.side` is the side of the canvas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from . import textures
from .palette import Colour, contrasting
from .shapes import Shape, ellipse
from .vocabulary import index

SIZE = 96
SUPERSAMPLING = 2
LABELS = ("object", "part", "material", "texture")
BLACK = (0.0, 0.0, 0.0)


@dataclass
class Canvas:
    """A square canvas of SIZE × SUPERSAMPLING pixels.

    `rng` is drawn on by everything that paints; the renderer swaps it between steps, so that changing one step of an
    image leaves the random choices of the others alone. `owner` is the object whose strokes follow, `main` says
    whether it is the object that the image is named after.
    """

    rng: np.random.Generator
    light: np.ndarray  # unit vector towards the light: x right, y down, z towards the viewer
    side: int = SIZE * SUPERSAMPLING
    owner: str = ""
    main: bool = False
    ambient: np.ndarray | None = None  # colour of the light on what is painted next (None: white)
    without: frozenset[str] = frozenset()  # names that must not occur in the image
    rgb: np.ndarray = field(init=False)
    labels: dict[str, np.ndarray] = field(init=False)
    instance: np.ndarray = field(init=False)  # the main object, where it is seen
    silhouette: np.ndarray = field(init=False)  # the main object, as if nothing stood before it

    def __post_init__(self) -> None:
        shape = (self.side, self.side)
        self.rgb = np.zeros((*shape, 3), np.float32)
        self.labels = {name: np.zeros(shape, np.uint8) for name in LABELS}
        self.instance = np.zeros(shape, bool)
        self.silhouette = np.zeros(shape, bool)

    def snapshot(self) -> tuple[np.ndarray, ...]:
        """A copy of everything painted so far, for `restore`."""
        return (self.rgb.copy(), self.instance.copy(), *(self.labels[k].copy() for k in LABELS))

    def restore(self, snapshot: tuple[np.ndarray, ...]) -> None:
        """Undo everything painted since `snapshot` was taken (it can be restored once)."""
        self.rgb, self.instance, *labels = snapshot
        self.labels = dict(zip(LABELS, labels, strict=True))

    def _coverage(self, shape: Shape) -> tuple[slice, slice, Image.Image] | None:
        """How much of each pixel the shape covers, within its bounding box; None when it is off the canvas."""
        corners = np.concatenate(shape.polygons)
        x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, self.side)
        if x1 <= x0 or y1 <= y0:
            return None
        # Drawn at twice the canvas' resolution and averaged: with SUPERSAMPLING, 4×4 samples an image pixel.
        cover = Image.new("L", (int(x1 - x0) * 2, int(y1 - y0) * 2))
        draw = ImageDraw.Draw(cover)
        for points, solid in zip(shape.polygons, shape.solid, strict=True):
            draw.polygon(((points - (x0, y0)) * 2).ravel().tolist(), fill=255 if solid else 0)
        return slice(y0, y1), slice(x0, x1), cover.reduce(2)

    def _surface(self, name: str, height: int, width: int) -> np.ndarray:
        """A random cut-out of a random tile, (height, width, 1)."""
        variant, dy, dx = self.rng.integers(textures.VARIANTS), *self.rng.random(2)
        y, x = int(dy * (textures.TILE - height)), int(dx * (textures.TILE - width))
        return textures.tile(name, int(variant))[y : y + height, x : x + width, None]

    def paint(
        self,
        shape: Shape,
        colour: Colour,
        *,
        material: str = "",
        texture: str = "",
        second: Colour | None = None,
        part: str = "",
        owner: str | None = None,
        shade: str = "linear",
        depth: float = 0.35,
        opacity: float = 1.0,
        soft: float = 0.0,
        labelled: bool = True,
    ) -> None:
        """Paint a shape and label its pixels.

        colour: (r, g, b) in [0, 1]. material modulates its brightness, texture mixes in the `second` colour (one that
        stands out, when not given). shade: "flat", "linear" (lighter above and towards the light), "upright" (a
        standing cylinder) or "round" (a cushion lit from `light`), as strongly as `depth`. opacity below 1 and `soft`
        (blur radius in canvas pixels) blend. owner: the object label, by default the canvas' `owner`; a stroke with an
        explicit owner is never part of the main object. labelled=False paints without labels (a reflection, a
        whisker). Pixels covered by half or more take the labels. An object or part in `without` is not painted at
        all; a material or texture in `without` is painted plain.
        """
        if part in self.without or owner in self.without:
            return
        material, texture = ("" if name in self.without else name for name in (material, texture))
        covered = self._coverage(shape)
        if covered is None:
            return
        ys, xs, cover = covered
        if soft:
            cover = cover.filter(ImageFilter.GaussianBlur(soft))
        alpha = np.asarray(cover, np.float32)[..., None] / 255
        height, width = alpha.shape[:2]
        fill: np.ndarray = np.asarray(colour, np.float32)  # (3,), broadcast as long as nothing varies
        if texture:
            other = contrasting(self.rng, colour) if second is None else np.asarray(second, np.float32)
            fill = fill + (other - fill) * self._surface(texture, height, width)
        strength = textures.MATERIALS[material][1] if material else 0.0
        if strength:
            fill = fill * (1 + 2 * strength * (self._surface(material, height, width) - 0.5))
        light = self._shading(shade, depth, cover, height, width)
        if light is not None:
            fill = fill * light[..., None]
        if self.ambient is not None:
            fill = fill * self.ambient
        region = self.rgb[ys, xs]
        region += (fill - region) * (alpha * opacity)
        if labelled:
            self._label(ys, xs, alpha[..., 0] >= 0.5, owner, part, material, texture)

    def _label(
        self,
        ys: slice,
        xs: slice,
        where: np.ndarray,
        owner: str | None,
        part: str,
        material: str,
        texture: str,
    ) -> None:
        mine = owner is None
        values = (index("object", self.owner if owner is None else owner), index("part", part))
        for name, value in zip(
            LABELS, (*values, index("material", material), index("texture", texture)), strict=True
        ):
            self.labels[name][ys, xs][where] = value
        self.instance[ys, xs][where] = self.main and mine
        if self.main and mine:
            self.silhouette[ys, xs] |= where

    def _shading(self, kind: str, depth: float, cover: Image.Image, h: int, w: int) -> np.ndarray | None:
        """Brightness factor of a surface of the given kind, (h, w) or broadcastable to it."""
        if kind == "flat":
            return None
        if kind == "linear":
            y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
            x = np.linspace(-0.5, 0.5, w, dtype=np.float32)[None]
            return 1 + depth * (0.45 - 0.9 * y + 0.6 * float(self.light[0]) * x)
        if kind == "upright":
            x = np.linspace(-1, 1, w, dtype=np.float32)[None]
            return 1 + depth * (0.25 - 0.9 * (x - 0.5 * float(self.light[0])) ** 2)
        if kind == "round":
            # The blurred silhouette is a height field; its normals are lit as a matt surface.
            radius = max(2.0, 0.22 * min(h, w))
            relief = np.asarray(cover.filter(ImageFilter.BoxBlur(radius)), np.float32) / 255
            if min(h, w) < 2:
                return None
            gy, gx = np.gradient(relief * np.float32(1.1 * radius))
            lx, ly, lz = (float(v) for v in self.light)
            matt = (lz - gx * lx - gy * ly) / np.sqrt(1 + gx**2 + gy**2)
            return 1 - depth + 1.55 * depth * np.clip(matt, 0, 1.2)
        raise ValueError(f"unknown shade {kind!r}; there are flat, linear, upright and round")

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """Darken a soft ellipse on the ground (no label changes: a shadow is not a thing)."""
        covered = self._coverage(ellipse(x, y, rx * 1.25, ry * 1.6))
        if covered is not None:
            ys, xs, cover = covered
            soft = cover.filter(ImageFilter.GaussianBlur(float(max(1, ry * 0.5))))
            self.rgb[ys, xs] *= 1 - np.asarray(soft, np.float32)[..., None] * (strength / 255)

    def glow(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Add light that falls off as a Gaussian of the given radius (no label changes)."""
        t = np.arange(self.side, dtype=np.float32)
        fall = (
            np.exp(-(((t - np.float32(x)) / radius) ** 2))[None]
            * np.exp(-(((t - np.float32(y)) / radius) ** 2))[:, None]
        )
        self.rgb += fall[..., None] * np.asarray(colour, np.float32)

    def _fill_rows(self, top: int, bottom: int, owner: str, material: str, texture: str = "") -> None:
        rows = slice(top, bottom)
        for name, value in zip(
            LABELS,
            (index("object", owner), 0, index("material", material), index("texture", texture)),
            strict=True,
        ):
            self.labels[name][rows] = value
        self.instance[rows] = False

    def sky(
        self,
        top: Colour,
        bottom: Colour,
        horizon: float,
        clouds: float = 0.6,
        cloud_colour: Colour = (1, 1, 1),
    ) -> None:
        """Fill everything above the horizon with a gradient and clouds of the given density (0 … 1)."""
        h = int(horizon) + 2
        t = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
        sky = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
        puff = (
            np.clip((self._surface("cloud", h, self.side) - self.rng.uniform(0.45, 0.7)) * 5, 0, 1) * clouds
        )
        lit = 1 - 0.25 * np.roll(puff, -4, 0)
        self.rgb[:h] = sky * (1 - puff) + np.asarray(cloud_colour, np.float32) * lit * puff
        self._fill_rows(0, h, "sky", "sky")
        cloudy = puff[..., 0] > 0.4
        self.labels["object"][:h][cloudy] = index("object", "cloud")
        self.labels["material"][:h][cloudy] = index("material", "cloud")

    def ground(
        self,
        horizon: float,
        colour: Colour,
        material: str,
        *,
        owner: str = "ground",
        texture: str = "",
        second: Colour = BLACK,
        bottom: float | None = None,
        scale: float = 1.0,
        haze: Colour | None = None,
    ) -> None:
        """A plane in perspective from the horizon down to `bottom` (the canvas' edge), fading into the haze.

        texture mixes in the `second` colour; scale > 1 makes its pattern finer.
        """
        top, end = int(horizon), self.side if bottom is None else int(bottom)
        if end <= top:
            return
        below = np.arange(1, end - top + 1, dtype=np.float32)[:, None]
        far = 0.62 * self.side / (below + 0.06 * self.side)  # distance of each row, 1 near the bottom
        dx, dy = self.rng.random(2) * textures.TILE
        x = (np.arange(self.side, dtype=np.float32)[None] - self.side / 2) * far * (1.1 * scale) + dx
        y = far * (0.8 * self.side * scale) + dy
        n = textures.TILE
        xi, yi = x.astype(np.int32) % n, np.broadcast_to(y.astype(np.int32) % n, x.shape)

        def seen(name: str, sharpness: float, coarse: int = 1) -> np.ndarray:
            tile = textures.tile(name, int(self.rng.integers(textures.VARIANTS)))
            # What is far away is finer than a pixel: it averages to grey instead of flickering.
            return ((tile[yi // coarse, xi // coarse] - 0.5) * np.clip(sharpness / far, 0, 1))[..., None]

        fill: np.ndarray = np.asarray(colour, np.float32)
        if texture:
            fill = fill + (np.asarray(second, np.float32) - fill) * (0.5 + seen(texture, 2.2))
        fill = fill * (1 + 2 * textures.MATERIALS[material][1] * seen(material, 1.6))
        fill = fill * (1 + 0.25 * seen("earth", 9.0, coarse=3))
        if haze is not None:
            veil = (0.6 * np.clip(1 - below / (0.35 * self.side), 0, 1) ** 2)[..., None]
            fill = fill + (np.asarray(haze, np.float32) - fill) * veil
        self.rgb[top:end] = fill
        self._fill_rows(top, end, owner, material, texture)

    def view(self) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """The picture at its final size: RGB (SIZE, SIZE, 3) float, label maps, instance and silhouette masks."""
        s = self.side // SIZE
        rgb = self.rgb.reshape(SIZE, s, SIZE, s, 3).mean((1, 3))
        maps = {name: m[::s, ::s].copy() for name, m in self.labels.items()}
        return rgb, maps, self.instance[::s, ::s].copy(), self.silhouette[::s, ::s].copy()
