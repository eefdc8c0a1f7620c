"""DeepDream: objectives against autograd and a slow loop, octaves and steps by hand, and what is refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.dreams import dream, dream_steps, excitement, resemblance
from cnnvis_helpers.hooks import LayerError
from cnnvis_helpers.images import ImageError

PLAIN = {"octaves": 1, "blur": 0.0, "jitter": 0}


def identity(x: Tensor) -> Tensor:
    return x


def pictures(count: int = 2, height: int = 24, width: int = 30, seed: int = 0) -> Tensor:
    """Smooth pictures in [0.3, 0.7]."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.4 * functional.interpolate(coarse, (height, width), mode="bilinear")


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


# --- what is raised ----------------


def test_the_gradient_of_excitement_is_the_activation() -> None:
    activation = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(torch.autograd.grad(excitement(activation).sum(), activation)[0], activation)
    some = torch.autograd.grad(excitement(activation, [3, 1]).sum(), activation)[0]
    assert torch.equal(some[:, [1, 3]], activation[:, [1, 3]]) and not some[:, [0, 2]].any()
    assert torch.equal(excitement(activation, 2), excitement(activation, [2]))
    assert excitement(torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1)).tolist() == [7]


def test_resemblance_against_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    activation = torch.randn(2, 4, 3, 5, generator=generator, requires_grad=True)
    guide = torch.randn(1, 4, 2, 2, generator=generator)
    total, expected = torch.zeros(2), torch.zeros(2, 4, 3, 5)
    for n in range(2):
        for y in range(3):
            for x in range(5):
                matches = {
                    (v, u): (activation[n, :, y, x] @ guide[0, :, v, u]).item()
                    for v in range(2)
                    for u in range(2)
                }
                best = max(matches, key=matches.__getitem__)
                total[n] += matches[best]
                expected[n, :, y, x] = guide[0, :, best[0], best[1]]
    score = resemblance(activation, guide)
    assert torch.allclose(score, total, atol=1e-5)
    assert torch.allclose(torch.autograd.grad(score.sum(), activation)[0], expected)


def test_objectives_refuse_what_is_no_map() -> None:
    with pytest.raises(LayerError, match="gives a map"):
        excitement(torch.ones(2, 7))
    with pytest.raises(ValueError, match="channels 0 to 3"):
        excitement(torch.ones(1, 4, 2, 2), [0, 4])
    with pytest.raises(ValueError, match="channels 0 to 3"):
        excitement(torch.ones(1, 4, 2, 2), -1)
    with pytest.raises(ValueError, match="one or several"):
        excitement(torch.ones(1, 4, 2, 2), [])
    with pytest.raises(LayerError, match="guide is one map"):
        resemblance(torch.ones(1, 4, 2, 2), torch.ones(1, 5, 2, 2))
    with pytest.raises(LayerError, match="guide is one map"):
        resemblance(torch.ones(1, 4, 2, 2), torch.ones(2, 4, 2, 2))


# --- dreaming ----------------


def test_one_plain_step_by_hand() -> None:
    """A layer that gives a · x has the gradient a² x; over its mean absolute value, that is x / mean(x)."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(2 * torch.eye(3)[:, :, None, None])
    x = pictures()
    result = dream(model, "0", x, normalise=identity, steps=1, rate=0.01, **PLAIN)
    assert torch.allclose(result, x + 0.01 * x / x.mean((1, 2, 3), keepdim=True), atol=1e-6)
    only = dream(model, "0", x, normalise=identity, steps=1, rate=0.01, channels=1, **PLAIN)
    assert torch.equal(only[:, [0, 2]], x[:, [0, 2]]) and (only[:, 1] > x[:, 1]).all()


def test_a_shift_of_the_same_pixels_does_not_move_the_dream() -> None:
    """Where every pixel is seen alone, jitter must cancel out exactly."""
    model, x = nn.Sequential(nn.Conv2d(3, 5, 1)), pictures()
    still, moved = (
        dream(model, "0", x, normalise=identity, octaves=1, blur=0, jitter=jitter, steps=4)
        for jitter in (0, 7)
    )
    assert torch.allclose(still, moved, atol=1e-6)


def test_octaves_by_a_slow_loop() -> None:
    """Two sizes: what the dream adds to the small picture is enlarged and put onto the large one."""
    model, x = network().eval(), pictures(1)
    large, small = x, functional.interpolate(x, (12, 15), mode="bilinear", antialias=True)
    added = torch.zeros(1, 3, 1, 1)
    for sharp in (small, large):
        added = functional.interpolate(added, sharp.shape[2:], mode="bilinear")
        image = (sharp + added).requires_grad_()
        f = model[:6](image)
        (gradient,) = torch.autograd.grad((f * f.detach()).sum(), image)  # the activation as its own gradient
        added = (image.detach() + 0.02 * gradient / gradient.abs().mean()).clamp(0, 1) - sharp
    result = dream(
        model, "5", x, normalise=identity, octaves=2, scale=2, steps=1, rate=0.02, blur=0, jitter=0
    )
    assert torch.allclose(result, large + added, atol=1e-5)


def test_the_layer_is_excited_and_the_guide_is_approached() -> None:
    model, x, guide = network().eval(), pictures(), pictures(1, 20, 20, seed=5)[0]
    settings = {"normalise": identity, "octaves": 2, "steps": 8, "rate": 0.02}
    with torch.no_grad():
        result = dream(model, "5", x, **settings)
        assert (excitement(model[:6](result)) > 1.2 * excitement(model[:6](x))).all()
        guided = dream(model, "5", x, guide=guide, **settings)
        known = model[:6](guide[None])
        assert (resemblance(model[:6](guided), known) > 1.1 * resemblance(model[:6](x), known)).all()
    assert not torch.allclose(result, guided)


def test_film_and_batches() -> None:
    """Frames all have the full size, the last is the dream, and a picture dreams alone as in company."""
    model, x = network().eval(), pictures(3)
    settings = {"normalise": identity, "octaves": 3, "steps": 2}
    film = list(dream_steps(model, "5", x, **settings))
    assert len(film) == 6 and {tuple(frame.shape) for frame in film} == {(3, 3, 24, 30)}
    assert not torch.equal(film[-1], film[-2])
    assert all(frame.min() >= 0 and frame.max() <= 1 and not frame.requires_grad for frame in film)
    for batch in (1, 2):
        assert torch.allclose(dream(model, "5", x, batch=batch, **settings), film[-1], atol=1e-4)
    assert torch.allclose(dream(model, "5", x[1:2], **settings), film[-1][1:2], atol=1e-4)


def test_blur_takes_away_checks() -> None:
    """A stride of 2 sees every other pixel alone; a blurred gradient reaches those between."""
    model, x = nn.Sequential(nn.Conv2d(3, 4, 1, stride=2, bias=False)), pictures(1)
    changes = {
        blur: dream(model, "0", x, normalise=identity, octaves=1, steps=1, jitter=0, blur=blur) - x
        for blur in (0.0, 1.0)
    }
    assert (changes[0.0][:, :, 1::2] == 0).all() and changes[0.0][:, :, ::2, ::2].abs().min() > 0
    assert changes[1.0].abs().min() > 0


def untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_it_repeats_and_nothing_is_changed() -> None:
    model, x = network().train(), pictures()
    model[0].weight.requires_grad_(False)
    before, original = {name: value.clone() for name, value in model.state_dict().items()}, x.clone()
    settings = {"normalise": identity, "octaves": 2, "steps": 2}
    state = torch.get_rng_state()
    one, two = (dream(model, "5", x, **settings) for _ in range(2))
    other = dream(model, "5", x, generator=torch.Generator().manual_seed(1), **settings)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(x, original)
    untouched(model, before)
    assert torch.equal(one, dream(model.eval(), "5", x, **settings)), "evaluation mode in either case"


def test_an_interrupted_dream_leaves_the_model_as_it_was() -> None:
    model, calls = network().train(), 0
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def interrupted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        dream(model, "5", pictures(), normalise=interrupted)
    untouched(model, before)
    next(dream_steps(model, "5", pictures(), normalise=identity))
    untouched(model, before)


@pytest.mark.parametrize(
    ("layer", "x", "settings", "said"),
    [
        ("9", pictures(), {}, "no layer '9'"),
        ("5", pictures() + 1, {}, "0 to 1"),
        ("5", pictures() * torch.nan, {}, "NaN"),
        ("5", pictures()[:0], {}, "at least one pixel"),
        ("5", pictures()[0], {}, r"pass picture\[None\]"),
        ("5", pictures(), {"steps": 0}, "steps 0"),
        ("5", pictures(), {"octaves": 0}, "octaves 0"),
        ("5", pictures(), {"scale": 1.0}, "scale 1.0"),
        ("5", pictures(), {"rate": 0.0}, "rate 0.0"),
        ("5", pictures(), {"blur": -1.0}, "blur -1.0"),
        ("5", pictures(), {"jitter": -1}, "jitter -1"),
        ("5", pictures(), {"batch": 0}, "batch 0"),
        ("5", pictures(), {"guide": pictures(), "channels": None}, "one picture"),
        ("5", pictures(), {"guide": pictures()[0] + 1}, "0 to 1"),
        ("5", pictures(), {"guide": pictures()[0], "channels": 1}, "not both"),
    ],
)
def test_refused_at_the_call(layer: str, x: Tensor, settings: dict[str, object], said: str) -> None:
    with pytest.raises((ValueError, ImageError), match=said):
        dream_steps(network(), layer, x, **{"normalise": identity} | settings)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 4, 2, 2)


class Dead(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x - 2)


@pytest.mark.parametrize(
    ("model", "layer", "settings", "error", "said"),
    [
        (network(), "6", {}, LayerError, "gives a map"),
        (network(), "7", {}, LayerError, "does not get as far as layer '7'"),
        (network(), "5", {"channels": 8}, ValueError, "channels 0 to 7"),
        (network(), "5", {"octaves": 7, "scale": 3}, LayerError, r"with images \(3, 1, 1\)"),
        (network(), "5", {"normalise": lambda x: x / 0}, ValueError, "not finite"),
        (nn.Sequential(Constant()), "0", {}, ValueError, "do not depend on the picture"),
        (nn.Sequential(Dead()), "0", {"steps": 1}, ValueError, "answers to picture 0"),
    ],
)
def test_refused_on_the_way(
    model: nn.Module, layer: str, settings: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        dream(model, layer, pictures(), **{"normalise": identity} | settings)  # type: ignore[arg-type]
