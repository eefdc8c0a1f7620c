"""Inversion: penalties and errors by hand, linear models that can be inverted exactly, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import inversion
from cnnvis_helpers.hooks import LayerError, activations
from cnnvis_helpers.images import ImageError
from cnnvis_helpers.inversion import Cut, code_error, distances, invert, invert_steps, variation

FREE = {"smooth": 0.0, "extremes": 0.0}


def identity(x: Tensor) -> Tensor:
    return x


def pictures(count: int = 2, size: int = 12, seed: int = 0) -> Tensor:
    """Smooth pictures in [0.2, 0.8]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * nn.functional.interpolate(coarse, (size, size), mode="bilinear")


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


# --- measures ----------------


def test_variation_by_hand() -> None:
    """Rows (0, 0.3) and (0.4, 0.4): down 0.4, 0.1 over right 0.3 and 0; 0.1 costs the same for every exponent."""
    image = torch.tensor([[[[0.0, 0.3], [0.4, 0.4]]]])
    assert variation(image).item() == pytest.approx((0.16 + 0.09 + 0.01) / 4)
    assert variation(image, 1.0).item() == pytest.approx((0.5 + 0.1) * 0.1 / 4, rel=0.01)
    ramp = torch.arange(5.0).expand(1, 3, 5, 5) / 10
    for beta in (1.0, 1.5, 2.0):
        assert variation(ramp, beta).item() == pytest.approx(0.01 * 4 / 5, rel=0.02)
    both = torch.cat([ramp, torch.full_like(ramp, 0.7)])
    assert variation(both)[1] == 0, "neither batch nor channels are differenced"
    flat = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    assert torch.autograd.grad(variation(flat, 1.0).sum(), flat)[0].isfinite().all()


def test_code_error_by_hand() -> None:
    target = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert code_error(target, target).tolist() == [0, 0]
    assert code_error(torch.zeros(2, 2), target).tolist() == [1, 1]
    assert code_error(torch.tensor([[3.0, 9.0], [1.0, 3.0]]), target).tolist() == [1, 9]


def test_distances_by_hand_and_against_corrcoef() -> None:
    truth = pictures(3)
    images = torch.stack([truth, (truth - 0.5) * 0.5 + 0.6, 1 - truth], dim=1)  # (N, 3 starts, 3, H, W)
    squared = distances(images, truth)
    assert squared.shape == (3, 3, 3)
    assert squared[:, 0].diagonal().tolist() == [0, 0, 0]
    assert squared[0, 2, 1].item() == pytest.approx((1 - truth[0] - truth[1]).square().mean().item())
    correlation = distances(images, truth, "correlation")
    # Another contrast and brightness is forgiven, a negative is not.
    assert torch.allclose(
        correlation[[0, 1, 2], :, [0, 1, 2]], torch.tensor([1.0, 1, -1]).expand(3, 3), atol=1e-5
    )
    expected = torch.corrcoef(torch.stack([images[1, 0].flatten(), truth[2].flatten()]))[0, 1]
    assert correlation[1, 0, 2].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("images", "truth", "error", "said"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), ValueError, "starts"),
        (torch.zeros(2, 1, 3, 4, 4), torch.zeros(2, 3, 5, 5), ValueError, "same size"),
        (torch.zeros(2, 1, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0), ImageError, "0 to 1"),
        (torch.full((2, 1, 3, 4, 4), torch.nan), torch.zeros(2, 3, 4, 4), ImageError, "NaN"),
    ],
)
def test_distances_refuses(images: Tensor, truth: Tensor, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        distances(images, truth)
    with pytest.raises(ValueError, match="'squared' or 'correlation'"):
        distances(torch.zeros(1, 1, 3, 2, 2), torch.zeros(1, 3, 2, 2), "mse")  # type: ignore[arg-type]


# --- the model cut off ----------------


class Shared(nn.Module):
    """One ReLU used twice, the second time by the layer's own last call; then a layer that wants one size."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.idle, self.fc = nn.ReLU(), nn.ReLU(), nn.Linear(75, 2)
        self.after = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.relu(x) - 1)
        self.after += 1
        return self.fc(x.flatten(1))


def test_cut_gives_the_last_output_and_runs_nothing_behind_it() -> None:
    model, x = Shared(), torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 3
    cut = Cut(model, "relu")
    expected = (x.relu() - 1).relu()
    assert torch.equal(cut(x), expected) and torch.equal(activations(model, x, "relu")["relu"], expected)
    before = model.after
    cut(x)
    assert model.after == before, "what comes after the layer must not run"
    large = torch.ones(1, 3, 9, 9)
    assert Cut(model, "relu")(large).shape == (1, 3, 9, 9), "the layer after it takes 5 × 5 pixels alone"
    assert not model.relu._forward_hooks


def test_cut_lets_gradients_through_and_leaves_its_input() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))
    x = torch.tensor([-1.0, 2.0, -3.0]).view(1, 3, 1, 1).requires_grad_()
    Cut(model, "0")(x).sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [0, 1, 0]
    assert x.flatten().tolist() == [-1, 2, -3]


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.text, self.broken = Pair(), Text(), Broken()

    def forward(self, x: Tensor) -> Tensor:
        self.text(x)
        return self.broken(self.pair(x)["kept"])


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"kept": x + 1, "other": x}


class Text(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "no tensor"


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("broken")


def test_cut_speaks_of_layers_it_cannot_use() -> None:
    x = torch.zeros(1, 3, 5, 5)
    assert torch.equal(Cut(Several(), "pair")(x), x + 1), "of several outputs the first"
    with pytest.raises(LayerError, match="no layer 'relus'"):
        Cut(Shared(), "relus")
    with pytest.raises(LayerError, match="does not run"):
        Cut(Shared(), "idle")(x)
    with pytest.raises(LayerError, match="gives no tensor"):
        Cut(Several(), "text")(x)
    with pytest.raises(LayerError, match="does not get as far"):
        Cut(Several(), "broken")(x)
    with pytest.raises(LayerError, match=r"'fc' with images \(3, 6, 6\)"):
        Cut(Shared(), "fc")(torch.zeros(1, 3, 6, 6))


# --- inversion ----------------


@pytest.mark.parametrize("basis", ["fourier", "pixels"])
def test_an_invertible_layer_gives_the_image_back(basis: inversion.Basis) -> None:
    truth, model = pictures(), nn.Sequential(nn.Conv2d(3, 9, 3, padding=1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(9, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    code = activations(model, truth, "0")["0"]
    result = invert(model, "0", code, normalise=identity, size=12, steps=300, rate=0.05, basis=basis, **FREE)
    error = distances(result.images, truth)[:, 0]
    assert error.diagonal().max() < 1e-4 and result.code_error.max() < 1e-4
    assert error[0, 1] > 100 * error[0, 0], "another picture is not what came back"


def test_what_a_layer_discards_does_not_come_back() -> None:
    """Of a layer that sees the mean colour alone, the mean colour comes back and the pattern does not."""
    truth, model = pictures(3), nn.Sequential(nn.AdaptiveAvgPool2d(1))
    code = activations(model, truth, "0")["0"]
    result = invert(model, "0", code, normalise=identity, size=12, steps=150)
    assert result.code_error.max() < 1e-3
    assert (result.images[:, 0].mean((2, 3)) - truth.mean((2, 3))).abs().max() < 0.02
    assert result.images[:, 0].std((2, 3)).max() < 0.2 * truth.std((2, 3)).min()


def test_smoothness_and_extremes_do_what_they_say() -> None:
    truth, model = pictures(1), network()
    code = activations(model, truth, "5")["5"]
    settings = {"normalise": identity, "size": 12, "steps": 60}
    rough, plain = (
        invert(model, "5", code, smooth=weight, **settings).images[:, 0] for weight in (0.01, 10.0)
    )
    assert variation(plain) < 0.2 * variation(rough)
    wild, tame = (
        invert(model, "5", code, extremes=weight, smooth=0.0, **settings).images for weight in (0.0, 10.0)
    )
    assert (tame - 0.5).abs().max() < (wild - 0.5).abs().max()


def test_steps_are_the_film_of_the_plain_function_and_batches_change_nothing() -> None:
    model, truth = network(), pictures(3)
    code = activations(model, truth, "5")["5"]
    settings = {"normalise": identity, "size": 12, "steps": 5, "starts": 2}
    film = list(invert_steps(model, "5", code, **settings))
    assert [frame.step for frame in film] == [0, 1, 2, 3, 4, 5]
    assert film[0].images.shape == (3, 2, 3, 12, 12) and film[0].code_error.shape == (3, 2)
    assert not torch.equal(film[0].images, film[1].images), "a frame is a copy"
    for batch in (1, 4):
        last = invert(model, "5", code, batch=batch, **settings)
        assert torch.allclose(last.images, film[-1].images, atol=1e-4)
    last = film[-1]
    assert not torch.equal(last.images[:, 0], last.images[:, 1]), "several starts, several inverses"
    assert last.images.min() >= 0 and last.images.max() <= 1 and not last.images.requires_grad
    # The errors are those of the images, and of code n with images n.
    for start in range(2):
        again = code_error(activations(model, last.images[:, start], "5")["5"], code)
        assert torch.allclose(again, last.code_error[:, start], atol=1e-4)


def test_it_repeats_and_the_model_is_left_as_it_was() -> None:
    model, truth = network().train(), pictures()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    code = activations(model, truth, "5")["5"]
    settings = {"normalise": identity, "size": 12, "steps": 3}
    state = torch.get_rng_state()
    one, two = (invert(model, "5", code, **settings).images for _ in range(2))
    other = invert(model, "5", code, generator=torch.Generator().manual_seed(1), **settings).images
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    untouched(model, before)


def untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_interrupted_run_leaves_the_model_as_it_was() -> None:
    model = network().train()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    code, calls = activations(model, pictures(), "5")["5"], 0

    def interrupted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        invert(model, "5", code, normalise=interrupted, size=12)
    untouched(model, before)
    frames = invert_steps(model, "5", code, normalise=identity, size=12)
    next(frames)
    untouched(model, before)  # between two frames


GOOD = torch.rand(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "code", "settings", "said"),
    [
        ("9", GOOD, {}, "no layer '9'"),
        ("5", GOOD, {"steps": 0}, "0 steps"),
        ("5", GOOD, {"starts": 0}, "0 starts"),
        ("5", GOOD, {"size": 0}, "size 0"),
        ("5", GOOD, {"batch": 0}, "batch 0"),
        ("5", GOOD, {"rate": 0}, "rate 0"),
        ("5", GOOD, {"smooth": (1.0, 0.0)}, "ends above 0"),
        ("5", GOOD, {"extremes": -1.0}, "extremes -1"),
        ("5", GOOD, {"basis": "wavelets"}, "'fourier' or 'pixels'"),
        ("5", GOOD.long(), {}, "finite floats"),
        ("5", GOOD[:0], {}, "one image at least"),
        ("5", GOOD * torch.nan, {}, "finite floats"),
        ("5", torch.cat([GOOD[:1], 0 * GOOD[1:]]), {}, "image 1 is all zeros"),
    ],
)
def test_refused_at_the_call(layer: str, code: Tensor, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        invert_steps(network(), layer, code, **{"normalise": identity, "size": 12} | settings)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 4)


@pytest.mark.parametrize(
    ("model", "layer", "code", "normalise", "said"),
    [
        (network(), "5", GOOD[:, :, :4], identity, r"shape \(8, 4, 5\), but layer '5' gives \(8, 5, 5\)"),
        (network(), "5", GOOD, lambda x: x * torch.nan, "not finite"),
        (nn.Sequential(Constant()), "0", torch.ones(1, 4), identity, "does not depend on the image"),
    ],
)
def test_refused_at_the_first_step(
    model: nn.Module, layer: str, code: Tensor, normalise: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        invert(model, layer, code, normalise=normalise, size=12)  # type: ignore[arg-type]
