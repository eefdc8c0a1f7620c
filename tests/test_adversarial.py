"""Attacks, against hand-computed linear models and captum; bounds, searches, transfer and fooling noise."""

from functools import partial

import pytest
import torch
from captum.robust import FGSM, PGD
from torch import nn
from torch.nn import functional

from cnnvis_helpers import adversarial


def centred(images: torch.Tensor) -> torch.Tensor:
    return (images - 0.45) / 0.25


def same(images: torch.Tensor) -> torch.Tensor:
    return images


@pytest.fixture
def model() -> nn.Module:
    """A small ConvNet with random weights, partly in training mode and partly frozen, as a reader's may be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.MaxPool2d(3),
            nn.Flatten(), nn.Linear(8 * 16, 5),
        )  # fmt: skip
    net[0].weight.requires_grad_(False)
    net[-1].weight.data.mul_(3)
    return net


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 14, 14, generator=torch.Generator().manual_seed(1))


def linear(*rows: list[float]) -> nn.Module:
    """Logits w · x of images (N, 3, 1, 1), a row of weights for each class."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, len(rows), bias=False))
    net[1].weight.data = torch.tensor(rows)
    return net


def pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


TWO = ([2.0, -1.0, 0.0], [-1.0, 1.0, 0.0])  # the difference of the classes is (3, −2, 0)


def test_fgsm_of_a_linear_model_is_as_computed_by_hand():
    net = linear(*TWO)
    x = pixel(0.5, 0.25, 0.75)  # logits 0.75 and −0.25: class 0
    # The loss of class 0 grows along w₁ − w₀ = (−3, 2, 0); what does not matter stays.
    step = adversarial.fgsm(net, x, 0.125, 0, normalise=same)
    assert step.flatten().tolist() == [0.375, 0.375, 0.75]
    assert torch.equal(
        adversarial.fgsm(net, x, 0.125, normalise=same), step
    )  # the class that the model gives
    assert torch.equal(adversarial.fgsm(net, x, 0.125, 0, target_class=1, normalise=same), step)
    back = adversarial.fgsm(net, x, 0.125, target_class=0, normalise=same)
    assert back.flatten().tolist() == [0.625, 0.125, 0.75]
    cut = adversarial.fgsm(net, x, 0.5, 0, normalise=same)
    assert cut.flatten().tolist() == [0.0, 0.75, 0.75]
    # ε is in the image's range, not in that of the normalised input.
    assert torch.equal(adversarial.fgsm(net, x, 0.125, 0, normalise=centred), step)


def test_smallest_epsilon_of_a_linear_model_is_the_margin_over_the_one_norm():
    net = linear(*TWO)
    x = torch.cat([pixel(0.5, 0.25, 0.75), pixel(0.5, 0.5, 0.1), pixel(0.2, 0.9, 0.5), pixel(1.0, 0.0, 0.0)])
    # Margins 3 x₁ − 2 x₂: 1, 0.5, −1.2 and 3, over 3 + 2.
    found = adversarial.smallest_epsilon(net, x, 0, normalise=same, most=0.5, halvings=12)
    assert found.epsilon[:2].tolist() == pytest.approx([0.2, 0.1], abs=0.5 / 2**12)
    assert (found.epsilon[:2] > torch.tensor([0.2, 0.1]) - 1e-6).all()
    assert found.epsilon[2] == 0 and torch.equal(found.images[2], x[2])  # it is of class 1 already
    assert found.epsilon[3] == torch.inf and torch.equal(found.images[3], x[3])  # 0.6 would be needed
    fooled = adversarial.is_fooled(net, found.images, 0, normalise=same)
    assert fooled.tolist() == [True, True, True, False]
    change = (found.images - x).abs().amax((1, 2, 3))
    assert torch.allclose(change[:2], found.epsilon[:2])
    rates = adversarial.success_curve(
        net, x[[0, 1, 3]], [0.0, 0.09, 0.11, 0.19, 0.21, 0.7], 0, normalise=same
    )
    assert rates.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    with_wrong = adversarial.success_curve(net, x, [0.11], 0, normalise=same)
    assert with_wrong.item() == pytest.approx(1 / 3)  # what is wrong before the attack is not counted


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")  # captum's own
@pytest.mark.parametrize("targeted", [False, True])
def test_attacks_agree_with_captum(model, images, targeted):
    model.eval()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    wanted = {"target_class": labels} if targeted else {"labels": labels}

    def run(x):
        return model(centred(x))

    loss = partial(functional.cross_entropy, reduction="none")
    one, many = FGSM(run, loss, 0, 1), PGD(run, loss, 0, 1)
    one.zero_thresh = many.fgsm.zero_thresh = 0  # captum takes small gradients for none
    theirs = one.perturb(images, 0.03, labels, targeted=targeted)
    ours = adversarial.fgsm(model, images, 0.03, **wanted, normalise=centred)
    assert torch.allclose(ours, theirs, atol=1e-6) and not torch.allclose(ours, images, atol=0.01)
    theirs = many.perturb(images, 0.03, 0.01, 6, labels, targeted=targeted)
    ours = adversarial.pgd(
        model, images, 0.03, **wanted, normalise=centred, steps=6, rate=0.01, random_start=False
    )
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_nothing_leaves_the_bound_or_the_range(model, images):
    images = images.round(decimals=1)  # with many exact zeros and ones
    radius = torch.tensor([0.0, 0.01, 0.05, 0.2, 0.5, 1.0])
    for attack in (adversarial.fgsm, adversarial.pgd, partial(adversarial.pgd, steps=3, rate=0.7)):
        changed = attack(model, images, radius, normalise=centred)
        assert (changed >= 0).all() and (changed <= 1).all()
        reach = (changed - images).abs().amax((1, 2, 3))
        assert (reach <= radius + 1e-6).all()
        assert torch.equal(changed[0], images[0])
        assert (reach[1:3] > 0.9 * radius[1:3]).all()  # and the bound is used


def test_pgd_begins_with_fgsm_and_goes_further(model, images):
    one = adversarial.pgd(model, images, 0.03, normalise=centred, steps=1, rate=0.03, random_start=False)
    single = adversarial.fgsm(model, images, 0.03, normalise=centred)
    assert torch.equal(one, single)
    model.eval()
    labels = model(centred(images)).argmax(1)
    losses = [
        functional.cross_entropy(model(centred(x)), labels).item()
        for x in (images, single, adversarial.pgd(model, images, 0.03, normalise=centred, steps=20))
    ]
    assert losses[0] < losses[1] < losses[2]
    # The start is random, and repeatable.
    a = [adversarial.pgd(model, images, 0.03, normalise=centred, steps=1, rate=1e-9) for _ in range(2)]
    assert torch.equal(a[0], a[1]) and (a[0] - images).abs().mean() == pytest.approx(0.015, rel=0.1)
    other = torch.Generator().manual_seed(5)
    b = adversarial.pgd(model, images, 0.03, normalise=centred, steps=1, rate=1e-9, generator=other)
    assert not torch.equal(a[0], b)


def test_the_batch_size_does_not_matter_and_the_model_is_left_as_it_was(model, images):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    asked = images.clone().requires_grad_()
    state = torch.random.get_rng_state()
    for attack in (adversarial.fgsm, adversarial.pgd):
        whole = attack(model, asked, 0.03, normalise=centred)
        parts = attack(model, asked, 0.03, normalise=centred, batch=4)
        assert torch.allclose(whole, parts, atol=1e-6)
        assert not whole.requires_grad
    found = [adversarial.fool(model, [0, 3, 3], normalise=centred, size=14, batch=b).images for b in (1, 64)]
    assert torch.allclose(*found, atol=1e-4)
    with pytest.raises(ValueError, match="no class 9"):
        adversarial.pgd(model, images, 0.03, 9, normalise=centred)
    assert torch.equal(asked, images) and asked.grad is None
    assert model.training and all(module.training for module in model)
    assert not model[0].weight.requires_grad and model[-1].weight.requires_grad
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model[-1].weight.grad is None and torch.equal(torch.random.get_rng_state(), state)


def test_a_first_layer_that_works_in_place_changes_no_image(model, images):
    kept = images.clone()
    net = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), model)
    changed = adversarial.fgsm(net, images, 0.03, normalise=same)
    assert torch.equal(images, kept) and torch.equal(
        changed, adversarial.fgsm(model, images, 0.03, normalise=same)
    )
    adversarial.is_fooled(nn.Sequential(nn.Threshold(2, 0, inplace=True), model), images, 0, normalise=same)
    assert torch.equal(images, kept)


def test_transfer_is_between_every_two_models():
    net, turned, blind = linear(*TWO), linear(*TWO), linear([0.0, 0.0, 1.0], [0.0, 0.0, -1.0])
    turned[1].weight.data *= 7
    x = torch.cat([pixel(0.5, 0.25, 0.75), pixel(0.5, 0.5, 0.1), pixel(0.2, 0.9, 0.5)])
    ways = [same, same, lambda images: images - 0.05]
    table = adversarial.transfer([net, turned, blind], x, 0.15, 0, normalise=ways)
    # Right in all three are the first two, of which 0.15 fools the second; `blind` looks at another colour, and its
    # own attack of 0.15 turns the second alone.
    assert table.tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.5]]
    assert torch.equal(adversarial.transfer([net], x, 0.15, 0, normalise=[same]), table[:1, :1])
    with pytest.raises(ValueError, match="No image is right"):
        adversarial.transfer([net, blind], x[2:], 0.1, 0, normalise=same)
    with pytest.raises(ValueError, match="Each of 2 models"):
        adversarial.transfer([net, blind], x, 0.1, 0, normalise=[same])


def test_a_target_counts_as_success_only_when_it_is_reached():
    net = linear([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    x = torch.cat([pixel(0.6, 0.5, 0.2), pixel(0.1, 0.5, 0.9)])
    assert adversarial.is_fooled(net, x, 0, normalise=same).tolist() == [False, True]
    assert adversarial.is_fooled(net, x, 0, normalise=same, target_class=2).tolist() == [False, True]
    rates = adversarial.success_curve(net, x, [0.1, 0.25], normalise=same, target_class=2)
    assert rates.tolist() == [0, 1]  # the second is class 2 already; towards it the margin 0.4 falls by 2 ε
    to_any = adversarial.success_curve(net, x[:1], [0.06], normalise=same)
    assert to_any.tolist() == [1]


def test_noise_becomes_any_class_and_stops_when_it_is_sure(model):
    steps = list(adversarial.fool_steps(model, range(5), normalise=centred, size=14, steps=200))
    last = steps[-1]
    assert (last.confidence >= 0.99).all() and len(steps) == last.steps.max() < 200
    model.eval()
    given = model(centred(last.images)).softmax(1)
    assert torch.allclose(given.diagonal(), last.confidence, atol=1e-5)
    assert (last.images >= 0).all() and (last.images <= 1).all()
    early = int(last.steps.argmin())
    assert torch.equal(steps[last.steps[early] - 1].images[early], last.images[early])
    # One step has the size that it should: the rate is the mean change.
    start = torch.full((5, 3, 14, 14), 0.5)
    first = next(adversarial.fool_steps(model, range(5), normalise=centred, size=14, start=start, rate=0.01))
    assert (first.images - start).abs().mean((1, 2, 3)).tolist() == pytest.approx([0.01] * 5, rel=1e-3)
    best = adversarial.fool(model, range(5), normalise=centred, size=14, steps=200)
    assert torch.equal(best.images, last.images)
    # An image that is sure from the start takes no step.
    again = adversarial.fool(model, range(5), normalise=centred, size=14, start=last.images)
    assert again.steps.tolist() == [0] * 5 and torch.equal(again.images, last.images)


BAD = [
    ({"epsilon": -0.1}, "share of the colour range, from 0 to 1, such as 4 / 255, not -0.1"),
    ({"epsilon": 4.0}, "such as 4 / 255, not 4"),
    ({"epsilon": float("nan")}, "such as 4 / 255, not nan"),
    ({"epsilon": torch.ones(2)}, "one for each of 6 images"),
    ({"labels": 5}, "no class 5: the model has 5"),
    ({"labels": [0, 1]}, "one for each of 6 images"),
    ({"target_class": -1}, "no class -1"),
    ({"images": torch.full((6, 3, 14, 14), float("nan"))}, "NaN"),
    ({"images": torch.full((6, 3, 14, 14), 2.0)}, "from 0 to 1"),
    ({"images": torch.zeros(3, 14, 14)}, r"batch \(N, 3, H, W\)"),
    ({"images": torch.zeros(0, 3, 14, 14)}, "at least one pixel"),
    ({"batch": 0}, "batch is 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
@pytest.mark.parametrize("attack", [adversarial.fgsm, adversarial.pgd])
def test_bad_input_gets_one_sentence(model, images, attack, change, message):
    call = {"images": images, "epsilon": 0.1, "normalise": centred} | change
    with pytest.raises(ValueError, match=message):
        attack(model, call.pop("images"), call.pop("epsilon"), **call)


class Tupled(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x,)


class Constant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 2)


def test_models_that_cannot_be_attacked_are_named(model, images):
    with pytest.raises(ValueError, match="a tuple, not a tensor of logits"):
        adversarial.fgsm(Tupled(), images, 0.1, normalise=same)
    with pytest.raises(ValueError, match="do not depend on the image"):
        adversarial.fgsm(Constant(), images, 0.1, normalise=same)
    model[-1].bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        adversarial.fgsm(model, images, 0.1, normalise=same)
    with pytest.raises(ValueError, match="No image is left to fool"):
        adversarial.success_curve(linear(*TWO), pixel(0.2, 0.9, 0.5), [0.1], 0, normalise=same)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps 0"),
        ({"rate": 0.0}, "rate 0.0"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"classes": []}, "one class for each image"),
        ({"classes": 3}, "one class for each image"),
        ({"classes": [0, 7]}, "no class 7"),
        ({"start": torch.zeros(1, 3, 14, 14)}, "The start is images"),
    ],
)
def test_fooling_complains_at_the_call(model, change, message):
    call = {"classes": [0, 1], "normalise": centred, "size": 14} | change
    with pytest.raises(ValueError, match=message):
        adversarial.fool_steps(model, call.pop("classes"), **call)


def test_settings_of_searches_are_checked(model, images):
    with pytest.raises(ValueError, match="One step at least"):
        adversarial.pgd(model, images, 0.1, normalise=same, steps=0)
    with pytest.raises(ValueError, match="give one of them"):
        adversarial.is_fooled(model, images, None, normalise=same)
    with pytest.raises(ValueError, match="halving"):
        adversarial.smallest_epsilon(model, images, normalise=same, halvings=0)
