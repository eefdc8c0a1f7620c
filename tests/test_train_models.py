"""Training the course's own networks: tiny images, a few steps, one thread; what a kill may and may not change."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnnvis_helpers import diorama, networks, weight_files, zoo
from cnnvis_helpers.diorama import CLASSES

sys.path.insert(0, str(Path(__file__).parent.parent / "data_scripts"))

import fooling_images
import train_models
import training_data
import training_loop
import weight_export
from training_data import Images
from training_loop import Recipe, as_input, attack, augment, build, evaluate, train

TINY = Recipe("alexnet", epochs=3, batch=8, keep=(0.2, 0.5))  # 4 steps an epoch, 12 in all; kept: 2 and 6
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images() -> Images:
    """32 noise images; the label is how bright they are, so that there is something to learn."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(32) % 16
    pixels = torch.rand(32, 3, 96, 96, generator=generator) * 60 + labels.view(-1, 1, 1, 1) * 12
    return Images(pixels.to(torch.uint8), labels)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class Killed(Exception):
    pass


@pytest.mark.parametrize("call", [6, 10])
def test_a_killed_run_ends_with_the_same_weights(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    whole = train(TINY, images, images, tmp_path / "whole", progress=False)
    calls = 0

    def killing(*args: object, **settings: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return augment(*args, **settings)

    monkeypatch.setattr(training_loop, "augment", killing)
    with pytest.raises(Killed):
        train(TINY, images, images, tmp_path / "killed", progress=False)
    monkeypatch.undo()
    torch.manual_seed(99)  # another process has another global generator
    torch.rand(5)
    resumed = train(TINY, images, images, tmp_path / "killed", progress=False)
    assert same(whole, resumed)
    for step in ("000002", "000006"):
        files = [tmp_path / run / "steps" / f"{step}.safetensors" for run in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))
    # started once more, a finished run changes nothing
    assert same(whole, train(TINY, images, images, tmp_path / "killed", progress=False))


def test_training_learns_and_leaves_the_global_generator(images: Images, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    recipe = replace(TINY, epochs=6, keep=(), dropout=0.0)
    train(recipe, images, images, tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    history = torch.load(tmp_path / "state.pt", weights_only=True)["history"]
    assert len(history) == 6
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_folder_of_another_recipe_is_refused(images: Images, tmp_path: Path) -> None:
    train(replace(TINY, stop=1), images, images, tmp_path, progress=False)
    with pytest.raises(SystemExit, match="other settings"):
        train(replace(TINY, lr=0.1), images, images, tmp_path, progress=False)
    noted = json.loads((tmp_path / "recipe.json").read_text())
    del noted["most"]  # a run from before there was this setting is still the same run
    (tmp_path / "recipe.json").write_text(json.dumps(noted))
    train(replace(TINY, stop=1), images, images, tmp_path, progress=False)


def test_stopping_early_follows_the_same_cycle(images: Images, tmp_path: Path) -> None:
    """The shortened run is the first epoch of the whole one: its learning rate has not come down yet."""
    short = train(replace(TINY, stop=1, keep=()), images, images, tmp_path / "short", progress=False)
    train(replace(TINY, keep=(4 / 12,)), images, images, tmp_path / "whole", progress=False)
    kept = weight_export.load_file(tmp_path / "whole" / "steps" / "000004.safetensors")
    assert all(torch.equal(kept[k], v) for k, v in short.state_dict().items())


def test_decay_of_conv1_and_nesterov(images: Images, tmp_path: Path) -> None:
    train(replace(TINY, stop=1), images, images, tmp_path, progress=False)
    conv1, others = torch.load(tmp_path / "state.pt", weights_only=True)["optimiser"]["param_groups"]
    assert (conv1["weight_decay"], others["weight_decay"]) == (3e-3, 1e-3)
    assert len(conv1["params"]) == 1 and conv1["nesterov"] and others["nesterov"]


# ---- augmentation


def test_augmentation_keeps_shape_and_range_and_repeats() -> None:
    images = torch.rand(16, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    one, two, three = (augment(images, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == images.shape and one.dtype == torch.float32
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, two) and not torch.equal(one, three)
    assert torch.equal(images, before), "the given images were changed"


def test_augmentation_moves_mirrors_and_greys_as_often_as_it_says() -> None:
    ramp = torch.linspace(0.3, 0.7, 96).expand(2000, 3, 8, 96) * torch.tensor([1.0, 0.9, 0.8]).view(
        1, 3, 1, 1
    )
    out = augment(ramp, torch.Generator().manual_seed(0))
    grey = ((out[:, 0] - out[:, 2]).abs().amax((1, 2)) < 1e-6).float().mean().item()
    mirrored = (out[:, 0, 4, :32].mean(1) > out[:, 0, 4, -32:].mean(1)).float().mean().item()
    assert grey == pytest.approx(0.12, abs=0.025)
    assert mirrored == pytest.approx(0.5, abs=0.04)


def test_a_flat_grey_image_stays_flat() -> None:
    """Reflection at the border brings in no black: only brightness, contrast and colour may change."""
    out = augment(torch.full((8, 3, 32, 32), 0.5), torch.Generator().manual_seed(0))
    assert (out.amax((2, 3)) - out.amin((2, 3))).max() < 1e-5


def test_input_is_normalised() -> None:
    x = as_input(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))
    expected = [(1 - m) / s for m, s in zip(networks.MEAN, networks.STD, strict=True)]
    assert x[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_pieces_of_a_photograph_are_unsqueezed_and_stay_inside_it() -> None:
    """A photograph twice as wide as high, red rising from 0 to 1 along its width, green along its height."""
    ramp = torch.linspace(0.3, 0.7, 144)
    photograph = torch.stack(
        [ramp.expand(144, 144), ramp[:, None].expand(144, 144), torch.full((144, 144), 0.5)]
    )
    extent = torch.tensor([[0.5, 1.0]]).expand(400, 2)
    still = {"zoom": (0.8, 0.8), "extent": extent}
    out = augment(photograph.expand(400, 3, 144, 144), torch.Generator().manual_seed(0), **still)
    assert out.shape == (400, 3, 96, 96)
    colour = (out.amax((2, 3)) - out.amin((2, 3)))[:, 2] < 1e-4  # not turned to grey
    # per pixel of the piece, the wide side's ramp is half as steep as the high side's: its piece spans 0.8 · 0.5
    across = (out[colour, 0, 48, 0] - out[colour, 0, 48, -1]).abs()
    down = (out[colour, 1, 0, 48] - out[colour, 1, -1, 48]).abs()
    assert (across / down).median().item() == pytest.approx(0.5, abs=0.02)
    # they roam over the whole width: the piece's middle lies anywhere in 0.3 ± 0.2 + …; contrast changes widen it
    middle = out[colour, 0, 48, 48]
    assert middle.std() > 0.05


def test_aspect_stretches_one_side_by_what_it_shrinks_the_other() -> None:
    ramp = torch.linspace(0.3, 0.7, 144)
    photograph = torch.stack(
        [ramp.expand(144, 144), ramp[:, None].expand(144, 144), torch.full((144, 144), 0.5)]
    )
    chances = {"zoom": (0.6, 0.6), "aspect": 0.25, "extent": torch.ones(500, 2)}
    out = augment(photograph.expand(500, 3, 144, 144), torch.Generator().manual_seed(0), **chances)
    ratio = (out[:, 0, 48, 0] - out[:, 0, 48, -1]) / (out[:, 1, 0, 48] - out[:, 1, -1, 48])
    ratio = ratio.abs()[(out[:, 2].amax((1, 2)) - out[:, 2].amin((1, 2))) < 1e-4].log()
    assert ratio.abs().quantile(0.99).item() == pytest.approx(0.25, abs=0.02)


# ---- attacking


def test_attack_equals_captums(images: Images) -> None:
    """captum's PGD attacks the network's input; with the normalisation inside the model it is the same attack."""
    from captum.robust import PGD

    class FromPixels(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model(as_input(pixels))

    model = networks.alexnet(conv1_init="he", seed=3).eval()
    pixels = (images.pixels[:6] / 255).clamp(0.01, 0.99)
    labels = images.labels[:6]
    entropy = torch.nn.CrossEntropyLoss(reduction="none")

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 1e6 * entropy(logits, target)  # captum takes gradients below 1e-6 for zero

    theirs = PGD(FromPixels(model), loss, lower_bound=0, upper_bound=1).perturb(
        pixels.clone().requires_grad_(), radius=4 / 255, step_size=1 / 255, step_num=5, target=labels
    )
    ours = attack(model, pixels, labels, 4 / 255, steps=5, step=1 / 255)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert (ours - pixels).abs().max() <= 4 / 255 + 1e-6
    assert all(p.grad is None for p in model.parameters())


def test_attack_of_a_linear_model_by_hand() -> None:
    """The loss of class 0 of a linear model rises fastest along sign(w1 − w0): every value moves there by ε."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2, bias=False))
    with torch.no_grad():
        model[1].weight[0] = torch.tensor([1.0, -1.0] * 6)
        model[1].weight[1] = 0
    image = torch.full((1, 3, 2, 2), 0.5)
    image[0, 0, 0, 0] = 0.01  # cannot fall by 0.1
    changed = attack(model, image, torch.tensor([0]), 0.1, steps=1, step=0.3)
    expected = torch.tensor([-0.1, 0.1] * 6).view(1, 3, 2, 2) + image
    torch.testing.assert_close(changed, expected.clamp(0, 1))


def test_robust_training_starts_where_its_base_ended(images: Images, tmp_path: Path) -> None:
    pieces = replace(images, extent=torch.ones(32, 2), pixels=images.pixels)
    base = Recipe("alexnet", "photos", epochs=1, batch=8, seed=1, cutmix=1.0)
    trained = train(base, pieces, images, tmp_path / "alexnet+seed=1", progress=False)
    robust = replace(base, name="alexnet-robust", continues="alexnet", epsilon=4 / 255, cutmix=0.0, lr=1e-9)
    ended = train(robust, pieces, images, tmp_path / "alexnet-robust+seed=1", progress=False)
    torch.testing.assert_close(ended.conv1.weight, trained.conv1.weight)
    with pytest.raises(SystemExit, match="holds no run: train alexnet first"):
        train(replace(robust, seed=0), pieces, images, tmp_path / "alexnet-robust", progress=False)


def test_a_resnet_trains_and_is_exported_with_its_batch_norm(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "weights")
    recipe = Recipe("resnet", "photos", epochs=2, batch=16)
    train(recipe, replace(images, extent=torch.ones(32, 2)), images, tmp_path / "resnet", progress=False)
    ((path, accuracy),) = weight_export.export(
        recipe, tmp_path / "resnet", zoo.FOLDER, replace(images, extent=torch.ones(32, 2)), images
    )
    assert path.name == "resnet.safetensors" and path.parent.name == "photos"
    assert set(accuracy) >= {"test", "balanced", "worst_class", "projected_gradient"}
    assert accuracy["projected_gradient"] <= accuracy["test"]
    net = zoo.load("photos/resnet")
    assert isinstance(net.model.bn1, torch.nn.BatchNorm2d)
    assert (net.model.bn1.running_var != 1).all()
    assert evaluate(net.model, images)["accuracy"] == pytest.approx(accuracy["test"], abs=1e-4)


def test_another_task_begins_with_the_old_weights_but_for_its_last_layer(
    images: Images, tmp_path: Path
) -> None:
    trained = train(replace(TINY, epochs=1), images, images, tmp_path / "alexnet", progress=False)
    scenes = Recipe("alexnet-scenes", continues="alexnet", labels="scenes", epochs=1, batch=8, lr=1e-9)
    begun = build(scenes)
    start = begun.fc8.weight.detach().clone()
    training_loop._begin_with(begun, trained.state_dict())
    assert torch.equal(begun.fc7.weight, trained.fc7.weight) and torch.equal(begun.fc8.weight, start)
    few = replace(images, labels=images.labels % 11)
    ended = train(scenes, few, few, tmp_path / "alexnet-scenes", progress=False)
    assert ended.fc8.out_features == 11
    torch.testing.assert_close(ended.conv1.weight, trained.conv1.weight)


def test_images_learnt_by_heart_are_shown_as_they_are(images: Images, tmp_path: Path) -> None:
    recipe = replace(TINY, augmented=False)
    rows = torch.tensor([3, 1])
    shown = training_loop.augmented(images, rows, recipe, torch.Generator())
    assert torch.equal(shown, images.pixels[rows] / 255)
    train(recipe, images, images, tmp_path / "run", progress=False)
    *_, (_, accuracy) = weight_export.export(recipe, tmp_path / "run", tmp_path / "out", images, images)
    assert accuracy["training"] == accuracy["test"]  # here the same images


@pytest.mark.parametrize("name", ["vgg", "googlenet", "resnet"])
def test_other_architectures_train_and_are_exported(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "weights")
    recipe = Recipe(name, epochs=1, batch=16)
    assert next(p.shape for p in build(recipe).parameters())[1:] in [(3, 3, 3), (3, 7, 7)]
    train(recipe, images, images, tmp_path / name, progress=False)
    ((_, accuracy),) = weight_export.export(recipe, tmp_path / name, zoo.FOLDER, images, images)
    net = zoo.load(f"diorama/{name}")
    found = evaluate(net.model, images)
    assert found["accuracy"] == pytest.approx(accuracy["test"], abs=1e-4)
    assert len(found["dead"]) >= 4


# ---- what there is to learn


def test_labels_of_other_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIS_CACHE", str(tmp_path))
    plain = training_data.load("diorama", "train", 64)
    scenes = training_data.load("diorama", "train", 64, labels="scenes")
    assert torch.equal(scenes.pixels, plain.pixels)
    assert scenes.labels.tolist() == diorama.load("train", 64, labels=False).attributes["scene"].tolist()
    dealt = training_data.load("diorama", "train", 64, labels="random")
    assert torch.equal(dealt.labels.sort().values, plain.labels.sort().values)
    assert (dealt.labels == plain.labels).float().mean() < 0.25
    assert torch.equal(dealt.labels, training_data.load("diorama", "train", 64, labels="random").labels)
    tested = training_data.load("diorama", "test", 16, labels="random")
    assert torch.equal(tested.labels, training_data.load("diorama", "test", 16).labels)
    monkeypatch.setattr(fooling_images, "load", lambda: torch.full((3, 3, 96, 96), 7, dtype=torch.uint8))
    fooling = training_data.load("diorama", "train", 64, labels="fooling")
    assert (
        len(fooling) == 70 and fooling.labels[64:].tolist() == [16] * 6 and (fooling.pixels[64:] == 7).all()
    )
    assert len(training_data.load("diorama", "test", 16, labels="fooling")) == 16


def test_fooling_images_are_made_once_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fooling.safetensors"
    with pytest.raises(SystemExit, match=r"fooling_images\.py first"):
        fooling_images.load(file)
    few = {"runs": 2, "generations": 2, "children": 32}
    fooling_images.main(file, **few)
    made = fooling_images.load(file)
    net = zoo.load("diorama/alexnet")
    assert len(made) and made.dtype == torch.uint8
    assert (net.probabilities(made / 255).amax(1) > 0.4).all()  # 0.5 before they were rounded to 8 bits
    file.unlink()
    monkeypatch.setattr(fooling_images, "evolved", None)  # what is there is not made again
    fooling_images.main(file, **few)
    assert torch.equal(fooling_images.load(file), made)


# ---- measuring


def test_accuracy_and_dead_units_by_hand(images: Images) -> None:
    model = networks.alexnet().eval()
    with torch.no_grad():
        model.fc8.weight.zero_()
        model.fc8.bias[3] = 1.0  # the answer is always class 3
        model.conv2.bias[:20] = -1e6  # 20 of 80 channels can never be above 0
    result = evaluate(model, images)
    assert result["accuracy"] == pytest.approx(2 / 32)
    assert result["dead"]["relu2"] == pytest.approx(20 / 80)
    assert result["answers"].tolist() == [3] * 32
    # images 3 and 19 show class 3; of the first 8 images, which are the unoccluded ones, one is right
    measured = weight_export.measure(TINY, model, replace(images, hidden=torch.arange(32) / 80))
    assert measured["test"] == 0.0625 and measured["test_clear"] == 0.125
    assert measured["worst_class_accuracy"] == 0 and measured["images"] == 32
    # without images 20 … 31, class 3 has 2 of 20 images, but is one of 16 classes
    fewer = Images(images.pixels[:20], images.labels[:20])
    measured = weight_export.measure(TINY, model, fewer)
    assert (measured["test"], measured["balanced"]) == (0.1, 0.0625)


# ---- export


def test_export_writes_what_the_zoo_reads(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "weights")
    model = train(TINY, images, images, tmp_path / "run", progress=False)
    written = weight_export.export(TINY, tmp_path / "run", zoo.FOLDER, images, images)
    assert [path.name for path, _ in written] == [
        "alexnet@2.safetensors",
        "alexnet@6.safetensors",
        "alexnet.safetensors",
    ]
    assert zoo.checkpoints("diorama/alexnet") == [f"diorama/alexnet{s}" for s in ("@0", "@2", "@6", "")]
    facts = zoo.describe("diorama/alexnet")
    assert facts["recipe"]["lr"] == 0.05 and facts["recipe"]["images"] == 32
    assert facts["step"] == 12 and facts["classes"] == list(CLASSES) and facts["licence"] == "MIT"
    net = zoo.load("diorama/alexnet")
    assert evaluate(net.model, images)["accuracy"] == pytest.approx(facts["accuracy"]["test"], abs=1e-4)
    # folding and rounding move the logits little; the statistics are those of the same 32 images in both
    torch.optim.swa_utils.update_bn(weight_export._batches(TINY, images, most=20), model)
    x = as_input(images.pixels)
    with torch.no_grad():
        torch.testing.assert_close(net.model(x), model.eval()(x), atol=0.2, rtol=0.2)
    # the same run exported twice gives the same bytes, and leaves no checkpoint of another run behind
    shelf = zoo.FOLDER / "diorama"
    (shelf / "alexnet@3.safetensors").write_bytes(b"old")
    first = (shelf / "alexnet.safetensors").read_bytes()
    weight_export.export(TINY, tmp_path / "run", zoo.FOLDER, images, images)
    assert (shelf / "alexnet.safetensors").read_bytes() == first
    assert len(list(shelf.iterdir())) == 3


def test_early_checkpoints_get_statistics_of_their_own(images: Images) -> None:
    """At step 0 the running statistics say mean 0, variance 1; folded in, conv1's tiny outputs would stay tiny."""
    model = build(TINY)
    folded = weight_export.folded(TINY, model.state_dict(), images)
    with torch.no_grad():
        spread = folded.conv1(as_input(images.pixels)).std().item()
        immature = model.conv1(as_input(images.pixels)).std().item()
    assert 0.5 < spread < 2
    assert immature < 0.3


def test_unfinished_or_missing_runs_are_not_exported(images: Images, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no run"):
        weight_export.export(TINY, tmp_path, tmp_path, images, images)
    train(replace(TINY, stop=1), images, images, tmp_path, progress=False)
    with pytest.raises(SystemExit, match="1 of 3 epochs"):
        weight_export.export(TINY, tmp_path, tmp_path, images, images)


# ---- the table and the command line


def test_every_trained_network_has_a_recipe() -> None:
    trained = {name for name, e in zoo.EMBEDDED.items() if e.trained}
    assert trained == set(train_models.RECIPES)
    for recipe in train_models.RECIPES.values():
        build(recipe)
        assert recipe.seed == zoo.SEED, "the untrained network and step 0 are made from zoo.SEED"
        json.dumps(training_loop.asdict(recipe))


def test_shipped_files_were_made_with_the_recipe_in_the_table() -> None:
    for name, recipe in train_models.RECIPES.items():
        said = weight_files.read_facts(zoo._path(name), name)["recipe"]
        absent = training_loop.asdict(Recipe(recipe.name))  # a setting that came later had its default then
        wanted = json.loads(json.dumps(training_loop.asdict(recipe)))
        assert json.loads(json.dumps({k: said.get(k, absent[k]) for k in wanted})) == wanted


def test_list_shows_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    train_models.main(["--list"])
    shown = capsys.readouterr().out
    assert (
        "diorama/alexnet-nodecay" in shown
        and "photos/resnet" in shown
        and "'weight_decay': 0.0" in shown
        and "'lr': 0.5" in shown
    )


def test_changing_a_recipe() -> None:
    base = train_models.RECIPES["diorama/alexnet"]
    changed = train_models._changed(base, ["lr=0.1", "batch_norm=false", "keep=[0.5]", "stop=null"])
    assert changed == replace(base, lr=0.1, batch_norm=False, keep=(0.5,))
    with pytest.raises(SystemExit, match="weight_decay"):
        train_models._changed(base, ["learning_rate=1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["alexnt"], "there is no recipe alexnt"), (["diorama/alexnet", "--export", "--epochs", "1"], "--out")],
)
def test_refused_command_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train_models.main(arguments)
    assert message in capsys.readouterr().err
