"""Networks by name: every name builds, and every way in which weights can be missing or wrong gets one sentence."""

import shutil
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from cnnvis_helpers import networks, weight_files, zoo
from cnnvis_helpers.diorama import CLASSES

EMBEDDED_FILES = [name for name, embedded in zoo.EMBEDDED.items() if embedded.trained]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weight files with a trained network (seed 7 plays the part) and two steps of it."""
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    for seed, name in ((7, "diorama/alexnet"), (8, "diorama/alexnet@25"), (9, "diorama/alexnet@100")):
        facts = {
            "name": name,
            "seed": "0",
            "accuracy": {"test": 0.5},
            "recipe": {"lr": 0.05},
            "classes": list(CLASSES),
            "licence": "MIT",
        }
        weight_files.save(zoo._path(name), networks.alexnet(seed=seed).state_dict(), facts)
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub cache on a computer without a network; returns where the weight files go."""

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    place = Path(torch.hub.get_dir()) / "checkpoints"
    assert tmp_path in place.parents
    return place


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 500
    return message


# ---- embedded networks


@pytest.mark.parametrize("name", list(zoo.EMBEDDED))
def test_every_embedded_name_builds_without_weights(name: str) -> None:
    net = zoo.load(name, weights=False)
    assert net.name == name and not net.model.training
    odd = {"diorama/alexnet-scenes": 11, "diorama/alexnet-fooling": 17}
    classes = 99 if name.startswith("photos/") else 8 if "biased" in name else odd.get(name, 16)
    assert (net.input_size, len(net.classes)) == (96, classes)
    assert net.probabilities(torch.rand(3, 120, 100)).shape == (1, classes)


@pytest.mark.parametrize("name", EMBEDDED_FILES)
def test_every_file_loads_and_tells_its_recipe(name: str) -> None:
    zoo.load(name)
    facts = zoo.describe(name)
    assert facts["name"] == name and facts["licence"] == "MIT"
    assert facts["seed"] == zoo.SEED
    assert 0 < facts["accuracy"]["test"] <= 1
    assert facts["recipe"]["lr"] > 0
    assert zoo._path(name).stat().st_size < 6e6
    for step in zoo.checkpoints(name)[:-1]:
        assert zoo.load(step).name == step


@pytest.mark.parametrize("name", [*zoo.EMBEDDED, "imagenet/resnet18"])
def test_every_network_says_where_it_comes_from(name: str) -> None:
    facts = zoo.describe(name)
    assert facts["name"] == name
    assert all(facts[key] for key in ("about", "weights", "licence", "data", "classes", "classes_from"))
    assert {"accuracy", "recipe"} <= set(facts)
    assert list(facts["classes"]) == list(zoo.load(name, weights=False).classes)
    if name.startswith("photos/"):
        assert "Caltech-101" in facts["data"] and "CC BY 4.0" in facts["data"]


def test_untrained_is_a_seed_and_no_file(folder: Path) -> None:
    untrained = zoo.load("diorama/alexnet-untrained").model.state_dict()
    for same in (zoo.load("diorama/alexnet@0"), zoo.load("diorama/alexnet", weights=False)):
        assert all(torch.equal(untrained[k], v) for k, v in same.model.state_dict().items())
    assert zoo.describe("diorama/alexnet-untrained")["seed"] == 0


def test_weights_come_from_the_file_rounded_to_half(folder: Path) -> None:
    model = zoo.load("diorama/alexnet").model
    expected = networks.alexnet(seed=7).conv1.weight.detach().half().float()
    assert torch.equal(model.conv1.weight.detach(), expected)
    assert model.conv1.weight.dtype == torch.float32


def test_checkpoints_are_in_order_and_load(folder: Path) -> None:
    steps = zoo.checkpoints("diorama/alexnet")
    assert steps == ["diorama/alexnet@0", "diorama/alexnet@25", "diorama/alexnet@100", "diorama/alexnet"]
    first = [zoo.load(step).model.conv1.weight[0, 0, 0, 0].item() for step in steps]
    assert len(set(first)) == 4
    with pytest.raises(ValueError, match="has no checkpoints"):
        zoo.checkpoints("diorama/alexnet-untrained")
    with pytest.raises(ValueError, match="alexnet@25"):
        zoo.load("diorama/alexnet@26")


def test_describe_reads_the_facts(folder: Path) -> None:
    facts = zoo.describe("diorama/alexnet")
    assert facts["accuracy"] == {"test": 0.5} and facts["recipe"] == {"lr": 0.05} and facts["seed"] == 0
    assert "base" in facts["about"] and len(facts["sha256"]) == 64


def test_missing_file(folder: Path) -> None:
    with pytest.raises(zoo.WeightsError, match="missing") as error:
        zoo.load("diorama/alexnet-grouped")
    assert "train_models.py diorama/alexnet-grouped" in one_sentence(error)


def test_swapped_file(folder: Path) -> None:
    shutil.copy(folder / "diorama" / "alexnet@25.safetensors", folder / "diorama" / "alexnet.safetensors")
    with pytest.raises(zoo.WeightsError, match="swapped") as error:
        zoo.load("diorama/alexnet")
    one_sentence(error)


@pytest.mark.parametrize("keep", [0, 4, 100, 100_000, -1])
def test_truncated_file(folder: Path, keep: int) -> None:
    path = folder / "diorama" / "alexnet.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(zoo.WeightsError, match="damaged") as error:
        zoo.load("diorama/alexnet")
    one_sentence(error)


def test_one_changed_bit(folder: Path) -> None:
    path = folder / "diorama" / "alexnet.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(zoo.WeightsError, match="damaged"):
        zoo.load("diorama/alexnet")


def test_file_of_another_architecture(folder: Path) -> None:
    name = "diorama/alexnet-grouped"
    weight_files.save(zoo._path(name), networks.alexnet().state_dict(), {"name": name})
    with pytest.raises(zoo.WeightsError, match="another version") as error:
        zoo.load(name)
    one_sentence(error)


def test_numbers_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float16"):
        weight_files.save(tmp_path / "x.safetensors", {"w": torch.tensor([1e6])}, {"name": "x"})
    assert not list(tmp_path.iterdir())


# ---- names


def test_names_are_the_embedded_and_torchvisions_classifiers() -> None:
    names = zoo.names()
    assert {"diorama/alexnet", "diorama/alexnet-stride4", "imagenet/resnet18", "imagenet/googlenet"} <= set(
        names
    )
    assert not any("deeplab" in n or "rcnn" in n or "quantized" in n or "r3d" in n for n in names)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("diorama/alexnt", "diorama/alexnet"),
        ("imagenet/resnet-18", "imagenet/resnet18"),
        ("alexnet", "imagenet/alexnet"),
        ("diorama/alexnet@", "diorama/alexnet"),
        ("diorama/alexnet-untrained@3", "diorama/alexnet-untrained"),
    ],
)
def test_unknown_name(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match="There is no network") as error:
        zoo.load(wrong)
    assert f"did you mean {meant!r}" in str(error.value) or meant in str(error.value)


def test_unknown_name_lists_the_family() -> None:
    with pytest.raises(ValueError, match="diorama/alexnet-highlr"):
        zoo.load("diorama/qqq")


# ---- ImageNet


def test_without_weights_nothing_is_downloaded_and_the_seed_is_fixed(cache: Path) -> None:
    state = torch.get_rng_state()
    first, second = (zoo.load("imagenet/squeezenet1_1", weights=False) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was moved"
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))
    assert len(first.classes) == 1000 and first.classes[282] == "tiger cat"
    assert first.mean == (0.485, 0.456, 0.406) and first.input_size == 224
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(("name", "size"), [("googlenet", 224), ("inception_v3", 299)])
def test_inception_networks_give_one_tensor(cache: Path, name: str, size: int) -> None:
    net = zoo.load(f"imagenet/{name}", weights=False)
    assert net.input_size == size and net.model.transform_input
    logits = net.model.train()(torch.rand(2, 3, size, size))  # with its auxiliary heads this is a tuple
    assert logits.shape == (2, 1000)


def test_offline_names_the_file_and_the_folder(cache: Path) -> None:
    with pytest.raises(zoo.WeightsError, match=r"resnet18-f37072fd\.pth") as error:
        zoo.load("imagenet/resnet18")
    message = one_sentence(error)
    assert str(cache) in message and "online" in message
    assert not list(cache.iterdir()), "a partial file was left behind"


def test_cached_weights_work_offline(cache: Path) -> None:
    cache.mkdir(parents=True)
    weights = zoo._imagenet_weights("imagenet/squeezenet1_1")
    model = torchvision.models.squeezenet1_1()
    torch.save(model.state_dict(), cache / Path(weights.url).name)
    net = zoo.load("imagenet/squeezenet1_1")
    assert all(map(torch.equal, net.model.state_dict().values(), model.state_dict().values()))
    assert not net.model.training


@pytest.mark.parametrize("keep", [0, 10, 1_000_000])
def test_damaged_cache(cache: Path, keep: int) -> None:
    cache.mkdir(parents=True)
    path = cache / Path(zoo._imagenet_weights("imagenet/squeezenet1_1").url).name
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(zoo.WeightsError, match="damaged: delete it") as error:
        zoo.load("imagenet/squeezenet1_1")
    one_sentence(error)


def test_cache_with_other_weights(cache: Path) -> None:
    cache.mkdir(parents=True)
    path = cache / Path(zoo._imagenet_weights("imagenet/squeezenet1_1").url).name
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(zoo.WeightsError, match="does not hold the weights") as error:
        zoo.load("imagenet/squeezenet1_1")
    one_sentence(error)


def test_googlenet_from_the_cache_is_prepared_like_any_other(cache: Path) -> None:
    cache.mkdir(parents=True)
    model = torchvision.models.googlenet(init_weights=False)  # the file holds the auxiliary heads too
    torch.save(model.state_dict(), cache / Path(zoo._imagenet_weights("imagenet/googlenet").url).name)
    net = zoo.load("imagenet/googlenet")
    assert net.model.aux1 is None and net.model.aux2 is None and net.model.transform_input
    assert torch.equal(net.model.fc.weight, model.fc.weight)


@pytest.mark.parametrize("name", [n for n in zoo.names() if n.startswith("imagenet/")])
def test_every_imagenet_name_has_its_facts(name: str) -> None:
    facts = zoo.describe(name)
    assert 50 < facts["accuracy"]["acc@1"] < 100
    weights = zoo._imagenet_weights(name)
    preset = weights.transforms()
    assert len(weights.meta["categories"]) == 1000
    assert len(preset.mean) == len(preset.std) == 3
    assert isinstance(preset.crop_size[0], int)


# ---- a reader's own module


class Brightness(nn.Module):
    """Two logits from the mean of the input: 0 and that mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(mean), mean], 1)


def test_own_module() -> None:
    model = Brightness()
    net = zoo.Network("mine", model, ["dark", "light"], 8, (0.5,) * 3, (0.25,) * 3)
    images = torch.stack([torch.zeros(3, 20, 30), torch.full((3, 20, 30), 0.5), torch.ones(3, 20, 30)])
    prepared = net.prepare(images)
    assert prepared.shape == (3, 3, 8, 8)
    assert prepared[:, 0, 0, 0].tolist() == [-2.0, 0.0, 2.0]
    torch.testing.assert_close(net.denormalise(net.normalise(images)), images)
    light = torch.sigmoid(torch.tensor([-2.0, 0.0, 2.0]))
    torch.testing.assert_close(net.probabilities(images, batch=2)[:, 1], light)
    assert model.training, "the reader's model was left in another mode"
    assert net.prepare(images[0]).shape == (1, 3, 8, 8)


def test_unavailable_device() -> None:
    with pytest.raises(ValueError, match="not available"):
        zoo.load("diorama/alexnet", weights=False, device="cuda:99")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.rand(1, 3, 96, 96) * 255, "0"),
        (torch.full((1, 3, 96, 96), float("nan")), "NaN"),
        (torch.zeros(1, 3, 96, 96, dtype=torch.uint8), "uint8"),
        (torch.rand(1, 1, 96, 96), r"not \(1, 1, 96, 96\)"),
        ("a string", "str"),
    ],
)
def test_images_that_are_none_get_one_sentence(bad: object, said: str) -> None:
    net = zoo.load("diorama/alexnet-untrained")
    for use in (net.prepare, net.probabilities):
        with pytest.raises(ValueError, match=said):
            use(bad)  # type: ignore[operator]


def test_precision_follows_the_model() -> None:
    net = zoo.load("diorama/alexnet-untrained")
    image = torch.rand(3, 96, 96, dtype=torch.float64)
    assert net.probabilities(image).shape == (1, 16)
    with pytest.raises(ValueError, match="at least one image"):
        net.probabilities(image, batch=0)
