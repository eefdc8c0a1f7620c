"""Style: Gram matrices and losses by hand, textures of models whose answer is known, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import style
from cnnvis_helpers.codes import codes, probe
from cnnvis_helpers.hooks import LayerError, activations
from cnnvis_helpers.images import ImageError
from cnnvis_helpers.inversion import variation
from cnnvis_helpers.style import (
    INPUT,
    content_loss,
    gram,
    grams,
    layer_codes,
    style_loss,
    synthesise_texture,
    texture_steps,
    transfer,
    transfer_steps,
)

LAYERS = ["2", "5"]


def identity(x: Tensor) -> Tensor:
    return x


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 2, size: int = 16, seed: int = 0) -> Tensor:
    """Smooth pictures in [0.2, 0.8]."""
    return 0.2 + 0.6 * nn.functional.interpolate(
        noise(count, 3, 4, 4, seed=seed), (size, size), mode="bilinear"
    )


def network(seed: int = 0) -> nn.Sequential:
    """In-place ReLUs, dropout, batch norm, and a fully connected layer that wants 12 × 12 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(12, 8, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(200, 4),
        )


# --- Gram matrices ----------------


def test_gram_by_hand() -> None:
    """Channels (1, 2, 0, 3) and (0, 1, 1, −1) over four places: products 14, −1, 3, each over 4."""
    maps = torch.tensor([[[[1.0, 2], [0, 3]], [[0, 1], [1, -1]]]])
    assert gram(maps).tolist() == [[[3.5, -0.25], [-0.25, 0.75]]]
    assert gram(torch.cat([2 * maps, maps]))[0].tolist() == [[14, -1], [-1, 3]], (
        "quadratic, and image by image"
    )


def test_gram_against_a_slow_loop() -> None:
    maps = noise(2, 5, 4, 3)
    slow = torch.zeros(2, 5, 5)
    for n in range(2):
        for a in range(5):
            for b in range(5):
                slow[n, a, b] = (
                    sum(maps[n, a, i, j] * maps[n, b, i, j] for i in range(4) for j in range(3)) / 12
                )
    assert torch.allclose(gram(maps), slow, atol=1e-6)
    # Gatys et al. (2016): E = Σ (F Fᵀ − F̂ F̂ᵀ)² / (4 C² P²). Relative to the target, the numbers cancel.
    other = noise(2, 5, 4, 3, seed=1)
    unscaled = [maps.flatten(2) @ maps.flatten(2).mT, other.flatten(2) @ other.flatten(2).mT]
    paper = [
        ((a - b) ** 2).sum((1, 2)) / (4 * 25 * 144) for a, b in (unscaled, (torch.zeros(1), unscaled[1]))
    ]
    assert torch.allclose(style_loss({"a": gram(maps)}, {"a": gram(other)}), paper[0] / paper[1], rtol=1e-4)


def test_a_gram_matrix_forgets_places_and_size_and_nothing_else() -> None:
    maps = noise(1, 4, 6, 6)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1))
    moved = maps.flatten(2)[:, :, order].view_as(maps)
    assert torch.allclose(gram(moved), gram(maps), atol=1e-6)
    assert torch.allclose(gram(maps.tile(1, 1, 2, 3)), gram(maps), atol=1e-6)
    alone = maps.clone()
    alone[:, 0] = alone[:, 0].flip(1)  # one channel moved against the others keeps all means
    assert torch.allclose(gram(alone).diagonal(dim1=1, dim2=2), gram(maps).diagonal(dim1=1, dim2=2))
    assert (gram(alone) - gram(maps)).abs().max() > 0.01
    assert torch.linalg.eigvalsh(gram(maps)).min() > -1e-6


@pytest.mark.parametrize("maps", [torch.zeros(3, 4, 4), torch.zeros(2, 5), torch.zeros(0, 3, 2, 2)])
def test_gram_refuses(maps: Tensor) -> None:
    with pytest.raises(ValueError, match=r"maps \(N, C, H, W\)"):
        gram(maps)


def test_grams_are_those_of_the_layers_and_any_size_passes() -> None:
    model, x = network(), pictures(3, 12)
    seen = activations(model, x, LAYERS)
    # The order in which layers are named does not matter to the pass that must end behind the last of them.
    for order in (LAYERS, LAYERS[::-1]):
        found = grams(model, x, [*order, INPUT])
        assert list(found) == [*order, INPUT]
        assert all(torch.allclose(found[name], gram(seen[name]), atol=1e-6) for name in LAYERS)
    colours = found[INPUT]
    assert torch.allclose(colours[:, 3, :3], x.mean((2, 3)), atol=1e-6) and torch.allclose(
        colours[:, 3, 3], torch.ones(3)
    )
    assert torch.allclose(colours[:, 0, 1], (x[:, 0] * x[:, 1]).mean((1, 2)), atol=1e-6)
    large = pictures(1, 31)
    assert grams(model, large, LAYERS)["5"].shape == (1, 8, 8), "the fully connected layer must not run"
    assert grams(nn.Identity(), large, [INPUT])[INPUT].shape == (1, 4, 4)


class Shared(nn.Module):
    """One ReLU used before and after another layer, and a last layer that wants one size."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.twice, self.fc = nn.ReLU(), nn.Identity(), nn.Linear(75, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.twice(2 * self.relu(x)) - 1).flatten(1))


def test_a_layer_that_runs_twice_counts_with_its_last_output() -> None:
    x = noise(1, 3, 9, 9)
    for order in (["relu", "twice"], ["twice", "relu"]):
        found = grams(Shared(), x, order)
        assert torch.allclose(found["relu"], gram((2 * x - 1).relu()), atol=1e-6)
        assert torch.allclose(found["twice"], gram(2 * x), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "layers", "error", "said"),
    [
        (pictures(), ["9"], LayerError, "no layer '9'"),
        (pictures(), [], ValueError, "At least one layer"),
        (pictures(2, 12), ["6"], LayerError, "no maps"),
        (pictures(2, 13), ["7"], LayerError, "does not get as far"),
        (pictures() * torch.nan, LAYERS, ValueError, "Finite images"),
        (pictures()[:0], LAYERS, ValueError, "one at least"),
        (pictures()[0], LAYERS, ValueError, "Finite images"),
    ],
)
def test_grams_refuses(x: Tensor, layers: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        grams(network(), x, layers)


# --- losses ----------------


def test_style_loss_by_hand() -> None:
    """Layer a: (1 + 4 + 4 + 1) / 20 = ½; layer b: (3 − 1)² / 1 = 4."""
    target = {"a": torch.tensor([[[4.0, 0], [0, 2]]]), "b": torch.ones(1, 1, 1)}
    reached = {
        "a": torch.tensor([[[5.0, 2], [2, 1]]]),
        "b": torch.full((1, 1, 1), 3.0),
        "c": torch.ones(1, 1, 1),
    }
    assert style_loss(reached, target).tolist() == [2.25]
    assert style_loss(reached, target, {"a": 3, "b": 1}).tolist() == [(1.5 + 4) / 4]
    assert style_loss(reached, target, {"a": 1, "b": 0}).tolist() == [0.5]
    assert style_loss(target, target).tolist() == [0]
    assert style_loss({name: 0 * value for name, value in target.items()}, target).tolist() == [1]


def test_content_loss_by_hand() -> None:
    maps = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    assert content_loss(maps, maps).tolist() == [0]
    assert content_loss(maps.flip(3), maps).item() == pytest.approx(2 / 25), "places count"


@pytest.mark.parametrize(
    ("reached", "weights", "said"),
    [
        ({"b": torch.ones(1, 2, 2)}, None, "same layers"),
        ({"a": torch.ones(1, 2, 2)}, {"b": 1.0}, "same layers"),
        ({"a": torch.ones(1, 2, 2)}, {"a": 0.0}, "not all 0"),
        ({"a": torch.ones(1, 2, 2)}, {"a": -1.0}, "0 or more"),
        ({"a": torch.ones(1, 3, 3)}, None, "cannot be compared"),
    ],
)
def test_style_loss_refuses(reached: dict[str, Tensor], weights: dict[str, float] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        style_loss(reached, {"a": torch.ones(1, 2, 2)}, weights)
    with pytest.raises(ValueError, match="does not answer"):
        style_loss({"a": torch.ones(1, 2, 2)}, {"a": torch.zeros(1, 2, 2)})


# --- textures ----------------


def test_a_texture_has_the_gram_matrices_and_not_the_places() -> None:
    image = pictures(1, 16)[0]
    every = list(texture_steps(network(), image, LAYERS, normalise=identity, steps=20))
    first, last = every[0], every[-1]
    assert last.loss < first.loss / 100
    # What is reported is what the images have.
    found, wanted = (grams(network(), x, LAYERS) for x in (last.images, image[None]))
    assert torch.allclose(style_loss(found, wanted), last.loss, rtol=1e-3)
    for name in LAYERS:
        assert torch.allclose(
            style_loss({name: found[name]}, {name: wanted[name]}), last.style[name], rtol=1e-3
        )
    assert (last.images[0] - image).abs().mean() > 0.05, "another picture with the same statistics"
    assert last.content.tolist() == [0]


def test_the_input_alone_gives_the_colours() -> None:
    """Of the colours' means and products alone, the means and spreads come back and the pattern does not."""
    image = pictures(1, 16)[0]
    result = synthesise_texture(
        nn.Identity(), image, [INPUT], normalise=lambda x: 4 * x - 2, size=(10, 20), steps=10
    )
    assert result.images.shape == (1, 3, 10, 20)
    assert torch.allclose(result.images[0].mean((1, 2)), image.mean((1, 2)), atol=1e-3)
    assert torch.allclose(
        result.images[0].flatten(1).cov(correction=0), image.flatten(1).cov(correction=0), atol=1e-3
    )


def test_weights_and_smoothness_do_what_they_say() -> None:
    image = pictures(1, 16)[0]
    settings: dict[str, Any] = {"normalise": identity, "steps": 6}
    one, other = (
        synthesise_texture(network(), image, LAYERS, weights={"2": w, "5": 1 - w}, **settings).style
        for w in (0.999, 0.001)
    )
    assert one["2"] < other["2"] and one["5"] > other["5"]
    rough, plain = (
        synthesise_texture(network(), image, LAYERS, smooth=w, **settings).images for w in (0.0, 100.0)
    )
    assert variation(plain) < 0.2 * variation(rough)


def test_companions_do_not_matter_and_seeds_do() -> None:
    images, model = pictures(2), network()
    settings: dict[str, Any] = {"normalise": identity, "steps": 4}
    both = synthesise_texture(model, images, LAYERS, **settings)
    # One after the other from one generator, the starts are the same.
    generator = torch.Generator().manual_seed(0)
    alone = [synthesise_texture(model, i, LAYERS, generator=generator, **settings) for i in images]
    assert torch.equal(both.images, torch.cat([one.images for one in alone]))
    assert both.loss.tolist() == [one.loss.item() for one in alone]
    four = synthesise_texture(model, images[0].expand(4, -1, -1, -1), LAYERS, **settings).images
    assert four.shape == (4, 3, 16, 16) and not torch.equal(four[0], four[1])
    state = torch.get_rng_state()
    again = synthesise_texture(model, images, LAYERS, **settings)
    assert torch.equal(again.images, both.images) and torch.equal(state, torch.get_rng_state())


def test_steps_are_the_film_of_the_plain_function() -> None:
    image = pictures(1)[0]
    film = list(texture_steps(network(), image, LAYERS, normalise=identity, steps=3, size=14))
    assert [frame.step for frame in film] == [0, 1, 2, 3]
    assert film[0].images.shape == (1, 3, 14, 14) and (film[0].images - 0.5).abs().max() < 0.04
    last = synthesise_texture(network(), image, LAYERS, normalise=identity, steps=3, size=14)
    assert torch.equal(film[-1].images, last.images)
    assert [frame.loss.item() for frame in film] == sorted(
        (frame.loss.item() for frame in film), reverse=True
    )
    assert not last.images.requires_grad and last.images.min() >= 0 and last.images.max() <= 1


# --- transfer ----------------


def test_transfer_stands_between_content_and_style() -> None:
    content, painting, model = pictures(1, 16), pictures(1, 20, seed=3), network()
    settings: dict[str, Any] = {"normalise": identity, "steps": 10}
    weak, strong = (
        transfer(model, content, painting, LAYERS, "5", strength=strength, **settings)
        for strength in (0.01, 100.0)
    )
    assert weak.images.shape == (1, 3, 16, 16)
    assert weak.content < strong.content and sum(strong.style.values()) < sum(weak.style.values())
    assert weak.content < 0.01, "with little style the content stays"
    first = next(transfer_steps(model, content, painting, LAYERS, "5", normalise=identity))
    assert torch.allclose(first.images, content, atol=1e-4) and first.content < 1e-4
    expected = first.content + 4 * style_loss(*(grams(model, x, LAYERS) for x in (content, painting)))
    assert torch.allclose(first.loss, expected, rtol=1e-3)
    fresh = transfer(model, content, painting, LAYERS, "5", start="noise", strength=0.01, **settings)
    assert fresh.content < 0.1, "from noise the content comes back"


def test_transfer_pairs_pictures() -> None:
    content, painting = pictures(2), pictures(2, seed=5)
    settings: dict[str, Any] = {"normalise": identity, "steps": 1}
    both = transfer(network(), content, painting, LAYERS, "5", **settings).images
    one = transfer(network(), content, painting[1], LAYERS, "5", **settings).images
    assert one.shape == (2, 3, 16, 16) and torch.equal(one[1], both[1]) and not torch.equal(one[0], both[0])
    with pytest.raises(ValueError, match="do not make pairs"):
        transfer(network(), content, pictures(3), LAYERS, "5", **settings)


# --- left as it was, and refused ----------------


def untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_model_is_left_as_it_was_also_when_interrupted() -> None:
    model, image = network().train(), pictures(1)
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frames = texture_steps(model, image, LAYERS, normalise=identity)
    untouched(model, before)
    next(frames)
    next(frames)
    untouched(model, before)  # between two frames
    calls = 0

    def interrupted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        transfer(model, image, image, LAYERS, "5", normalise=interrupted)
    untouched(model, before)
    assert torch.equal(image, pictures(1))


IMAGE = pictures(1)


@pytest.mark.parametrize(
    ("image", "layers", "settings", "error", "said"),
    [
        (IMAGE, ["9"], {}, LayerError, "no layer '9'"),
        (IMAGE, [], {}, ValueError, "At least one layer"),
        (pictures(1, 12), ["6"], {}, LayerError, "no maps"),
        (IMAGE, LAYERS, {"steps": 0}, ValueError, "At least one step"),
        (IMAGE, LAYERS, {"size": 0}, ValueError, "one pixel"),
        (IMAGE, LAYERS, {"smooth": -1.0}, ValueError, "smooth"),
        (IMAGE, LAYERS, {"smooth": torch.nan}, ValueError, "smooth"),
        (IMAGE, LAYERS, {"weights": {"2": 1.0}}, ValueError, "same layers"),
        (IMAGE, LAYERS, {"weights": {"2": 0.0, "5": 0.0}}, ValueError, "not all 0"),
        (IMAGE * torch.nan, LAYERS, {}, ImageError, "NaN"),
        (IMAGE * 255, LAYERS, {}, ImageError, "0 to 1"),
        (IMAGE[:0], LAYERS, {}, ImageError, "at least one pixel"),
        (IMAGE, ["5"], {"normalise": lambda x: 0 * x}, ValueError, "does not answer"),
    ],
)
def test_refused_at_the_call(
    image: Tensor, layers: list[str], settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    model = network()
    if "normalise" in settings:
        model[4].bias.data.fill_(-50)  # dead
    with pytest.raises(error, match=said):
        texture_steps(model, image, layers, **{"normalise": identity} | settings)


@pytest.mark.parametrize(
    ("settings", "said"), [({"strength": 0.0}, "not 0.0"), ({"start": "zero"}, "'zero'")]
)
def test_transfer_refuses(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        transfer_steps(network(), IMAGE, IMAGE, LAYERS, "5", normalise=identity, **settings)
    with pytest.raises(LayerError, match="no layer 'x'"):
        transfer_steps(network(), IMAGE, IMAGE, LAYERS, "x", normalise=identity)


def test_a_loss_that_is_no_number_is_refused() -> None:
    calls = 0

    def broken(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x if calls == 1 else x * torch.nan

    with pytest.raises(ValueError, match="not finite"):
        synthesise_texture(network(), IMAGE, LAYERS, normalise=broken)


# --- codes ----------------


def test_layer_codes_are_the_maps_with_and_without_places() -> None:
    model, x = network(), pictures(5, 12)
    maps = activations(model, x, "5")["5"]
    assert torch.allclose(
        layer_codes(model, x, "5", "mean", batch=2), codes(model, x, "5", pool="mean"), atol=1e-6
    )
    places = layer_codes(model, x, "5", "places", batch=2)
    assert torch.allclose(places, codes(model, x, "5", pool="flatten"), atol=1e-6)
    pairs = layer_codes(model, x, "5", "gram", batch=2)
    assert pairs.shape == (5, 36)
    assert torch.allclose(pairs[:, :8], gram(maps)[:, 0], atol=1e-6), "the first row comes first"
    assert torch.allclose(pairs[:, -1], gram(maps)[:, 7, 7], atol=1e-6)
    shuffled = layer_codes(model, x, "5", "shuffled", batch=2)
    assert shuffled.shape == places.shape and not torch.allclose(shuffled, places)
    # The channels of a place stay together: the Gram matrix of shuffled maps is the same.
    assert torch.allclose(gram(shuffled.view_as(maps)), gram(maps), atol=1e-6)
    assert not torch.equal(
        shuffled, layer_codes(model, x, "5", "shuffled", generator=torch.Generator().manual_seed(1))
    )
    assert torch.allclose(shuffled, layer_codes(model, x, "5", "shuffled", batch=5), atol=1e-6), (
        "batches change nothing"
    )
    coarse = layer_codes(model, x, "5", "places", grid=1)
    assert torch.allclose(coarse, layer_codes(model, x, "5", "mean"), atol=1e-6)


def test_what_and_where_are_told_apart() -> None:
    """A spot that is red or green, left or right: Gram matrices know the colour alone, places know both."""
    random = torch.Generator().manual_seed(0)
    colour, side = (torch.randint(0, 2, (80,), generator=random) for _ in range(2))
    images = 0.02 * torch.rand(80, 3, 8, 8, generator=random)
    for n in range(80):
        images[n, colour[n], 3:5, 1 + 4 * side[n] : 3 + 4 * side[n]] += 1
    model = nn.Sequential(nn.Identity())
    score = {
        (kind, what): probe(layer_codes(model, images, "0", kind, grid=4), labels)
        for kind in ("mean", "gram", "places", "shuffled")
        for what, labels in (("colour", colour), ("side", side))
    }
    assert min(score[kind, "colour"] for kind in ("mean", "gram", "places")) == 1
    assert score["places", "side"] == 1
    assert max(score[kind, "side"] for kind in ("mean", "gram", "shuffled")) < 0.7


@pytest.mark.parametrize(
    ("layer", "kind", "settings", "said"),
    [
        ("5", "max", {}, "'gram'"),
        ("5", "places", {"grid": 0}, "grid is 0"),
        ("9", "gram", {}, "no layer '9'"),
        ("6", "gram", {}, "no maps"),
    ],
)
def test_layer_codes_refuses(layer: str, kind: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        layer_codes(network(), pictures(2, 12), layer, kind, **settings)
    with pytest.raises(ValueError, match="NaN or infinite"):
        layer_codes(nn.Sequential(nn.Conv2d(3, 2, 1, bias=False)).apply(_infinite), pictures(), "0", "mean")


def _infinite(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.constant_(module.weight, torch.inf)


def test_names_in_the_docstring_exist() -> None:
    assert style.__doc__ and all(hasattr(style, name) for name in ("Styled", "gram", "layer_codes", "INPUT"))
