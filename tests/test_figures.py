"""Figures: pixels against hand-computed ones, and that nothing leaks into the reader's matplotlib."""

import io
import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from cnnvis_helpers import figures

RNG = np.random.default_rng(0)
PHOTOS = RNG.random((5, 3, 8, 8)).astype(np.float32)


def pixels_of(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.encoded(figure)[1])).convert("RGB"))


# --- arrays to pixels ----------------


def test_as_uint8_reads_every_usual_form():
    red = np.zeros((2, 4, 3))
    red[..., 0] = 1
    for form in (
        red,
        np.moveaxis(red, 2, 0),
        torch.tensor(red).permute(2, 0, 1),
        (red * 255).astype(np.uint8),
    ):
        out = figures.as_uint8(form)
        assert out.shape == (2, 4, 3) and out.dtype == np.uint8
        assert (out == [255, 0, 0]).all()
    assert (figures.as_uint8(np.full((2, 2), 0.5)) == 128).all()  # grey; 127.5 rounds to even
    assert (figures.as_uint8(np.array([[-1.0, 2.0]])) == [[[0] * 3, [255] * 3]]).all()


def test_as_uint8_of_an_ambiguous_shape_follows_the_kind():
    values = np.arange(27).reshape(3, 3, 3) / 27
    assert (figures.as_uint8(values)[0, 1] == np.rint(values[0, 1] * 255)).all()
    assert (figures.as_uint8(torch.tensor(values))[0, 1] == np.rint(values[:, 0, 1] * 255)).all()


def test_as_uint8_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(5, 8, 8\)"):
        figures.as_uint8(np.zeros((5, 8, 8)))


def test_tile_places_pictures_by_hand_computed_positions():
    values = [np.full((1, 2), v / 255) for v in (10, 20, 30)]
    sheet = figures.tile(values, columns=2, gap=1, scale=2)
    assert sheet.shape == (2 * 2 + 1, 2 * 4 + 1, 3)
    assert (sheet[:2, :4] == 10).all() and (sheet[:2, 5:] == 20).all() and (sheet[3:, :4] == 30).all()
    assert (sheet[2] == 255).all() and (sheet[:, 4] == 255).all() and (sheet[3:, 5:] == 255).all()


def test_tile_with_two_gaps_and_errors():
    assert figures.tile([np.zeros((2, 2))] * 4, 2, gap=(3, 1)).shape == (7, 5, 3)
    with pytest.raises(ValueError, match="at least one"):
        figures.tile([])
    with pytest.raises(ValueError, match="one size"):
        figures.tile([np.zeros((2, 2)), np.zeros((3, 2))])


def test_colourise_equals_matplotlibs_own_colours():
    values = np.linspace(0, 4, 12).reshape(3, 4)
    expected = matplotlib.colormaps["magma"](np.rint(values / 4 * 255).astype(int), bytes=True)[..., :3]
    assert (figures.colourise(values) == expected).all()


def test_colourise_diverging_is_white_at_zero_and_red_above():
    blue, white, red = figures.colourise(np.array([[-1.0, 0.0, 0.5]]), diverging=True)[0].astype(int)
    assert white.min() > 240
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50
    assert (figures.colourise(torch.tensor([[float("nan"), 1.0]]))[0, 0] == 160).all()
    with pytest.raises(ValueError, match="low to a higher"):
        figures.colourise(np.ones((2, 2)), limits=(1, 1))


@pytest.mark.parametrize(
    "values, diverging, expected",
    [
        ([0, 3], False, (0, 3)),
        ([1, 3], False, (0, 3)),  # an amount's scale begins at zero
        ([-1, 3], False, (-1, 3)),
        ([-1, 3], True, (-3, 3)),
        ([0, 0], False, (0, 1)),
        ([0, 0], True, (-1, 1)),
        ([float("nan"), 2], False, (0, 2)),
        ([-4, -2], False, (-4, -2)),
    ],
)
def test_limits(values, diverging, expected):
    low, high = figures.limits_of(np.array(values, float), diverging)
    if expected == (-4, -2):
        assert low == -4 and high > low
    else:
        assert (low, high) == expected


def test_blend_keeps_the_image_where_the_heat_is_zero_and_glows_where_it_is_not():
    image = np.full((3, 8, 8), 0.5)
    heat = np.zeros((8, 8))
    heat[:4] = 2.0
    out = figures.blend(image, heat)
    assert out.shape == (8, 8, 3)
    assert np.abs(out[-1].astype(int) - round(0.62 * 128)).max() <= 3  # the map's black has 3 of blue
    assert out[0].mean() > out[-1].mean() + 60
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        figures.blend(image, np.zeros((2, 2, 2)))


def test_enlarge_crisp_makes_no_new_values():
    picture = RNG.integers(0, 255, (3, 3, 3)).astype(np.uint8)
    out = figures.enlarge(picture, (12, 9))
    assert (out == picture.repeat(4, 0).repeat(3, 1)).all()


def test_lettered_scale_and_beside_have_the_sizes_they_say():
    a, b = figures.lettered([np.zeros((10, 20))] * 2, ["1", "2"])
    assert a.shape == (10 + 17, 20, 3) and (a[:10] == 0).all()
    assert (a != b).any()
    bar = figures.colour_scale((0, 2.5), 40)
    assert bar.shape == (40, 72, 3)
    assert (bar[0, 0] == figures.colourise(np.array([[2.5]]), limits=(0, 2.5))[0, 0]).all()
    both = figures.beside([np.zeros((4, 2)), np.zeros((2, 3))], gap=1)
    assert both.shape == (4, 6, 3) and (both[2:, 3:] == 255).all() and (both[:2, 3:] == 0).all()


def test_frame_paints_the_edge_of_a_copy():
    picture = np.zeros((6, 6, 3), np.uint8)
    out = figures.frame(picture, "#FF0000", 2)
    assert (out[:2] == [255, 0, 0]).all() and (out[2:4, 2:4] == 0).all() and (picture == 0).all()


def test_boxed_draws_boxes_where_they_are_and_cuts_what_hangs_over():
    out = figures.boxed(np.zeros((8, 8, 3), np.uint8), [(2, 4, 6, 12)], 2, ["#FF0000"], width=1)
    expected = np.zeros((16, 16, 3), np.uint8)
    expected[4:12, 8:16] = [255, 0, 0]
    expected[5:11, 9:15] = 255
    expected[6:10, 10:14] = 0
    assert (out == expected).all()
    picture = np.full((4, 4, 3), 7, np.uint8)
    assert (figures.boxed(picture, []) == 7).all()
    assert (figures.boxed(picture, [(-5, -5, -1, 2)]) == 7).all() and (picture == 7).all()


# --- figures ----------------


def example():
    maps = {c: np.zeros((8, 8), np.uint8) for c in ("scene", "object", "colour")}
    maps["object"][2:5] = 1
    maps["colour"][:4] = 1
    return SimpleNamespace(image=np.full((8, 8, 3), 90, np.uint8), maps=maps, instance=maps["object"] > 0)


NAMES = {"scene": ["sea"], "object": ["", "boat"], "colour": ["blue", "red"]}
DRAW = {
    "image_grid": lambda **k: figures.image_grid(PHOTOS, list("abcde"), rows=None, **k),
    "filter_grid": lambda **k: figures.filter_grid(PHOTOS.transpose(0, 2, 3, 1), numbers=np.arange(5.0), **k),
    "grey_grid": lambda **k: figures.grey_grid(PHOTOS[:, 0] - 0.5, **k),
    "activation_grid": lambda **k: figures.activation_grid(PHOTOS[:, 0], **k),
    "overlay": lambda **k: figures.overlay(PHOTOS[0], PHOTOS[:3, 0, :4, :4], **k),
    "bars": lambda **k: figures.bars([1, 2], ["a", "b"], reference={"chance": 0.5}, **k),
    "curves": lambda **k: figures.curves([0, 1, 2], {"a": [1, 2, 3], "b": [1, 2, 3]}, **k),
    "scatter": lambda **k: figures.scatter(PHOTOS[:, 0, :2, 0], [0, 1, 1, 0, 1], ["a", "b"], **k),
}


@pytest.mark.parametrize("name", DRAW)
def test_every_figure_takes_axes_title_and_caption(name):
    before = dict(matplotlib.rcParams)
    figure, axes = DRAW[name](title="A title", caption="A caption that says what is to be seen. " * 4)
    assert isinstance(figure, Figure) and axes in figure.axes
    alone = pixels_of(figure)
    width = figure.get_size_inches()[0] * figure.dpi
    assert 400 <= width <= 920 and alone.shape[1] == pytest.approx(width, abs=1)
    assert alone.std() > 5
    inside, both = figures.panels(1, 2, height=300)
    result, given = DRAW[name](axes=both[0])
    assert result is inside and given is both[0]
    pixels_of(inside)
    assert dict(matplotlib.rcParams) == before


def test_no_figure_is_left_with_pyplot():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    for draw in DRAW.values():
        draw()
    assert plt.get_fignums() == before


def test_filter_pixels_are_equal_crisp_squares():
    filters = RNG.random((1, 4, 4, 3)).astype(np.float32)
    figure, _ = figures.filter_grid(filters, largest=40)
    seen = pixels_of(figure)[8:48, 4:44]  # below the top margin of 8, right of the left margin of 4
    expected = figures.as_uint8(filters[0]).repeat(10, 0).repeat(10, 1)
    assert np.abs(seen.astype(int) - expected).max() <= 6  # a palette may move a colour a little


def test_activation_grid_has_one_common_scale():
    activation = np.zeros((2, 4, 4))
    activation[0], activation[1] = 1.0, 4.0
    figure, _ = figures.activation_grid(activation, largest=40, numbered=False)
    seen = pixels_of(figure)
    expected = figures.colourise(np.array([[1.0, 4.0]]), limits=(0, 4))[0]
    assert np.abs(seen[20, 20].astype(int) - expected[0]).max() <= 6
    assert np.abs(seen[20, 64].astype(int) - expected[1]).max() <= 6
    assert [a.get_ylabel() for a in figure.axes if a.get_ylabel()] == ["activation"]


def test_marked_pictures_are_framed():
    _figure, axes = figures.filter_grid(np.zeros((3, 4, 4, 3)), marked=[False, True, False])
    assert len(axes.patches) == 1
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        figures.filter_grid(np.zeros((3, 4, 4, 3)), marked=[True])


def test_grey_grid_lays_out_one_filter_a_row():
    _, axes = figures.grey_grid(np.ones((2, 5, 3, 3)), rows=["filter 0", "filter 1"])
    assert {"filter 0", "filter 1"} <= {t.get_text() for t in axes.texts}


def test_label_maps_name_what_is_there():
    _, axes = figures.label_maps(example(), NAMES, caption="Labels.")
    written = [t.get_text() for t in axes.texts]
    assert {"image", "scene", "object", "colour", "main object", "sea", "boat", "blue", "red"} <= set(written)
    with pytest.raises(ValueError, match="label 1"):
        figures.label_maps(example(), {**NAMES, "object": [""]})


def test_bars_write_values_and_refuse_wrong_shapes():
    _, axes = figures.bars([[0.25, -0.5], [1, 2]], ["a", "b"], groups=["x", "y"], errors=[[0.1, 0.1]] * 2)
    assert {"0.25", "−0.5", "1", "2"} <= {t.get_text() for t in axes.texts}
    assert [bar.get_width() for bar in axes.patches] == [0.25, -0.5, 1, 2]
    with pytest.raises(ValueError, match="2 labels"):
        figures.bars([1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="group names"):
        figures.bars([1, 2], ["a", "b"], groups=["x", "y"])
    with pytest.raises(ValueError, match="errors"):
        figures.bars([1, 2], ["a", "b"], errors=[1, 2, 3])


@pytest.mark.parametrize("errors", [[0.1, 0.2], [[0.1, 0.2], [0.3, 0.4]]])
def test_bars_of_one_group_take_symmetric_and_two_sided_errors(errors):
    _, axes = figures.bars([1.0, 2.0], ["a", "b"], errors=errors)
    ends = axes.collections[0].get_segments()
    above = errors if np.ndim(errors) == 1 else errors[1]
    assert [segment[:, 0].max() for segment in ends] == pytest.approx([1 + above[0], 2 + above[1]])


def test_curves_name_the_lines_at_their_ends_without_overlap():
    figure, axes = figures.curves(
        [0, 10, 100], {"first": [0, 1, 1.0], "second": [0, 1, 1.01]}, log_x=True, reference={"chance": 0.99}
    )
    names = [t for t in axes.texts if t.get_text() in ("first", "second", "chance")]
    assert len(names) == 3
    figure.canvas.draw()
    spans = sorted((t.get_window_extent().y0, t.get_window_extent().y1) for t in names)
    assert all(low[1] <= high[0] + 2 for low, high in itertools.pairwise(spans))
    with pytest.raises(ValueError, match="'b'"):
        figures.curves([0, 1], {"a": [1, 2], "b": [1]})


def test_column_heads_take_no_room_between_the_rows():
    heads = ["a", "b", "", "", "", ""]
    high = [
        pixels_of(figures.image_grid(PHOTOS[[0] * 6], t, 2)[0]).shape[0] for t in (None, heads, ["a"] * 6)
    ]
    assert 10 < high[1] - high[0] == pytest.approx((high[2] - high[0]) / 3, abs=1)


def test_curve_with_one_point_and_gaps():
    figure, _ = figures.curves([3], {"a": [1.0]})
    pixels_of(figure)
    figure, _ = figures.curves(None, {"a": [1.0, np.nan]}, x_ticks=["conv1", "conv2"])
    pixels_of(figure)


def test_scatter_names_each_kind_above_its_points():
    points = np.array([[0, 0], [2, 0], [0, 4], [10, 10]])
    _, axes = figures.scatter(points, [1, 1, 1, 0], ["far", "near", "absent"])
    assert {t.get_text(): t.xy for t in axes.texts} == {"near": (0, pytest.approx(2.4)), "far": (10, 10)}
    assert len(axes.get_xticks()) == 0
    colours = [tuple(dots.get_facecolor()[0, :3]) for dots in axes.collections]
    assert len(set(colours)) == 2 and [len(dots.get_offsets()) for dots in axes.collections] == [1, 3]
    _, axes = figures.scatter(points, [1, 1, 1, 0], ["far", "near"], named=False, x_label="component 1")
    assert not axes.texts and len(axes.get_xticks()) and axes.get_xlabel() == "component 1"


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.image_grid([]),
        lambda: figures.image_grid(PHOTOS, ["one"]),
        lambda: figures.filter_grid(PHOTOS),
        lambda: figures.grey_grid(np.zeros((2, 2))),
        lambda: figures.activation_grid(PHOTOS),
        lambda: figures.activation_grid(PHOTOS[:, 0], channels=[9]),
        lambda: figures.overlay(PHOTOS[:2], PHOTOS[:3, 0]),
        lambda: figures.curves([1], {}),
        lambda: figures.scatter(np.zeros((3, 3)), [0, 0, 0], ["a"]),
        lambda: figures.scatter(np.zeros((3, 2)), [0, 0, 1], ["a"]),
    ],
)
def test_wrong_arguments_get_one_sentence(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 20


# --- on the page ----------------


def test_show_gives_alt_text_and_a_sentence_and_closes(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **kwargs: shown.append((data, kwargs)))
    drawn = figures.bars([1, 2], ["a", "b"])
    figures.show(drawn, "Bar b is twice as long as bar a.")
    (data, kwargs), *more = shown
    assert not more and kwargs["raw"]
    assert data["text/plain"] == "Bar b is twice as long as bar a."
    assert kwargs["metadata"]["image/png"]["alt"] == data["text/plain"]
    assert Image.open(io.BytesIO(data["image/png"])).size[0] == pytest.approx(900, abs=1)
    assert drawn[0].axes == []
    with pytest.raises(ValueError, match="alt is empty"):
        figures.show(figures.bars([1], ["a"]), " ")


def test_a_palette_is_used_where_it_cannot_be_seen_and_jpeg_where_png_is_large():
    smooth = np.linspace(0, 1, 200)[None, :, None] * np.ones((200, 1, 3))
    figure, _ = figures.image_grid([smooth] * 6)
    kind, content = figures.encoded(figure)
    assert kind == "image/png" and len(content) < 40_000
    noise = RNG.random((6, 3, 100, 100))
    figure, _ = figures.image_grid(noise)
    (png, large), (jpeg, small) = figures.encoded(figure, most_bytes=10**7), figures.encoded(figure, 10_000)
    assert (png, jpeg) == ("image/png", "image/jpeg") and len(small) < len(large) / 2
    exact, lossy = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int) for data in (large, small))
    assert exact.shape == lossy.shape and abs(exact.mean() - lossy.mean()) < 2
