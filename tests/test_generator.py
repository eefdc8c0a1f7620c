"""Decoders and the ascent through them: losses by hand, steps recomputed one by one, what is kept and refused."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import generator, networks, weight_files, zoo
from cnnvis_helpers.generator import Decoder, ascend, ascent_steps, perceptual_loss, squared_loss
from cnnvis_helpers.hooks import LayerError, activations
from cnnvis_helpers.objectives import channel, each, logit, unit
from cnnvis_helpers.weight_files import WeightsError

sys.path.insert(0, str(Path(__file__).parent.parent / "data_scripts"))

import train_decoder
from training_data import Images


def identity(x: Tensor) -> Tensor:
    return x


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def decoder() -> Decoder:
    """Small, with batch statistics that are not those of its start, and one dead unit."""
    decoder = Decoder(6, size=32, width=16, seed=3)
    codes = draws(40, 6)
    codes[:, 5] = 0
    decoder.set_codes(codes)
    with torch.no_grad():
        decoder.train()(codes)
    return decoder.eval()


@pytest.fixture
def model() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, stride=2),
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(5 * 15 * 15, 4),
        )


# --- the decoder ----------------


@pytest.mark.parametrize(("units", "size", "width"), [(3, 32, 16), (256, 96, 128), (7, 48, 32)])
def test_images_have_the_size_asked_for(units: int, size: int, width: int) -> None:
    decoder = Decoder(units, size=size, width=width).eval()
    images = decoder(draws(2, units))
    assert images.shape == (2, 3, size, size)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0


def test_at_its_own_sizes_it_is_as_small_as_promised() -> None:
    numbers = sum(p.numel() for p in Decoder().parameters())
    assert 880_000 < numbers < 900_000 and sum(p.numel() for p in Decoder(384).parameters()) < 1_250_000


def test_weights_come_from_the_seed_alone() -> None:
    state = torch.get_rng_state()
    one, again, other = (Decoder(6, size=32, width=16, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["linear.0.weight"], other["linear.0.weight"])


def test_every_unit_reaches_the_image_and_images_do_not_mix(decoder: Decoder) -> None:
    codes = draws(3, 6, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(decoder(codes)[1].sum(), codes)
    assert gradient[1].all() and not gradient[[0, 2]].any()
    assert torch.allclose(decoder(codes)[1:2], decoder(codes[1:2]), atol=1e-6)


def test_range_of_the_codes_by_hand() -> None:
    decoder = Decoder(3, size=32, width=16)
    decoder.set_codes(torch.tensor([[0.0, 2.0, 0.0], [4.0, 2.0, 0.0]]))
    root8 = 8**0.5  # std of 0 and 4 around 2, by n - 1
    assert decoder.mean.tolist() == [2, 2, 0] and decoder.std.tolist() == pytest.approx([root8, 0, 0])
    assert decoder.scale().item() == pytest.approx((8 / 3) ** 0.5)
    clipped = decoder.clip(torch.tensor([[-1.0, 5.0, 1.0], [99.0, 1.0, -1.0]]))
    assert torch.allclose(clipped, torch.tensor([[0.0, 2, 0], [2 + 3 * root8, 1, 0]]))
    assert decoder.clip(torch.full((1, 3), 99.0), 1.0)[0, 0].item() == pytest.approx(2 + root8)
    # Only codes divided by their common scale matter: the same weights draw the same for codes ten times as large.
    big = copy.deepcopy(decoder)
    big.set_codes(torch.tensor([[0.0, 20.0, 0.0], [40.0, 20.0, 0.0]]))
    codes = draws(1, 3)
    assert torch.allclose(big.eval()(codes * 10), decoder.eval()(codes), atol=1e-5)


@pytest.mark.parametrize(
    "sizes", [{"units": 0}, {"size": 40}, {"size": 0}, {"width": 12}, {"width": 0}, {"size": -32}]
)
def test_sizes_that_do_not_fit(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="size and width multiples of 16"):
        Decoder(**sizes)


@pytest.mark.parametrize(
    "codes", [torch.zeros(2, 5), torch.zeros(6), torch.zeros(0, 6), torch.full((1, 6), torch.nan)]
)
def test_codes_that_do_not_fit(decoder: Decoder, model: nn.Module, codes: Tensor) -> None:
    for call in (
        decoder,
        decoder.set_codes,
        lambda c: ascent_steps(decoder, model, logit(0), normalise=identity, start=c),
    ):
        with pytest.raises(ValueError, match=r"Codes are \(N, 6\) finite numbers"):
            call(codes)
    with pytest.raises(ValueError, match="two images"):
        decoder.set_codes(torch.zeros(1, 6))


# --- files ----------------


def test_a_decoder_comes_back_from_its_file(decoder: Decoder, tmp_path: Path) -> None:
    facts = {"name": "x/d", "architecture": decoder.architecture, "layer": "relu6"}
    weight_files.save(tmp_path / "x/d.safetensors", decoder.state_dict(), facts)
    back, said = generator.load("x/d", tmp_path)
    codes = draws(4, 6, seed=2)
    assert not back.training and said["layer"] == "relu6"
    assert torch.allclose(back(codes), decoder(codes), atol=5e-3), "half precision, no more"
    assert torch.allclose(back.mean, decoder.mean, atol=1e-3) and torch.allclose(
        back.std, decoder.std, atol=1e-3
    )


@pytest.mark.parametrize("architecture", [None, {"units": 6, "size": 64, "width": 16}, {"layers": 3}])
def test_a_file_of_another_version_is_refused(decoder: Decoder, tmp_path: Path, architecture: Any) -> None:
    facts = {"name": "d"} | ({} if architecture is None else {"architecture": architecture})
    weight_files.save(tmp_path / "d.safetensors", decoder.state_dict(), facts)
    with pytest.raises(WeightsError, match="another version"):
        generator.load("d", tmp_path)
    with pytest.raises(WeightsError, match="missing"):
        generator.load("e", tmp_path)


# --- losses ----------------


def test_squared_loss_by_hand() -> None:
    targets = torch.zeros(2, 3, 1, 2)
    images = targets.clone()
    images[1, 0, 0, 1] = 0.6
    assert squared_loss(images, targets).tolist() == pytest.approx([0, 0.36 / 6])


class Doubler(nn.Module):
    """a: twice the image, in place afterwards; b: its first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.idle = nn.Conv2d(3, 3, 1, bias=False), nn.Identity(), nn.ReLU()
        with torch.no_grad():
            self.a.weight.copy_(2 * torch.eye(3).view(3, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)[:, :1]).mul_(0)


def test_perceptual_loss_by_hand() -> None:
    targets, model = torch.ones(2, 3, 2, 2), Doubler()
    images = targets.clone()
    images[1, 0] = 0.5
    # pixels: 0.5 in a third of the values; a: 1² of 3 · 2²; b: 1² of 2²
    loss = perceptual_loss(model, images, targets, normalise=identity, layers=["a", "b"])
    assert loss.tolist() == pytest.approx([0, 2 * 0.5 / 3 + (1 / 12 + 1 / 4) / 2])
    only = perceptual_loss(model, images, targets, normalise=identity, layers=("b",), pixels=0)
    assert only.tolist() == pytest.approx([0, 0.25])
    silent = perceptual_loss(model, images, 0 * targets, normalise=identity, layers=["a"], pixels=0)
    assert silent.isfinite().all(), "a silent target must not divide by zero"


def test_the_losses_gradient_reaches_the_images_and_leaves_the_network(model: nn.Sequential) -> None:
    model.train()
    before = copy.deepcopy(model.state_dict())
    images, targets = draws(2, 3, 32, 32).requires_grad_(), draws(2, 3, 32, 32, seed=1)
    loss = perceptual_loss(model, images, targets, normalise=identity, layers=["0", "2"], pixels=0)
    loss.sum().backward()
    assert images.grad is not None and images.grad.flatten(1).any(1).all()
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    # An image's loss is its own: no batch norm in training mode, no dropout.
    alone = perceptual_loss(model, images[:1], targets[:1], normalise=identity, layers=["0", "2"], pixels=0)
    assert torch.allclose(alone, loss[:1], rtol=1e-5)


def test_losses_refuse() -> None:
    a, model = torch.zeros(1, 3, 2, 2), Doubler()
    for images in (a[0], torch.zeros(2, 3, 2, 2), a[:0]):
        with pytest.raises(ValueError, match="Images are"):
            squared_loss(images, a[:0] if not len(images) else a)
    wanted = {"normalise": identity}
    with pytest.raises(ValueError, match="Images are"):
        perceptual_loss(model, a, torch.zeros(1, 3, 1, 1), layers=["a"], **wanted)
    for layers, pixels in (("a", 1), ([], 1), (["a"], -1), (["a"], float("nan"))):
        with pytest.raises(ValueError, match="list of layers"):
            perceptual_loss(model, a, a, layers=layers, pixels=pixels, **wanted)
    with pytest.raises(LayerError, match="no layer"):
        perceptual_loss(model, a, a, layers=["relu1"], **wanted)
    with pytest.raises(LayerError):
        perceptual_loss(model, a, a, layers=["idle"], **wanted)


# --- ascent ----------------


def test_steps_are_those_of_a_slow_and_obvious_loop(decoder: Decoder, model: nn.Sequential) -> None:
    start, rate, decay, steps = draws(3, 6, seed=5), 2.0, 0.1, 4
    film = list(
        ascent_steps(
            decoder,
            model,
            logit([0, 3, 3]),
            normalise=lambda x: x * 2 - 1,
            start=start,
            rate=rate,
            decay=decay,
            steps=steps,
        )
    )
    assert [step.number for step in film] == [0, 1, 2, 3, 4]
    model.eval()
    high = decoder.mean + 3 * decoder.std
    for row, wanted in enumerate((0, 3, 3)):  # one image at a time
        code = torch.minimum(start[row], high)
        for number in range(steps + 1):
            code = code.detach().requires_grad_()
            image = decoder(code[None])
            value = model(image * 2 - 1)[0, wanted]
            assert torch.allclose(film[number].codes[row], code, atol=1e-5)
            assert torch.allclose(film[number].images[row], image[0], atol=1e-5)
            assert film[number].values[row].item() == pytest.approx(value.item(), abs=1e-4)
            (gradient,) = torch.autograd.grad(value, code)
            length = rate * decoder.std.square().mean().sqrt() * (1 - 0.95 * number / steps)
            code = (code + length * gradient / gradient.square().sum().sqrt()) * (1 - decay)
            code = torch.minimum(code.clamp(min=0), high)


@pytest.mark.parametrize(
    "objective",
    [logit([0, 1, 2]), unit("0", [1, 2, 3], (4, 4)), channel("1", [0, 3, 4]), each([logit(1)] * 3)],
)
def test_the_objective_rises_whatever_it_is(decoder: Decoder, model: nn.Module, objective: Any) -> None:
    film = list(ascent_steps(decoder, model, objective, normalise=identity, steps=40, rate=1.0))
    assert (film[-1].values > film[0].values).all()
    codes = torch.stack([step.codes for step in film])
    assert (codes >= 0).all() and (codes <= decoder.mean + 3 * decoder.std + 1e-6).all()
    assert not codes[..., 5].any(), "a dead unit stays dead"


def test_bounds_can_be_moved_and_taken_away(decoder: Decoder, model: nn.Module) -> None:
    settings: dict[str, Any] = {"normalise": identity, "steps": 30, "rate": 8.0, "decay": 0.0}
    near, far, free = (
        ascend(decoder, model, logit([0, 1]), sigmas=s, **settings).codes for s in (0.5, 3.0, None)
    )
    assert (near <= decoder.mean + 0.5 * decoder.std + 1e-6).all()
    assert (far > decoder.mean + 0.5 * decoder.std).any()
    assert (free < 0).any() and (free > decoder.mean + 3 * decoder.std).any()


def test_another_network_can_be_climbed(decoder: Decoder) -> None:
    other = nn.Sequential(nn.AvgPool2d(32), nn.Flatten())  # classes: mean red, green, blue
    step = ascend(decoder, other, logit([0, 1, 2]), normalise=identity, steps=20)
    assert torch.allclose(step.values, step.images.mean((2, 3)).diagonal(), atol=1e-6)
    start = next(ascent_steps(decoder, other, logit([0, 1, 2]), normalise=identity))
    assert (step.values > start.values).all()


def test_noise_comes_from_the_generator_alone(decoder: Decoder, model: nn.Module) -> None:
    def first(**settings: Any) -> Tensor:
        return next(
            ascent_steps(decoder, model, logit([1, 1]), normalise=identity, sigmas=None, **settings)
        ).codes

    state = torch.get_rng_state()
    assert torch.equal(first(), first()) and not torch.equal(first()[0], first()[1])
    seeded = [first(generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert torch.equal(seeded[0], first()) and not torch.equal(seeded[1], first())
    assert torch.equal(torch.get_rng_state(), state)
    assert ((first() - decoder.mean).abs() <= 0.5 * decoder.std).all()
    assert len(ascend(decoder, model, logit(1), normalise=identity, steps=1).images) == 1
    many = ascend(decoder, model, logit(1), normalise=identity, steps=1, start=draws(4, 6))
    assert many.images.shape == (4, 3, 32, 32) and not many.images.requires_grad


class Interrupted:
    """A `normalise` that is stopped at its third call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize("normalise", [identity, Interrupted()])
def test_nothing_is_left_changed(
    decoder: Decoder, model: nn.Sequential, normalise: Callable[[Tensor], Tensor]
) -> None:
    decoder.train()
    model.train()
    decoder.colours.weight.requires_grad_(False)
    before = copy.deepcopy((decoder.state_dict(), model.state_dict()))
    start = draws(1, 6)
    kept = start.clone()
    film = ascent_steps(decoder, model, logit(2), normalise=normalise, start=start, steps=5)
    next(film)
    assert decoder.training and model.training, "between two steps they are as before"
    if isinstance(normalise, Interrupted):
        with pytest.raises(KeyboardInterrupt):
            list(film)
    else:
        list(film)
    assert torch.equal(start, kept)
    for module, tensors in zip((decoder, model), before, strict=True):
        assert all(m.training for m in module.modules()) and not any(
            m._forward_hooks for m in module.modules()
        )
        assert all(torch.equal(tensors[k], v) for k, v in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
    frozen_ones = [n for n, p in decoder.named_parameters() if not p.requires_grad]
    assert frozen_ones == ["colours.weight"]


def test_a_yielded_step_is_not_overwritten(decoder: Decoder, model: nn.Module) -> None:
    film = ascent_steps(decoder, model, logit(2), normalise=identity, steps=3)
    first = next(film)
    kept = first.codes.clone(), first.images.clone()
    first.codes.zero_()  # nor does a reader's scribbling change what comes next
    second = next(film)
    clean = list(ascent_steps(decoder, model, logit(2), normalise=identity, steps=3))
    assert torch.equal(clean[0].codes, kept[0]) and torch.equal(first.images, kept[1])
    assert torch.equal(second.codes, clean[1].codes)


class Answer(nn.Module):
    """A model that does something else than it should."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x.mean((2, 3)) * torch.nan, "not finite"),
        (lambda x: x.detach().mean((2, 3)), "does not depend"),
        (lambda x: (x.mean((2, 3)) - 2).relu(), "no gradient for image 0"),
        (lambda x: (x.mean((2, 3)), x), "tuple"),
        (lambda x: {"out": x.mean((2, 3))}, "dict"),
    ],
)
def test_models_that_cannot_be_climbed(decoder: Decoder, answer: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        ascend(decoder, Answer(answer), logit([0, 1]), normalise=identity, steps=20)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"rate": 0.0},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"decay": 1.0},
        {"decay": -0.1},
        {"sigmas": 0.0},
        {"sigmas": float("nan")},
    ],
)
def test_settings_are_refused_at_the_call(
    decoder: Decoder, model: nn.Module, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ascent_steps(decoder, model, logit(0), normalise=identity, **settings)


def test_layers_classes_and_numbers_that_are_not_there(decoder: Decoder, model: nn.Module) -> None:
    with pytest.raises(LayerError, match="no layer 'conv9'"):
        ascent_steps(decoder, model, channel("conv9", 0), normalise=identity)
    with pytest.raises(ValueError, match=r"0 to 3|4 classes|class"):
        ascend(decoder, model, logit(4), normalise=identity)
    with pytest.raises(ValueError, match="for 2 images, not for 3"):
        ascend(decoder, model, logit([0, 1]), normalise=identity, start=draws(3, 6))
    with pytest.raises(ValueError, match="for 0 images"):
        ascend(decoder, model, logit([]), normalise=identity)


# --- training ----------------


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    """40 images of one colour each, and a network with random weights that nothing must fetch."""
    colours = draws(40, 3, 1, 1) * 255
    classifier = networks.alexnet(16, widths=(8, 8, 8, 8, 8), hidden=12, seed=1).eval()
    network = zoo.Network(
        "diorama/tiny", classifier, zoo.classes_of("diorama/alexnet"), 96, (0.45,) * 3, (0.25,) * 3
    )
    monkeypatch.setattr(zoo, "load", lambda name: network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Images(colours.expand(40, 3, 96, 96).to(torch.uint8), torch.arange(40) % 16)
    torch.set_num_threads(threads)


TINY = train_decoder.Recipe("diorama/tiny", "diorama/alexnet", width=16, epochs=3, batch=10)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("loss", ["squared", "perceptual"])
def test_a_killed_training_ends_with_the_same_weights(
    tiny: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    recipe = replace(TINY, loss=loss)
    whole, history = train_decoder.train(recipe, tiny, tmp_path / "whole")
    assert len(history) == 3 and history[-1]["loss"] < history[0]["loss"]
    calls, plain = 0, train_decoder.loss_of

    def killed(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 7:  # in the second epoch
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(train_decoder, "loss_of", killed)
    with pytest.raises(KeyboardInterrupt):
        train_decoder.train(recipe, tiny, tmp_path / "killed")
    resumed, _ = train_decoder.train(recipe, tiny, tmp_path / "killed")
    assert same(whole, resumed)
    with pytest.raises(SystemExit, match="other settings"):
        train_decoder.train(replace(recipe, lr=0.1), tiny, tmp_path / "killed")


def test_an_exported_decoder_knows_what_it_is_and_what_it_gets_wrong(tiny: Images, tmp_path: Path) -> None:
    decoder, history = train_decoder.train(TINY, tiny, tmp_path / "run")
    path = train_decoder.export(TINY, decoder, history, len(tiny), tiny, tmp_path / "out")
    back, facts = generator.load("diorama/tiny", tmp_path / "out")
    assert path.is_file() and facts["network"] == "diorama/alexnet" and facts["layer"] == "relu6"
    assert facts["recipe"]["epochs"] == 3 and facts["recipe"]["images"] == 40
    held = facts["heldout"]
    x = tiny.pixels.float() / 255
    assert held["mean_image"]["squared"] == pytest.approx(x.var((0), correction=0).mean().item(), abs=1e-3)
    network = zoo.load("any")
    own = back(activations(network.model, network.normalise(x), "relu6")["relu6"])
    assert held["own"]["squared"] == pytest.approx((own - x).square().mean().item(), abs=1e-3)
    assert held["other"]["absolute"] == pytest.approx((own.roll(1, 0) - x).abs().mean().item(), abs=1e-3)
    assert held["images"] == 40 and 0 <= held["same_class"] <= 1


def test_the_command_line_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    train_decoder.main(["--list"])
    assert "diorama/decoder-perceptual" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train_decoder.main(["decoder"])
    assert "there is no recipe decoder" in capsys.readouterr().err
