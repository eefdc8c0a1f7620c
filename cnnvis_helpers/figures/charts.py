"""Numbers as charts: each returns (figure, axes).

bars     bars in groups, horizontal or vertical, with error bars, values written out, reference lines
curves   lines with bands, named at their ends instead of in a legend

fig, axes = bars([0.97, 0.41], ["trained", "untrained"], value_label="accuracy", reference={"chance": 1 / 16})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .raster import CATEGORICAL, as_array
from .style import DPI, FAINT, INK, WIDTH, charted, line_height, styled


def _figure_of(axes: Axes) -> Figure:
    return axes.get_figure(root=True)  # type: ignore[return-value]


def _reference(axes: Axes, lines: Mapping[str, float] | None, along_x: bool, named: bool = True) -> None:
    """Dashed lines at named values: chance, a null, a claim."""
    for name, value in (lines or {}).items():
        draw = axes.axvline if along_x else axes.axhline
        draw(value, color=FAINT, lw=1.2, ls=(0, (4, 3)), zorder=2.5)
        if named and along_x:
            axes.annotate(
                name,
                (value, 1.0),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="bottom",
                size=8.5,
                color=FAINT,
            )
        elif named:
            axes.annotate(
                name,
                (1.0, value),
                (4, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="left",
                va="center",
                size=8.5,
                color=FAINT,
            )


def _dark(colour: str) -> tuple[float, float, float]:
    """A darker shade of `colour`: text needs more contrast than a line does."""
    red, green, blue = to_rgb(colour)
    return 0.68 * red, 0.68 * green, 0.68 * blue


@styled
def bars(
    values: Any,
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    errors: Any = None,
    horizontal: bool = True,
    value_label: str = "",
    reference: Mapping[str, float] | None = None,
    limits: tuple[float, float] | None = None,
    number: str | None = "{:.3g}",
    colours: Sequence[str] | None = None,
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    height: float | None = None,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw bars, the first label on top (or left).

    `values` (labels,) or (groups, labels); `errors` half-widths of that shape, or (2, *that shape) for
    (below, above): say in the caption what they are. `number` formats the value written at each bar (None:
    none); `reference` names values to mark by dashed lines, such as chance. `colours`: one a group, or one a
    bar where there are no groups. `value_label` names the quantity and its unit.
    """
    table = np.atleast_2d(as_array(values).astype(float))  # (groups, labels)
    if table.ndim != 2 or table.shape[1] != len(labels):
        raise ValueError(f"there are {len(labels)} labels for values of shape {as_array(values).shape}")
    if groups is not None and len(groups) != len(table):
        raise ValueError(f"there are {len(groups)} group names for {len(table)} groups")
    spread: NDArray[Any] | None = None
    if errors is not None:
        given = as_array(errors).astype(float)
        spread = (
            given
            if given.ndim == 3
            else given[:, None]
            if len(table) == 1 and given.shape == (2, len(labels))
            else None
        )
        if spread is None:
            spread = np.stack([np.atleast_2d(given)] * 2)
        if spread.shape != (2, *table.shape):
            raise ValueError(
                f"errors have the shape of the values, or (2, that shape); these have {given.shape}"
            )
    if axes is None:
        tall = 64 + len(labels) * (10 + 19 * len(table)) if horizontal else 300
        figure, axes = charted(width, height or max(tall, 130), caption)
    else:
        figure = _figure_of(axes)
    thick, form = 0.8 / len(table), number or ""
    places = np.arange(len(labels))
    for g, row in enumerate(table):
        at = places + (g - (len(table) - 1) / 2) * thick
        colour = (
            list(colours)
            if colours and len(table) == 1
            else (colours or CATEGORICAL)[g % len(colours or CATEGORICAL)]
        )
        name = groups[g] if groups is not None else None
        error = dict(ecolor=INK, elinewidth=1.1, capsize=2.5)
        reach = None if spread is None else spread[:, g]
        if horizontal:
            axes.barh(at, row, thick * 0.92, color=colour, label=name, xerr=reach, error_kw=error)
        else:
            axes.bar(at, row, thick * 0.92, color=colour, label=name, yerr=reach, error_kw=error)
        for i, value in enumerate(row if form else ()):
            sign = -1 if value < 0 else 1
            end = value + sign * (0.0 if reach is None else reach[int(value >= 0), i])
            if not np.isfinite(value):
                continue
            if horizontal:
                axes.annotate(
                    form.format(value).replace("-", "−"),
                    (end, at[i]),
                    (4 * sign, 0),
                    textcoords="offset points",
                    va="center",
                    ha="left" if sign > 0 else "right",
                    size=8.5,
                    color=FAINT,
                )
            else:
                axes.annotate(
                    form.format(value).replace("-", "−"),
                    (at[i], end),
                    (0, 2 * sign),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if sign > 0 else "top",
                    size=8.5,
                    color=FAINT,
                )
    if horizontal:
        axes.set(yticks=places, yticklabels=list(labels), xlabel=value_label)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.09)
        axes.grid(axis="x")
        axes.axvline(0, color="#888888", lw=0.8)
    else:
        axes.set(xticks=places, xticklabels=list(labels), ylabel=value_label)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.tick_params(axis="x", length=0)
        axes.margins(y=0.12)
        axes.grid(axis="y")
        axes.axhline(0, color="#888888", lw=0.8)
    if limits is not None:
        (axes.set_xlim if horizontal else axes.set_ylim)(*limits)
    _reference(axes, reference, along_x=horizontal)
    if groups is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    if title:
        axes.set_title(title, pad=18 if reference and horizontal else 8)
    return figure, axes


def _spread_out(places: Sequence[float], least: float) -> list[float]:
    """Move places apart to at least `least`, keeping their order and, as far as possible, their centre."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[list[Any]] = []  # [members, centre], merged while they touch
    for i in order:
        blocks.append([[i], places[i]])
        while (
            len(blocks) > 1
            and blocks[-1][1] - blocks[-2][1] < least * (len(blocks[-1][0]) + len(blocks[-2][0])) / 2
        ):
            members, centre = blocks.pop()
            count = len(blocks[-1][0])
            blocks[-1][1] = (blocks[-1][1] * count + centre * len(members)) / (count + len(members))
            blocks[-1][0] = blocks[-1][0] + members
    out = list(places)
    for members, centre in blocks:
        for k, i in enumerate(members):
            out[i] = centre + (k - (len(members) - 1) / 2) * least
    return out


@styled
def curves(
    x: Any,
    ys: Mapping[str, Any],
    *,
    bands: Mapping[str, tuple[Any, Any]] | None = None,
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    y_limits: tuple[float, float] | None = None,
    reference: Mapping[str, float] | None = None,
    markers: bool | None = None,
    x_ticks: Sequence[str] | None = None,
    colours: Mapping[str, str] | None = None,
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    height: float = 320,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw one line for each entry of `ys` over `x`, named at its right end.

    `x`: (n,) numbers, or None for 0, 1, 2 … with `x_ticks` as names (layers, steps). `bands`: name -> (low,
    high), (n,) each: say in the caption what they are. `markers` shows the points (default: where there are
    at most 30); `reference` marks named values by dashed lines.
    """
    lines = {name: as_array(y).astype(float) for name, y in ys.items()}
    if not lines:
        raise ValueError("there is no curve to draw: give at least one")
    count = len(next(iter(lines.values())))
    across = np.arange(count) if x is None else as_array(x).astype(float)
    wrong = [name for name, y in lines.items() if y.shape != across.shape]
    if wrong:
        raise ValueError(f"curve '{wrong[0]}' has shape {lines[wrong[0]].shape}, x has {across.shape}")
    if axes is None:
        figure, axes = charted(width, height, caption)
    else:
        figure = _figure_of(axes)
    dotted = count <= 30 if markers is None else markers
    shade = {n: (colours or {}).get(n, CATEGORICAL[i % len(CATEGORICAL)]) for i, n in enumerate(lines)}
    for name, y in lines.items():
        axes.plot(
            across, y, color=shade[name], marker="o" if dotted else None, ms=4.5, label=name, clip_on=False
        )
        if bands and name in bands:
            low, high = (as_array(edge).astype(float) for edge in bands[name])
            axes.fill_between(across, low, high, color=shade[name], alpha=0.18, lw=0)
    if log_x:
        if (across <= 0).any():  # zero has no logarithm: linear up to the least positive x
            axes.set_xscale("symlog", linthresh=float(across[across > 0].min()), linscale=0.5)
        else:
            axes.set_xscale("log")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(across.min(), across.max()) if count > 1 else None)
    if y_limits is not None:
        axes.set_ylim(*y_limits)
    if x_ticks is not None:
        axes.set_xticks(across, list(x_ticks))
    axes.grid(axis="y")
    _reference(axes, reference, along_x=False, named=False)
    _name_ends(axes, lines, shade, reference or {})
    if title:
        axes.set_title(title)
    return figure, axes


def _name_ends(
    axes: Axes, lines: Mapping[str, NDArray[Any]], shade: Mapping[str, str], reference: Mapping[str, float]
) -> None:
    """Write each line's name beside its last point, moved apart where names would overlap."""
    low, high = axes.get_ylim()
    tall = _figure_of(axes).get_figheight() * DPI * axes.get_position().height
    ends: dict[str, tuple[float, Any]] = {}
    for name, y in lines.items():
        finite = y[np.isfinite(y)]
        ends[name] = (float(finite[-1]) if finite.size else low, _dark(shade[name]))
    ends |= {name: (value, FAINT) for name, value in reference.items()}
    places = _spread_out([(end - low) / (high - low) for end, _ in ends.values()], line_height(9) / tall)
    for (name, (_, colour)), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            name,
            (1.0, place),
            (8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            size=9,
            color=colour,
            annotation_clip=False,
        )
