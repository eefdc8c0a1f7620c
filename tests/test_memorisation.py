"""Critical samples against linear models and a slow loop; the training loop against one step by hand; the table."""

import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnvis_helpers import memorisation
from cnnvis_helpers.memorisation.training import moved

sys.path.insert(0, str(Path(__file__).parent.parent / "data_scripts"))

import memorisation_curves


def same(images: torch.Tensor) -> torch.Tensor:
    return images


def centred(images: torch.Tensor) -> torch.Tensor:
    return (images - 0.45) / 0.25


def linear(weight: torch.Tensor) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight), bias=False))
    net[1].weight.data = weight
    return net


def pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


@pytest.fixture
def model() -> nn.Module:
    """A small ConvNet with random weights, in training mode and partly frozen, as a reader's may be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.MaxPool2d(3),
            nn.Flatten(), nn.Linear(6 * 9, 5),
        )  # fmt: skip
    net[0].weight.requires_grad_(False)
    return net


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(20, 3, 11, 11, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def problem() -> memorisation.Problem:
    """Noise, of which nothing can be learned but by heart."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(60, 3, 32, 32, generator=generator)
    y = torch.arange(60) % 4
    return memorisation.Problem(
        x[:24], y[:24], y[:24].clone(), x[24:36], y[24:36], x[36:], y[36:], ("a", "b", "c", "d")
    )


# --- critical samples ---


def test_of_a_linear_model_the_critical_radius_is_the_margin_over_the_one_norm():
    net = linear(torch.tensor([[2.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]))  # the difference is (3, −2, 0)
    # Margins 3 x₁ − 2 x₂ of 1, 0.5 and −0.6 over 5: radii 0.2, 0.1 and 0.12.
    x = torch.cat([pixel(0.5, 0.25, 0.75), pixel(0.5, 0.5, 0.1), pixel(0.4, 0.9, 0.5)])
    exact = torch.tensor([0.2, 0.1, 0.12])

    def mask(radius, **settings):
        return memorisation.critical_samples(net, x, radius, normalise=same, **settings).mask.tolist()

    for settings in ({}, {"noise": 0.0}, {"noise": 1.0}, {"rate": 1.0, "noise": 0.0, "steps": 1}):
        assert mask(0.99 * exact, **settings) == [False] * 3
    assert mask(1.01 * exact, noise=0.0) == mask(1.01 * exact, rate=1.0, noise=0.0, steps=1) == [True] * 3
    assert mask(1.1 * exact) == [True] * 3  # with noise the corner of the box is hardly ever reached exactly
    assert mask(0.11, noise=0.0) == [False, True, False]
    assert mask(1.1 * exact, noise=0.0, rate=0.25, steps=3) == [False] * 3  # three quarters of the way
    # The image is near the edge of [0, 1]: x₂ can rise by 0.1 alone, and 3 r + 2 · 0.1 must make 0.7.
    edge = pixel(0.8333333, 0.9, 0.5)
    assert [
        memorisation.critical_samples(net, edge, r, normalise=same, noise=0.0).mask.item()
        for r in (0.16, 0.172)
    ] == [False, True]


def test_no_linear_model_is_critical_below_its_radius():
    generator = torch.Generator().manual_seed(3)
    x = 0.3 + 0.4 * torch.rand(200, 3, 4, 4, generator=generator)
    for classes in (2, 5):
        weight = torch.randn(classes, 48, generator=generator)
        y = x.flatten(1) @ weight.T
        own = y.argmax(1)
        margin = y.gather(1, own[:, None]) - y
        width = (weight[own][:, None] - weight).abs().sum(2)
        exact = (margin / width).masked_fill(functional.one_hot(own, classes).bool(), torch.inf).amin(1)
        assert exact.max() < 0.28  # the edge of [0, 1] is not reached
        for noise in (0.0, 0.125):
            found = memorisation.critical_samples(
                linear(weight), x, 0.999 * exact, normalise=same, noise=noise
            )
            assert not found.mask.any()
            found = memorisation.critical_samples(
                linear(weight), x, 1.1 * exact, normalise=same, noise=noise, steps=20
            )
            assert found.mask.float().mean() >= (1 if classes == 2 else 0.6)
        ratios = memorisation.critical_ratio(linear(weight), x, [0.05, 0.01, 0.02], normalise=same, noise=0.0)
        bound = [(exact < r).float().mean().item() for r in (0.05, 0.01, 0.02)]
        if classes == 2:
            assert ratios.tolist() == pytest.approx(bound, abs=1e-6) and len(set(bound)) == 3
        assert all(r <= b + 1e-6 for r, b in zip(ratios.tolist(), bound, strict=True))


def test_the_search_is_the_slow_obvious_loop(model, images):
    model.eval().double()
    x, radius, rate, noise, steps = images.double(), 0.01, 0.3, 0.2, 6
    drawn = torch.Generator().manual_seed(7)
    noises = [torch.randn(x.shape, generator=drawn).double() for _ in range(steps)]
    slow, mask = [], []
    for i in range(len(x)):
        here, found = x[i : i + 1].clone(), False
        own = model(centred(here)).argmax(1)
        for step in range(steps):
            here.requires_grad_()
            loss = functional.cross_entropy(model(centred(here)), own)  # the paper's: the same sign
            (gradient,) = torch.autograd.grad(loss, here)
            here = here.detach() + radius * (rate * gradient.sign() + noise * noises[step][i])
            for place in product(range(3), range(11), range(11)):
                low, high = x[(i, *place)] - radius, x[(i, *place)] + radius
                here[(0, *place)] = min(max(here[(0, *place)], low, 0.0), high, 1.0)
            if model(centred(here)).argmax(1) != own:
                found = True
                break
        slow.append(here)
        mask.append(found)
    found = memorisation.critical_samples(
        model, x, radius, normalise=centred, steps=steps, rate=rate, noise=noise,
        generator=torch.Generator().manual_seed(7), batch=6,
    )  # fmt: skip
    assert found.mask.tolist() == mask and 0 < sum(mask) < len(mask)
    assert torch.allclose(found.images, torch.cat(slow), atol=1e-12)


def test_a_network_that_is_sure_beyond_rounding_hides_nothing():
    weight = torch.tensor([[2.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    x = pixel(0.5, 0.25, 0.75)
    sure = linear(1e6 * weight)
    probability = sure(x).softmax(1)
    assert probability[0, 0] == 1 and probability[0, 1] == 0  # −log ŷ has no gradient here
    for scale in (1.0, 1e6):
        found = memorisation.critical_samples(linear(scale * weight), x, 0.21, normalise=same, noise=0.0)
        assert found.mask.item()


def test_neighbours_are_within_the_box_and_have_another_class(model, images):
    images = images.round(decimals=1)  # with exact zeros and ones
    found = memorisation.critical_samples(model, images, 0.02, normalise=centred)
    model.eval()
    now, before = model(centred(found.images)).argmax(1), model(centred(images)).argmax(1)
    assert torch.equal(found.mask, now != before) and found.mask.any()
    assert (found.images >= 0).all() and (found.images <= 1).all()
    assert (found.images - images).abs().max() <= 0.02 + 1e-6
    none = memorisation.critical_samples(model, images, 0.0, normalise=centred)
    assert not none.mask.any() and torch.equal(none.images, images)


def test_ratios_rise_with_the_radius_in_any_order(model, images):
    radii = [0.01, 0.0, 0.5, 0.003, 0.01]
    ratios = memorisation.critical_ratio(model, images, radii, normalise=centred)
    assert ratios[0] == ratios[4] and ratios[1] == 0 and ratios[2] == 1
    ordered = ratios[torch.tensor(radii).argsort()].tolist()
    assert all(a <= b for a, b in pairwise(ordered)) and 0 < ratios[0] < 1
    single = memorisation.critical_samples(model, images, 0.003, normalise=centred)
    alone = memorisation.critical_ratio(model, images, [0.003], normalise=centred)
    assert alone.item() == pytest.approx(single.mask.float().mean().item())
    assert memorisation.critical_ratio(model, images, [0.5, 0.9], normalise=centred).tolist() == [1, 1]


def test_nothing_of_model_input_or_chance_is_changed(model, images):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    asked, kept = images.clone().requires_grad_(), images.clone()
    state = torch.random.get_rng_state()
    whole = memorisation.critical_samples(model, asked, 0.01, normalise=centred)
    parts = memorisation.critical_samples(model, asked, 0.01, normalise=centred, batch=7)
    assert torch.equal(whole.mask, parts.mask) and torch.allclose(whole.images, parts.images, atol=1e-6)
    with pytest.raises(RuntimeError):
        memorisation.critical_samples(model, images[:, :, :5], 0.01, normalise=centred)
    assert model.training and all(module.training for module in model)
    assert not model[0].weight.requires_grad and model[-1].weight.requires_grad
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model[-1].weight.grad is None and asked.grad is None and not whole.images.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)
    in_place = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), model)
    memorisation.critical_samples(in_place, images, 0.01, normalise=same)
    assert torch.equal(asked, kept) and torch.equal(images, kept)


BAD = [
    ({"radius": -0.1}, "from 0 to 1, such as 4 / 255, not -0.1"),
    ({"radius": 4}, "such as 4 / 255, not 4"),
    ({"radius": float("nan")}, "such as 4 / 255, not nan"),
    ({"radius": torch.ones(2)}, "one for each of 20 images"),
    ({"images": torch.full((2, 3, 11, 11), float("nan"))}, "NaN"),
    ({"images": torch.full((2, 3, 11, 11), 2.0)}, "from 0 to 1"),
    ({"images": torch.zeros(3, 11, 11)}, r"batch \(N, 3, H, W\)"),
    ({"images": torch.zeros(0, 3, 11, 11)}, "at least one pixel"),
    ({"batch": 0}, "batch is 0"),
    ({"steps": 0}, "steps 0"),
    ({"rate": 0.0}, "rate 0.0"),
    ({"rate": float("nan")}, "rate nan"),
    ({"noise": -1.0}, "noise -1.0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_gets_one_sentence(model, images, change, message):
    call = {"images": images, "radius": 0.1, "normalise": centred} | change
    with pytest.raises(ValueError, match=message):
        memorisation.critical_samples(model, call.pop("images"), call.pop("radius"), **call)


class Constant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 2)


class Tupled(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x,)


def test_models_that_cannot_be_searched_are_named(model, images):
    def search(net):
        memorisation.critical_samples(net, images, 0.1, normalise=same)

    with pytest.raises(ValueError, match="a tuple, not a tensor of logits"):
        search(Tupled())
    with pytest.raises(ValueError, match="do not depend on the image"):
        search(Constant())
    with pytest.raises(ValueError, match="no other class"):
        search(nn.Sequential(nn.Flatten(), nn.Linear(363, 1)))
    model[-1].bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        search(model)
    for radii in ([], [0.1, 4], [float("nan")]):
        with pytest.raises(ValueError, match="radii are one or more numbers from 0 to 1"):
            memorisation.critical_ratio(model, images, radii, normalise=same)
    with pytest.raises(ValueError, match="at least one pixel"):
        memorisation.critical_ratio(model, images[:0], [0.1], normalise=same)


# --- the problem ---


def test_the_problem_is_the_first_images_of_its_classes():
    problem = memorisation.small_problem(10, classes=("boat", "car"), validation=4, tests=6, progress=False)
    assert problem.images.shape == (10, 3, 32, 32) and problem.validation_images.shape == (4, 3, 32, 32)
    assert problem.test_images.shape == (6, 3, 32, 32)
    assert problem.classes == ("boat", "car") and not problem.wrong.any()
    # In the order of the split: car is class 0 of Diorama, boat class 4.
    assert problem.labels.tolist() == [1, 0] * 5 and problem.validation_labels.tolist() == [1, 0] * 2
    assert problem.images.min() >= 0 and problem.images.max() <= 1
    assert not torch.equal(problem.images[0], problem.test_images[0])
    for bad, message in (
        ({"classes": ("car", "whale")}, "Two classes or more"),
        ({"classes": ("car",)}, "Two classes or more"),
        ({"classes": ("car", "car")}, "each once"),
        ({"count": 0}, "At least one image"),
        ({"classes": ("car", "boat"), "count": 2500}, "has 2500 images of 2 classes, not 2700"),
    ):
        with pytest.raises(ValueError, match=message):
            memorisation.small_problem(**bad, progress=False)


def test_a_share_of_the_labels_is_drawn(problem):
    many = replace(problem, labels=torch.arange(4000) % 4, truth=torch.arange(4000) % 4)
    none, some, all_ = (memorisation.relabelled(many, share, seed=1) for share in (0.0, 0.4, 1.0))
    assert not none.wrong.any()
    assert some.wrong.float().mean().item() == pytest.approx(0.3, abs=0.02)  # a quarter is right by chance
    assert all_.wrong.float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert all_.labels.bincount().tolist() == pytest.approx([1000] * 4, abs=100)
    assert torch.equal(all_.labels[some.wrong], some.labels[some.wrong])  # the larger contains the smaller
    assert torch.equal(memorisation.relabelled(all_, 0.4, seed=1).labels, some.labels)  # of the truth
    assert not torch.equal(memorisation.relabelled(many, 0.4, seed=2).labels, some.labels)
    assert torch.equal(some.test_labels, many.test_labels) and torch.equal(some.truth, many.truth)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            memorisation.relabelled(many, share)


def test_the_network_is_as_wide_as_asked_and_depends_on_its_seed_alone():
    state = torch.random.get_rng_state()
    for width, count in ((4, 17_148), (16, 268_644)):
        net = memorisation.small_net(width)
        assert sum(p.numel() for p in net.parameters()) == count
    a, b, c = (memorisation.small_net(4, seed=seed).fc1.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert memorisation.small_net(2, classes=7, dropout=0.5)(torch.zeros(3, 3, 32, 32)).shape == (3, 7)
    for bad in ({"width": 0}, {"classes": 1}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match="are needed"):
            memorisation.small_net(**bad)


# --- training ---


def test_two_steps_are_as_by_hand(problem):
    net, plain = memorisation.small_net(2), memorisation.small_net(2)
    film = memorisation.train(net, problem, rate=0.3, weight_decay=0.1, batch=24, normalise=centred)
    speeds = [torch.zeros_like(p) for p in plain.parameters()]
    for number in (1, 2):
        loss = functional.cross_entropy(plain(centred(problem.images)), problem.labels)
        slopes = torch.autograd.grad(loss, list(plain.parameters()))
        for weights, speed, slope in zip(plain.parameters(), speeds, slopes, strict=True):
            speed.mul_(0.9).add_(slope + 0.1 * weights.detach())
            weights.data -= 0.3 * speed
        epoch = next(film)
        assert epoch.loss == pytest.approx(loss.item(), rel=1e-4) and epoch.number == number
        for ours, weights in zip(net.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(ours, weights, atol=1e-5)


def test_an_epoch_reports_what_can_be_counted(problem):
    told = memorisation.relabelled(problem, 0.7)
    assert 0 < told.wrong.sum() < 24
    net = memorisation.small_net(4, dropout=0.5)
    for epoch in memorisation.train(net, told, epochs=3, shift=2):
        assert not net.training and not any(module.training for module in net)
        with torch.no_grad():
            said = [
                net(memorisation.normalise(x)).argmax(1)
                for x in (told.images, told.validation_images, told.test_images)
            ]
        right = said[0] == told.labels
        assert epoch.train == pytest.approx(right.double().mean().item())
        assert epoch.wrong == pytest.approx(right[told.wrong].double().mean().item())
        assert epoch.validation == pytest.approx((said[1] == told.validation_labels).double().mean().item())
        assert epoch.test == pytest.approx((said[2] == told.test_labels).double().mean().item())
        assert all(p.grad is None for p in net.parameters())
    (clean,) = memorisation.train(net, problem, epochs=1)
    assert clean.wrong != clean.wrong  # NaN: there is no wrong label


def test_noise_can_be_learned_by_heart_and_nothing_follows_for_other_images(problem):
    told = memorisation.relabelled(problem, 1.0)
    for last in memorisation.train(memorisation.small_net(16), told, epochs=100):
        if last.train == 1:
            break
    assert last.train == last.wrong == 1 and last.number < 100
    assert last.test < 0.6  # chance: a quarter
    assert torch.equal(told.labels, memorisation.relabelled(problem, 1.0).labels)


@pytest.mark.parametrize("means", [{}, {"shift": 3}, {"critical": 0.02}, {"weight_decay": 0.01}])
def test_training_is_repeatable_and_leaves_the_global_generator_alone(problem, means):
    state, x = torch.random.get_rng_state(), problem.images.clone()

    def run(seed=0, **changed):
        net = memorisation.small_net(4, dropout=0.3)
        film = []
        for epoch in memorisation.train(net, problem, epochs=2, seed=seed, **(means | changed)):
            torch.rand(3)  # what the reader draws in between changes nothing
            film.append(epoch[:-1])
        return film

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first = run()
        torch.random.set_rng_state(state)
        assert run() == first and run(seed=1) != first
        torch.random.set_rng_state(state)
        next(memorisation.train(memorisation.small_net(4, dropout=0.3), problem, **means))
        assert torch.equal(torch.random.get_rng_state(), state) and torch.equal(problem.images, x)
        plain = {"shift": 0, "critical": 0.0, "weight_decay": 0.0}
        assert (run(**plain) == first) == (means == {})  # every means does something
    finally:
        torch.set_num_threads(threads)


class Counting(nn.Module):
    """Counts the images that it is trained on; it may also be interrupted."""

    def __init__(self, most: int = 10**9) -> None:
        super().__init__()
        self.net, self.seen, self.most = memorisation.small_net(4), 0, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x) if self.training else 0
        if self.seen > self.most:
            raise KeyboardInterrupt
        return self.net(x)


def test_critical_samples_are_trained_on_next_to_the_images(problem):
    net = Counting()
    film = memorisation.train(net, problem, critical=0.05, batch=1000)
    next(film)
    assert net.seen == 24  # none in the first epoch
    generator = torch.Generator().manual_seed(2)  # of the second epoch
    near = memorisation.critical_samples(
        net, problem.images, 0.05, normalise=memorisation.normalise, generator=generator
    )
    x, labels = near.images[near.mask], problem.labels[near.mask]
    y = net(memorisation.normalise(torch.cat([problem.images, x])))
    loss = functional.cross_entropy(y, torch.cat([problem.labels, labels]))
    second = next(film)
    assert net.seen == 48 + len(x) and len(x)
    assert second.loss == pytest.approx(loss.item(), rel=1e-5)  # of the one step, before it is made


def test_an_interrupted_epoch_leaves_a_model_to_look_at(problem):
    net, state = Counting(most=20), torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        next(memorisation.train(net, problem, batch=8))
    assert not net.training and not net.net.training and torch.equal(torch.random.get_rng_state(), state)


def test_augmentation_moves_and_mirrors_each_image_by_itself():
    x = torch.rand(300, 3, 5, 6, generator=torch.Generator().manual_seed(4))
    y = moved(x, 1, torch.Generator().manual_seed(5))
    columns, rows = torch.arange(6), torch.arange(5)
    ways = [
        image.flip(3) if mirrored else image
        for down, right, mirrored in product((-1, 0, 1), (-1, 0, 1), (False, True))
        for image in [x[:, :, (rows + down).clamp(0, 4)][:, :, :, (columns + right).clamp(0, 5)]]
    ]
    matches = torch.stack([(y == way).flatten(1).all(1) for way in ways])  # (18, 300)
    assert (matches.sum(0) == 1).all()
    assert (matches.sum(1) > 4).all()  # 16.7 of each are expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch": 0}, "batch 0"),
        ({"shift": -1}, "shift -1"),
        ({"rate": 0.0}, "rate 0.0"),
        ({"rate": float("nan")}, "rate nan"),
        ({"weight_decay": -1.0}, "weight_decay is 0 or more"),
        ({"critical": 2.0}, "such as 2 / 255"),
    ],
)
def test_training_complains_at_the_call(problem, change, message):
    with pytest.raises(ValueError, match=message):
        memorisation.train(memorisation.small_net(2), problem, **change)


def test_models_that_do_not_fit_the_problem_are_named(problem):
    with pytest.raises(ValueError, match="labels go up to 3; the model has 2"):
        memorisation.train(memorisation.small_net(2, classes=2), problem)
    with pytest.raises(ValueError, match="a tuple, not a tensor"):
        memorisation.train(Tupled(), problem)
    with pytest.raises(ValueError, match="smaller rate than"):
        list(memorisation.train(memorisation.small_net(4), problem, rate=1e30))


# --- the table ---


def test_the_script_goes_on_where_it_stopped(problem, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memorisation, "small_problem", lambda *a, **k: problem)
    threads, out = torch.get_num_threads(), tmp_path / "few.csv"
    call = ["--epochs", "2", "--out", str(out), "--jobs"]
    try:
        memorisation_curves.main([*call, "2"])
        first = memorisation.stored(out)
        memorisation_curves.main([*call, "3"])
    finally:
        torch.set_num_threads(threads)
    both = memorisation.stored(out)
    assert len(first) == 4 and len(both) == 6 and list(tmp_path.iterdir()) == [out]
    assert both[:4].equals(first) and both.share.tolist() == [0.0] * 2 + [1.0] * 2 + [0.4] * 2
    assert both.number.tolist() == [1, 2] * 3
    assert both.ratio_4.isna().tolist() == [True, False] * 3
    assert (both.ratio_4 >= both.ratio_2)[1::2].all()
    runs = memorisation_curves.jobs(3)
    assert len(runs) == len(set(runs))


@pytest.mark.skipif(not memorisation.TABLE.exists(), reason="the table is not made yet")
def test_the_table_shows_what_the_lecture_says():
    table = memorisation.stored()
    plain = table[(table.experiment == "labels") & (table.number == memorisation_curves.EPOCHS)]
    random, true = (plain[plain.share == share].set_index("seed").sort_index() for share in (1.0, 0.0))
    assert random.index.tolist() == true.index.tolist() == [0, 1, 2]
    assert (random.train > 0.995).all() and (random.test < 0.35).all() and (true.test > 0.6).all()
    for radius in memorisation_curves.RADII:
        assert (random[f"ratio_{radius}"] > true[f"ratio_{radius}"]).all()  # in each seed
