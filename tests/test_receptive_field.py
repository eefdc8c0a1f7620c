"""Receptive fields, against published tables and against where gradients of networks with positive weights reach."""

import contextlib
import math
import random
from unittest import mock

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from cnnvis_helpers import hooks, networks
from cnnvis_helpers.receptive_field import ReceptiveField, by_gradient, effective, receptive_field, side


class Net(nn.Module):
    """A network whose forward is a given function of itself and the image."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.out = nn.Identity()

    def forward(self, x):
        return self.out(self.run(self, x))


def net(run, **layers):
    return Net(run, **layers).eval()


def positive(model):
    """Double precision, weights above zero that average, no biases: no ReLU stops, and nothing cancels."""
    generator = torch.Generator().manual_seed(0)
    for p in model.double().parameters():
        fan_in = p[0].numel() if p.ndim > 1 else 1
        p.data = (0.5 + torch.rand(p.shape, generator=generator, dtype=p.dtype)) / fan_in * (p.ndim > 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return model.eval()


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


@contextlib.contextmanager
def sums_for_maxima():
    """Every position of a max-pooling window counts, since the window is summed; shapes stay."""
    true_pool = functional.max_pool2d

    def pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        height, width = true_pool(x, kernel_size, stride, padding, dilation, ceil_mode).shape[2:]
        down, right = pair(padding)
        x = functional.pad(x, (right, right + 9, down, down + 9))  # ceil_mode hangs over by less
        ones = torch.ones(x.shape[1], 1, *pair(kernel_size), dtype=x.dtype)
        stride = kernel_size if stride in (None, []) else stride
        return functional.conv2d(x, ones, None, stride, 0, dilation, x.shape[1])[:, :, :height, :width]

    with mock.patch.object(functional, "max_pool2d", pool):
        yield


def check_against_gradient(model, layer, size):
    """The box holds every pixel with a gradient; away from the borders it is the smallest that does."""
    field = receptive_field(model, layer, size)
    x = noise(1, 3, *size)
    last = [count - 1 for count in field.units]
    # The first row and column whose boxes do not begin above or left of the image; their boxes must end inside it.
    inner = [
        math.ceil(max(0, -start) / stride) for start, stride in zip(field.start, field.stride, strict=True)
    ]
    assert field.box(*inner, clip=False) == field.box(*inner), "the image is too small to show anything"
    for row, column in [inner, last, (0, 0), (0, inner[1]), (inner[0], last[1])]:
        top, left, bottom, right = box = field.box(row, column)
        try:
            with sums_for_maxima():
                seen = by_gradient(model, x, layer, row, column)
        except ValueError as error:
            assert "No pixel moves" in str(error) and [row, column] != inner
            continue  # a unit in a corner sees padding alone
        assert top <= seen[0] and left <= seen[1] and bottom >= seen[2] and right >= seen[3]
        if field.box(row, column, clip=False) == box:
            assert seen == box, (row, column)


def torchvision_model(name, **settings):
    with torch.device("meta"):  # no memory, no time for initialisation: the theory needs no weights
        return torchvision.models.get_model(name, weights=None, **settings)


TABLE = [
    ("alexnet", "features.0", 11, 4),
    ("alexnet", "features.3", 51, 8),
    ("alexnet", "features.6", 99, 16),
    ("alexnet", "features.8", 131, 16),
    ("alexnet", "features.10", 163, 16),
    ("alexnet", "features.12", 195, 32),
    ("alexnet", "features", 195, 32),
    ("vgg16", "features.30", 212, 32),
    ("vgg16_bn", "features", 212, 32),
    ("resnet18", "layer4", 435, 32),
    ("resnet18", "layer4.1", 435, 32),
    ("resnet18", "layer4.1.relu", 435, 32),
    ("resnet50", "layer4", 427, 32),
]


@pytest.mark.parametrize(("name", "layer", "size", "stride"), TABLE)
def test_published_sizes_and_strides(name, layer, size, stride):
    field = receptive_field(torchvision_model(name), layer)
    assert (field.size, field.stride) == ((size, size), (stride, stride))
    assert not field.whole and field.image is None and field.units == (None, None)


def test_the_place_of_the_stride_matters():
    model = torchvision_model("resnet50")
    for stage in (model.layer2, model.layer3, model.layer4):  # in the first 1 × 1, not in the 3 × 3 after it
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    assert receptive_field(model, "layer4").size == (483, 483)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "googlenet"])
def test_fully_connected_units_see_the_whole_image(name):
    settings = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision_model(name, **settings)
    layer = "classifier.6" if name == "alexnet" else "fc"
    field = receptive_field(model, layer, (230, 224))
    assert field == ReceptiveField((230, 224), (0, 0), (0, 0), (230, 224), (None, None))
    assert field.whole and field.box() == field.box(3, 5, clip=False) == (0, 0, 230, 224)
    assert field.centre() == (114.5, 111.5)
    with pytest.raises(ValueError, match="sees the whole image: pass"):
        receptive_field(model, layer)


def test_the_formula_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 2, (5, 4), stride=(2, 3), padding=(2, 1)),  # height 5/2 from -2, width 4/3 from -1
        nn.ReLU(),
        nn.MaxPool2d(
            (2, 3), stride=(2, 1), padding=(0, 1), dilation=(3, 1)
        ),  # + 3 · 2, + 2 · 3; -1 · 3 to the left
    )
    field = receptive_field(model, "2", (20, 30))
    assert field == ReceptiveField((11, 10), (4, 3), (-2, -4), (20, 30), (4, 10))
    assert field.units == tuple(model(torch.zeros(1, 3, 20, 30)).shape[2:])
    assert field.box(0, 0, clip=False) == (-2, -4, 9, 6)
    assert field.box(0, 0) == (0, 0, 9, 6)
    assert field.box(3, 9, clip=False) == (10, 23, 21, 33)
    assert field.box(3, 9) == (10, 23, 20, 30)
    assert field.centre(1, 2) == (7.0, 6.5)
    assert receptive_field(model, "1", (20, 30)).size == (5, 4)


def test_boxes_of_many_positions():
    field = ReceptiveField((3, 3), (2, 4), (-1, -1), (8, 9), (4, 3))
    positions = torch.tensor([[[0, 0], [1, 2]], [[3, 1], [2, 0]]])
    boxes = field.boxes(positions)
    assert boxes.shape == (2, 2, 4) and boxes.dtype == torch.int64
    assert boxes.tolist() == [[[0, 0, 2, 2], [1, 7, 4, 9]], [[5, 3, 8, 6], [3, 0, 6, 2]]]
    assert field.boxes(positions.to(torch.int16)).tolist() == boxes.tolist()
    assert all(
        field.box(*place) == tuple(box)
        for place, box in zip(positions[1].tolist(), boxes[1].tolist(), strict=True)
    )
    assert field.boxes(torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 4)
    for wrong in ([[0, 3]], [[4, 0]], [[-1, 0]]):
        with pytest.raises(ValueError, match="no such unit"):
            field.boxes(wrong)
    for wrong in ([[0, 1, 2]], [[0.0, 1.0]], 3):
        with pytest.raises(ValueError, match="whole numbers"):
            field.boxes(wrong)
    with pytest.raises(ValueError, match="input_size"):
        ReceptiveField((3, 3), (2, 2), (0, 0)).box(0, 0)


def test_a_unit_that_sees_only_padding_has_an_empty_box():
    model = nn.Sequential(nn.Conv2d(3, 1, 2, padding=4))
    top, left, bottom, right = receptive_field(model, "0", (6, 6)).box(0, 0)
    assert (top, left, bottom, right) == (0, 0, 0, 0)
    assert receptive_field(model, "0", (6, 6)).box(12, 12) == (6, 6, 6, 6)


def random_net(seed):
    """Convolutions, pooling, padding, sums and concatenations with random settings; and an image size for it."""
    draw = random.Random(seed)
    layers, steps = {}, []

    def add(layer):
        layers[f"layer{len(layers)}"] = layer
        return layer

    def convolution(channels, out=3, **settings):
        kernel = draw.choice([1, 2, 3, 5]), draw.choice([1, 2, 3, 4])
        return add(nn.Conv2d(channels, out, kernel, **settings))

    def any_convolution(channels):
        layer = convolution(channels, stride=(draw.choice([1, 2]), draw.choice([1, 2, 3])))
        layer.dilation = draw.choice([1, 2]), draw.choice([1, 3])
        layer.padding = draw.choice([0, 1, 2]), draw.choice([0, 1, 3])
        return lambda x: layer(x)

    def pooling(channels):
        kind = draw.choice([nn.MaxPool2d, nn.AvgPool2d])
        pool = add(
            kind((2, 3), stride=draw.choice([None, 1, 2]), padding=(1, 0), ceil_mode=draw.random() < 0.5)
        )
        return lambda x: pool(x)

    def functional_pooling(channels):
        stride = draw.choice([None, 1, (2, 1)])
        return lambda x: functional.max_pool2d(functional.relu(x), 3, stride, padding=1)

    def residual(channels):
        a, b = (
            convolution(channels, channels, padding="same", dilation=draw.choice([1, 2])) for _ in range(2)
        )
        shortcut = draw.random() < 0.5
        return lambda x: functional.relu(b(a(x).relu())) + (x if shortcut else a(x))

    def strided_residual(channels):
        a, shortcut = add(nn.Conv2d(channels, 3, 3, 2, padding=1)), add(nn.Conv2d(channels, 3, 1, 2))
        return lambda x: a(x) + shortcut(x)

    def concatenation(channels):
        a, b, c = (convolution(n, 1, padding="same") for n in (channels, channels, 1))
        return lambda x: torch.cat([a(x), functional.avg_pool2d(c(b(x)), (3, 5), 1, (1, 2))], dim=1)

    def padding(channels):
        edges = tuple(draw.choice([0, 1, 2]) for _ in range(4))
        pad = add(nn.ZeroPad2d(edges))
        return lambda x: functional.pad(pad(x), edges[:2])

    kinds = [any_convolution, any_convolution, pooling, functional_pooling, residual, strided_residual]
    channels = 3
    for kind in draw.sample([*kinds, concatenation, padding], 4):
        steps.append(kind(channels))
        channels = (
            2 if kind is concatenation else 3 if kind in (any_convolution, strided_residual) else channels
        )

    def run(self, x):
        for step in steps:
            x = step(x)
        return x

    return positive(net(run, **layers))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("seed", range(40))
def test_random_nets_against_the_gradient(seed):
    model = random_net(seed)
    size = (110, 150)
    field = receptive_field(model, "out", size)
    assert field.units == tuple(model(noise(1, 3, *size)).shape[2:])
    assert receptive_field(model, "out").start == field.start
    check_against_gradient(model, "out", size)


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("resnet18", "layer2.0", 128),
        ("googlenet", "inception3b", 128),
        ("inception_v3", "Mixed_5b", 128),
        ("densenet121", "features.denseblock1.denselayer2", 96),
        ("mobilenet_v2", "features.5", 128),
        ("squeezenet1_1", "features.6", 128),
        ("squeezenet1_0", "features.5", 96),
    ],
)
def test_torchvision_models_against_the_gradient(name, layer, size):
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if settings:
        settings["aux_logits"] = False
    model = positive(torchvision.models.get_model(name, weights=None, **settings))
    check_against_gradient(model, layer, (size, size + 10))


def test_the_courses_own_networks():
    model = positive(networks.alexnet())
    sizes = {
        name: receptive_field(model, name).size[0] for name in ("conv1", "pool1", "conv2", "conv3", "conv5")
    }
    # 9; + 2 steps of 2; + 4 of 4; then + 2 of 4 for pool2 and + 2 of 8 for each later convolution
    assert sizes == {"conv1": 9, "pool1": 13, "conv2": 29, "conv3": 53, "conv5": 85}
    check_against_gradient(model, "conv3", (96, 96))
    assert receptive_field(model, "fc6", (96, 96)).whole
    check_against_gradient(positive(networks.resnet(4)), "layer2.0", (96, 96))


@pytest.mark.parametrize(
    ("name", "layer"), [("mobilenet_v3_small", "features.2"), ("efficientnet_b0", "features.2")]
)
def test_squeeze_excitation_sees_everything_and_local_leaves_it_out(name, layer):
    model = positive(torchvision.models.get_model(name, weights=None))
    field = receptive_field(model, layer, (64, 80))
    assert field.whole and field.box(1, 1) == (0, 0, 64, 80)
    assert by_gradient(model, noise(1, 3, 64, 80), layer, 0, 0) == (0, 0, 64, 80)
    local = receptive_field(model, layer, (64, 80), local=True)
    assert receptive_field(model, layer, local=True).size == local.size
    for parent in list(model.modules()):
        for child, module in list(parent.named_children()):
            if isinstance(module, torchvision.ops.SqueezeExcitation):
                setattr(parent, child, nn.Identity())
    assert receptive_field(model, layer, (64, 80)) == local
    check_against_gradient(model, layer, (64, 80))


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False)]
)
def test_statistics_of_the_map_see_everything(norm):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), norm, nn.ReLU()).double().eval()
    assert receptive_field(model, "2", (12, 12)).whole
    assert by_gradient(model, noise(2, 3, 12, 12), "1", 5, 5) == (0, 0, 12, 12)
    assert receptive_field(model, "2", (12, 12), local=True).size == (3, 3)
    model[1] = nn.BatchNorm2d(2)  # in evaluation mode: numbers from training
    assert receptive_field(model, "2").size == (3, 3)


@pytest.mark.parametrize(
    "end",
    [
        lambda self, x: x.mean((2, 3)),
        lambda self, x: x.mean((-1, -2), keepdim=True),
        lambda self, x: torch.mean(x, dim=[2, 3]),
        lambda self, x: x.amax(axis=(2, 3)),
        lambda self, x: x.flatten(1),
        lambda self, x: torch.flatten(x, start_dim=1),
        lambda self, x: x.view(x.size(0), -1),
        lambda self, x: x.view(-1, 4 * 7 * 7),
        lambda self, x: x.reshape((x.shape[0], -1)),
        lambda self, x: functional.adaptive_avg_pool2d(x, 1),
        lambda self, x: functional.adaptive_max_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1),
        lambda self, x: functional.adaptive_avg_pool2d(x, (5, 3)).flatten(
            1
        ),  # uneven windows do not matter here
        lambda self, x: functional.interpolate(x, scale_factor=2).sum((2, 3)),
        lambda self, x: self.up(x).flatten(1),
    ],
)
def test_whatever_ends_in_one_place_sees_the_whole_image(end):
    layers = {"conv": nn.Conv2d(3, 4, 3), "up": nn.ConvTranspose2d(4, 2, 2, stride=2)}
    model = net(lambda self, x: end(self, self.conv(x).relu()), **layers)
    assert model(torch.zeros(2, 3, 9, 9)).ndim in (2, 4)
    assert receptive_field(model, "out", (9, 9)).whole
    assert not receptive_field(model, "conv", (9, 9)).whole


@pytest.mark.parametrize(
    "end",
    [
        lambda self, x: x.mean(3, keepdim=True),
        lambda self, x: x.mean(-1, True),
        lambda self, x: x.mean(axis=3, keepdim=True),
        lambda self, x: self.linear(x),
        lambda self, x: functional.adaptive_avg_pool2d(x, (None, 1)),
    ],
)
def test_what_mixes_one_axis_is_whole_along_that_axis_alone(end):
    model = net(lambda self, x: end(self, self.conv(x)), conv=nn.Conv2d(3, 2, 3), linear=nn.Linear(18, 4))
    assert by_gradient(model, noise(4, 3, 9, 20).float(), "out", 2, 0) == (2, 0, 5, 20)
    field = receptive_field(model, "out", (9, 20))
    assert (field.size, field.stride, field.whole) == ((3, 20), (1, 0), False)
    assert field.box(2, 0) == (2, 0, 5, 20)


def test_functions_and_methods_count_like_modules():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(2, 3, 3, 5)), nn.Parameter(torch.ones(2))
            self.register_buffer("blur", torch.ones(2, 1, 2, 2))
            self.after = nn.Identity()

        def forward(self, x, scale=None, flip=False):
            red = torch.unsqueeze(x[:, 0], 1) * 0.5
            x = torch.cat((red, x[:, 1:]), 1)
            if flip:
                x = x.flip(3)
            if scale is not None:
                x = x * scale
            x = functional.conv2d(x, self.weight, self.bias, stride=(1, 2), padding=(1, 2))
            a, b = x.chunk(2, dim=1)
            x = functional.relu_(torch.cat([b, a], 1) + x.shape[1])
            x = functional.conv2d(functional.pad(x, (1, 0, 1, 0)), self.blur, None, 2, 1, 1, 2)
            x += 1
            return self.after(functional.avg_pool2d(x, 2, ceil_mode=True))

    model = positive(Own())
    field = receptive_field(model, "after", (30, 40))
    assert (field.size, field.stride, field.start) == ((6, 11), (4, 8), (-3, -6))
    assert field.units == tuple(model(noise(1, 3, 30, 40)).shape[2:])
    check_against_gradient(model, "after", (30, 40))


def test_a_layer_used_twice_is_taken_at_its_last_use():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = positive(nn.Sequential(conv, nn.ReLU(), conv))
    assert receptive_field(model, "0") == receptive_field(model, "2")
    assert receptive_field(model, "0").size == (5, 5)
    check_against_gradient(model, "0", (12, 12))


def test_containers_tuples_and_subclasses():
    class Plain(nn.BatchNorm2d):
        """Keeps nn.BatchNorm2d's forward."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large = Plain(3), nn.MaxPool2d(5, 1, 2, return_indices=True)

        def forward(self, x):
            pooled, _ = self.large(self.small(x))
            return {"pooled": pooled, "small": self.small(x)}

    model = net(lambda self, x: self.last(self.two(x)["small"]), two=Two(), last=nn.Conv2d(3, 1, 3))
    assert receptive_field(model, "two").size == (5, 5), "as hooks.record: the first tensor"
    assert receptive_field(model, "last").size == (3, 3)


def message(error, model, layer="out", size=None, **settings):
    with pytest.raises(error) as caught:
        receptive_field(model, layer, size, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda self, x: self.conv(x) + functional.max_pool2d(x, 1, 2)[:, :2], "maps of stride 1 and 2 meet"),
        (lambda self, x: self.conv(x)[:, :, 1:], "getitem"),
        (lambda self, x: torch.cat([self.conv(x), self.conv(x)], 3), "cat"),
        (lambda self, x: self.up(self.conv(x)), "convtranspose2d.*'up'"),
        (lambda self, x: functional.interpolate(self.conv(x), scale_factor=2), "interpolate"),
        (lambda self, x: self.conv(x).transpose(2, 3), "transpose"),
        (lambda self, x: torch.roll(self.conv(x), 1), "roll"),
        (lambda self, x: self.conv(x).mean(1), "mean"),
        (lambda self, x: self.conv(x).view(1, 1, 2, 100), "view"),
        (lambda self, x: functional.avg_pool2d(x, x.size()[2:]), "avgpool2d"),
        (lambda self, x: functional.adaptive_avg_pool2d(x, 5), "multiple"),
        (lambda self, x: functional.conv2d(x, self.conv(x)), "conv2d"),
        (lambda self, x: functional.pad(x, (1, 1), mode="reflect"), "mode reflect"),
        (lambda self, x: self.ring(x), "mode circular"),
        (lambda self, x: self.mirror(x), "mode reflect"),
    ],
)
def test_what_has_no_grid_is_said_and_can_be_measured(run, said):
    model = net(
        run,
        conv=nn.Conv2d(3, 2, 1),
        up=nn.ConvTranspose2d(2, 1, 2, stride=2),
        ring=nn.Conv2d(3, 1, 3, padding=1, padding_mode="circular"),
        mirror=nn.Conv2d(3, 1, 3, padding=2, padding_mode="reflect"),
    )
    with pytest.raises(ValueError, match=said) as caught:
        receptive_field(model, "out", (11, 11))
    assert "by_gradient" in str(caught.value)


def test_mirrored_padding_that_the_window_sees_anyway():
    model = nn.Sequential(nn.Conv2d(3, 2, 5, 2, padding=2, padding_mode="reflect"), nn.ReLU())
    model.append(nn.Conv2d(2, 1, 3, padding=1, padding_mode="replicate"))
    check_against_gradient(positive(model), "2", (30, 31))


def test_maps_of_different_size_meet():
    model = net(lambda self, x: self.one(x) + x.mean(3, keepdim=True), one=nn.Conv2d(3, 3, (9, 1)))
    assert "maps of count 1 and 9 meet" in message(ValueError, model, size=(9, 9))


def test_dynamic_control_flow_is_said_and_can_be_measured():
    model = net(lambda self, x: self.conv(x) if x.sum() > 0 else x, conv=nn.Conv2d(3, 2, 3))
    model.train()
    said = message(ValueError, model, "conv")
    assert said.startswith("torch.fx cannot follow the model (") and "by_gradient" in said
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert by_gradient(model, noise(1, 3, 9, 9).float(), "conv", 0, 4) == (0, 4, 3, 7)
    model = net(lambda self, x: torch.stack([self.conv(image) for image in x]), conv=nn.Conv2d(3, 2, 3))
    assert ". " not in message(ValueError, model, "conv"), "one sentence of torch's many"


def test_errors_about_layers_and_sizes():
    model = torchvision_model("googlenet", init_weights=False)
    assert "did you mean 'inception3b' or 'inception3a'" in message(hooks.LayerError, model, "inception3")
    assert "evaluation mode" in message(hooks.LayerError, model, "aux1")
    assert "is too small" in message(ValueError, model, "fc", (14, 400))
    for size in (224, (224,), (0, 5), (3, 4, 5), (224.0, 224)):
        assert "(height, width)" in message(ValueError, model, "conv1", size)
    model = net(lambda self, x: x + self.lonely(self.table), lonely=nn.ReLU())
    model.table = nn.Parameter(torch.ones(1))
    assert "does not depend on the image" in message(ValueError, model, "lonely")
    assert "needs input_size" in message(ValueError, torchvision_model("alexnet"), "avgpool")


def test_adaptive_pooling_needs_the_size_of_the_image():
    model = torchvision_model("alexnet")
    assert receptive_field(model, "avgpool", (224, 224)) == receptive_field(model, "features.12", (224, 224))
    model = positive(nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.AdaptiveAvgPool2d((4, None))))
    field = receptive_field(model, "1", (12, 7))
    assert (field.size, field.stride, field.units) == ((5, 3), (3, 1), (4, 7))
    check_against_gradient(model, "1", (12, 7))


def test_nothing_is_changed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    model[2].eval()
    model[1].bias.requires_grad_(False)
    x = torch.randn(3, 3, 9, 9).requires_grad_()
    kept, flags, before = x.detach().clone(), [m.training for m in model.modules()], torch.get_rng_state()
    numbers = {key: value.clone() for key, value in model.state_dict().items()}
    receptive_field(model, "3", (9, 9))
    with torch.no_grad():
        by_gradient(model, x, "3", 2, 2)
        effective(model, x, "3")
    for call in (lambda: by_gradient(model, x, "3", 99, 0), lambda: receptive_field(model, "4")):
        with pytest.raises(ValueError):
            call()
    assert [m.training for m in model.modules()] == flags
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in model.parameters()) and x.grad is None
    assert torch.equal(x, kept) and torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, numbers[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_by_gradient_unites_images_and_takes_the_middle():
    model = nn.Sequential(nn.Conv2d(3, 1, 3, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9, 2))
    x = noise(30, 3, 8, 8).float()
    boxes = [by_gradient(model, image[None], "1", 1, 1) for image in x]
    assert all(bottom - top == right - left == 3 for top, left, bottom, right in boxes), "one window wins"
    assert by_gradient(model, x, "1", 1, 1) == by_gradient(model, x, "1") == (2, 2, 6, 6)
    assert by_gradient(model, x, "3") == (0, 0, 8, 8)
    assert by_gradient(model, x, "0") == (3, 3, 6, 6), (
        "of an even number, the second of the two in the middle"
    )


def test_by_gradient_and_effective_refuse_bad_input():
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.Unflatten(1, (2, 2))
    )
    x = torch.randn(2, 3, 5, 5)
    bad = x.clone()
    bad[0, 0, 0, 0] = math.nan
    for images in (bad, x[:0], x[0], x.long()):
        with pytest.raises(ValueError, match="finite images"):
            by_gradient(model, images, "1")
    for layer, row, column in (("1", 3, 0), ("1", 0, -1), ("3", 0, 0), ("3", None, 1), ("4", None, None)):
        with pytest.raises(ValueError, match=f"'{layer}' gives .*: no "):
            by_gradient(model, x, layer, row, column)
    with pytest.raises(ValueError, match=r"no .*2, None, None"):
        effective(model, x, "1", channel=2)
    with pytest.raises(ValueError, match="1 or more"):
        effective(model, x, "1", batch=0)
    with pytest.raises(hooks.LayerError, match="no layer 'conv'"):
        by_gradient(model, x, "conv")
    nn.init.constant_(model[0].bias, -1e9)
    with pytest.raises(ValueError, match="No pixel moves"):
        by_gradient(model, x, "1")
    with pytest.raises(ValueError, match="No pixel moves"):
        by_gradient(net(lambda self, x: x.detach()), x, "out")
    with pytest.raises(ValueError, match="not finite"):
        by_gradient(net(lambda self, x: (x - x).sqrt()), x, "out")


def test_effective_field_of_one_convolution_is_its_weights():
    model = nn.Sequential(nn.Conv2d(3, 2, 3, bias=False), nn.Tanh())
    x = torch.randn(5, 3, 9, 11)
    influence = effective(model, x, "0", channel=1)
    assert influence.shape == (9, 11) and influence.dtype == torch.float32 and not influence.requires_grad
    weight = model[0].weight[1].detach().abs().sum(0)
    assert torch.allclose(influence[3:6, 4:7], weight / weight.sum(), atol=1e-6)
    assert influence.sum().item() == pytest.approx(1, abs=1e-6) == influence[3:6, 4:7].sum().item()
    weight = model[0].weight.detach().sum(0).abs().sum(0)  # the channels' sum
    assert torch.allclose(effective(model, x, "0")[3:6, 4:7], weight / weight.sum(), atol=1e-6)


def test_effective_field_is_a_mean_over_images_whatever_the_batch():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3), nn.Tanh())
    x = torch.randn(5, 3, 9, 9)
    pixels = x.clone().requires_grad_()
    model(pixels)[:, 1, 2, 2].sum().backward()
    expected = sum(pixels.grad[n].abs().sum(0) for n in range(5))
    for batch in (1, 2, 16):
        influence = effective(model, x, "3", 1, batch)
        assert torch.allclose(influence, expected / expected.sum(), atol=1e-6)


def test_effective_fields_grow_like_a_root():
    """Luo et al.: n layers of uniform 3 × 3 windows are nearly a Gaussian of variance 2n/3 along each axis."""
    for layers in (10, 20):
        model = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(layers)))
        for p in model.parameters():
            nn.init.constant_(p, 1 / 9)
        influence = effective(model, torch.zeros(1, 1, 61, 61), str(layers - 1))
        axis = torch.arange(61) - 30
        assert (influence.sum(1) * axis**2).sum().item() == pytest.approx(2 * layers / 3, rel=1e-4)
        # A disc of radius r holds 1 - exp(-r² / 2σ²).
        expected = math.sqrt(math.pi * 2 * (2 * layers / 3) * math.log(20))
        assert side(influence) == pytest.approx(expected, rel=0.03)
        assert side(influence) < 0.8 * receptive_field(model, str(layers - 1)).size[0]


def test_side_by_hand():
    field = torch.zeros(20, 30)
    field[3:13, 5:15] = 1.0
    assert side(field, 1.0) == pytest.approx(10)
    assert side(field) == pytest.approx(math.sqrt(95))
    for scale in (1 / 3, 0.01, 7e-9, 1e9 / 7):  # sums are rounded
        assert [round(side(scale * field, share) ** 2) for share in (0.05, 0.07, 0.29, 0.57, 0.95)] == [
            5,
            7,
            29,
            57,
            95,
        ]
    assert side(torch.tensor([[3.0, 1.0]]), 0.75) == 1 and side(
        torch.tensor([[3.0, 1.0]]), 0.76
    ) == math.sqrt(2)
    for wrong in (-field, field * 0, field[0], field / 0):
        with pytest.raises(ValueError, match="influence map"):
            side(wrong)
    for share in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share"):
            side(field, share)
