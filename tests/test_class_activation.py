"""Class activation maps: by hand, against captum, and CAM against Grad-CAM."""

from collections.abc import Callable

import captum.attr
import pytest
import torch
from test_saliency import ARCHITECTURES, built, close, pictures
from torch import Tensor, nn

from cnnvis_helpers.class_activation import cam, grad_cam, grad_cams, upsample
from cnnvis_helpers.hooks import LayerError

LAYERS = {  # before and behind ReLUs in place, blocks, early and late
    "alexnet": ["features.0", "features.3", "features.10", "features.11"],
    "vgg11": ["features.8", "features.18", "features.19"],
    "resnet18": ["conv1", "bn1", "layer2.0.conv1", "layer4"],
    "googlenet": ["conv2", "inception3b.branch1.bn", "inception5b"],
}


def state(model: nn.Module) -> list[object]:
    """Everything that a look inside might leave behind."""
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]
    parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in model.parameters()]
    return [modules, parameters, [b.float().sum().item() for b in model.buffers()]]


class Tiny(nn.Module):
    """Red and blue as two channels of maps, average pooling, two classes: 2 red − blue + 1 and 4 blue."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(2, 2)
        self.unused = nn.Conv2d(3, 2, 1)
        self.conv.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1]]).view(2, 3, 1, 1)
        self.fc.weight.data = torch.tensor([[2.0, -1], [0, 4]])
        self.fc.bias.data = torch.tensor([1.0, 0])

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.fc(self.flatten(self.relu(self.conv(x)).mean((2, 3), keepdim=True)))


def red_and_blue() -> Tensor:
    """One image, 1 × 4: red 3 at the first pixel, blue 5 at the third, both −2 at the last."""
    x = torch.zeros(1, 3, 1, 4)
    x[0, 0, 0, 0], x[0, 2, 0, 2], x[0, :, 0, 3] = 3.0, 5.0, -2.0
    return x


# --- by hand ----------------


def test_by_hand() -> None:
    model, x = Tiny(), red_and_blue()
    # Logits: 2 · 3/4 − 5/4 + 1 = 1.25 and 5. CAM weighs the maps (3, 0, 0, 0) and (0, 0, 5, 0) as the logit does.
    assert cam(model, x, "relu", "fc", 0).tolist() == [[[6.0, 0, -5, 0]]]
    assert cam(model, x, "relu", "fc").tolist() == [[[0.0, 0, 20, 0]]], "class 1 is the predicted one"
    # The gradient by each of the 4 positions is a quarter of the weight.
    assert grad_cam(model, x, "relu", 0, rectify=False).tolist() == [[[1.5, 0, -1.25, 0]]]
    assert grad_cam(model, x, "relu", 0).tolist() == [[[1.5, 0, 0, 0]]]
    # Before the ReLU: the gradient of red is 2/4 at one position in four, so α = 1/8; blue's is −1/16; and the map
    # still holds its negative values, although the ReLU works in place.
    before = grad_cam(model, x, "conv", 0, rectify=False)
    assert before.tolist() == [[[3 / 8, 0, -5 / 16, -2 / 8 + 2 / 16]]]


def test_upsample_by_hand() -> None:
    maps = torch.tensor([[[0.0, 4.0]]])
    assert upsample(maps, (2, 4)).tolist() == [[[0, 1, 3, 4], [0, 1, 3, 4]]]
    assert upsample(maps, 3).tolist() == [[[0, 2, 4]] * 3]
    assert upsample(maps, torch.Size([1, 2])).tolist() == maps.tolist()
    expected = captum.attr.LayerAttribution.interpolate(maps[:, None], (5, 9), "bilinear")[:, 0]
    assert torch.equal(upsample(maps, (5, 9)), expected)
    with pytest.raises(ValueError, match=r"\(N, h, w\)"):
        upsample(maps[None], 4)
    with pytest.raises(ValueError, match="1 or more"):
        upsample(maps, (0, 4))


# --- independent oracles ----------------


@pytest.mark.parametrize("name", LAYERS)
def test_grad_cam_equals_captum(name: str) -> None:
    model, size, layers = built(name), ARCHITECTURES[name][1], LAYERS[name]
    x, classes = pictures(3, size), torch.tensor([5, 0, 5])
    all_at_once = grad_cams(model, x, layers, classes)
    assert list(all_at_once) == layers
    for layer in layers:
        oracle = captum.attr.LayerGradCam(model, model.get_submodule(layer))
        signed = oracle.attribute(x, classes)[:, 0].detach()
        assert close(grad_cam(model, x, layer, classes, rectify=False), signed), layer
        rectified = oracle.attribute(x, classes, relu_attributions=True)[:, 0].detach()
        assert close(grad_cam(model, x, layer, classes), rectified, scale=signed), layer
        assert close(all_at_once[layer], rectified, scale=signed), layer


@pytest.mark.parametrize(
    ("name", "conv", "linear"), [("resnet18", "layer4", "fc"), ("googlenet", "inception5b", "fc")]
)
def test_cam_is_grad_cam_times_the_positions(name: str, conv: str, linear: str) -> None:
    model, size = built(name), 96
    x = pictures(2, size)
    y = model(x).detach()
    worst = int(y.mean(0).argmin())
    for target in (worst, [1, 6], None):
        maps = cam(model, x, conv, linear, target)
        positions = maps.shape[1] * maps.shape[2]
        assert maps.dtype == torch.float32 and positions == 9
        assert close(grad_cam(model, x, conv, target, rectify=False) * positions, maps)
        assert close(grad_cam(model, x, conv, target) * positions, maps.relu(), scale=maps)
    maps = cam(model, x, conv, linear, worst)
    assert (maps < 0).any() and (grad_cam(model, x, conv, worst) >= 0).all()
    logit = maps.mean((1, 2)) + model.get_submodule(linear).bias[worst]
    assert close(logit.detach(), y[:, worst], scale=maps)


def test_a_layer_that_runs_twice_gives_its_last_output() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu, self.fc = (
                nn.Conv2d(3, 4, 3),
                nn.Conv2d(4, 5, 3),
                nn.ReLU(inplace=True),
                nn.Linear(5, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.relu(self.b(self.relu(self.a(x)))).mean((2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Twice()
    x = pictures(2, 8)
    assert close(grad_cam(model, x, "relu", 1, rectify=False) * 16, cam(model, x, "relu", "fc", 1))


def test_images_do_not_influence_one_another() -> None:
    model, x = built("resnet18"), pictures(3, 64)
    together = grad_cam(model, x, "layer3", [0, 1, 2], rectify=False)
    for i in range(3):
        assert close(together[i : i + 1], grad_cam(model, x[i : i + 1], "layer3", i, rectify=False))


# --- manners ----------------

METHODS: dict[str, Callable[..., Tensor]] = {
    "grad_cam": lambda m, x, *c: grad_cam(m, x, "relu", *c),
    "cam": lambda m, x, *c: cam(m, x, "relu", "fc", *c),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every_method
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(method: Callable[..., Tensor], mode: type) -> None:
    model, x = Tiny().train(), red_and_blue()
    model.fc.eval()
    model.conv.weight.requires_grad_(False)
    before = state(model)
    for images in (x, x.clone().requires_grad_()):
        with mode():
            maps = method(model, images, 0)
            assert torch.equal(maps, method(model, images, 0))
        assert maps.shape == (1, 1, 4) and not maps.requires_grad
        assert torch.equal(images, red_and_blue()) and images.grad is None
    assert state(model) == before


class Returns(Tiny):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> object:  # type: ignore[override]
        return self.change(super().forward(x))


def stop(y: Tensor) -> Tensor:
    raise KeyboardInterrupt("by hand")


@every_method
@pytest.mark.parametrize(
    ("model", "x", "target", "said"),
    [
        (Tiny(), red_and_blue() * float("nan"), None, "NaN"),
        (Tiny(), red_and_blue().long(), None, "finite floats"),
        (Tiny(), red_and_blue()[:0], None, "no image"),
        (Tiny(), red_and_blue()[0], None, r"x\[None\]"),
        (Tiny(), red_and_blue(), 2, "no class 2"),
        (Tiny(), red_and_blue(), [0, 1], "one for each of 1 images"),
        (Returns(lambda y: (y, y)), red_and_blue(), None, "returns a tuple"),
        (Returns(lambda y: {"out": y}), red_and_blue(), None, "returns a dict"),
        (Returns(stop), red_and_blue(), None, "by hand"),
    ],
)
def test_bad_input_gets_a_sentence_and_leaves_nothing_behind(
    method: Callable[..., Tensor], model: Tiny, x: Tensor, target: object, said: str
) -> None:
    before = state(model.train())
    with pytest.raises((ValueError, KeyboardInterrupt), match=said):
        method(model, x, target)
    assert state(model) == before


def test_layers_without_maps() -> None:
    model, x = Tiny(), red_and_blue()
    with pytest.raises(LayerError, match=r"'fc' gives \(1, 2\).* give maps are: unused, conv, relu\."):
        grad_cam(model, x, "fc")
    with pytest.raises(LayerError, match=r"'flatten' gives \(1, 2\)"):
        grad_cams(model, x, ["relu", "flatten"])
    with pytest.raises(LayerError, match=r"'relu' gives \(1, 2, 1, 1\).* give maps are: none"):
        grad_cam(model, x[..., :1], "relu")  # one position: nothing to tell apart
    with pytest.raises(LayerError, match="did you mean 'conv'"):
        grad_cam(model, x, "conv1")
    with pytest.raises(LayerError, match="No gradient of the logits reaches layer 'unused'"):
        grad_cam(model, x, "unused")
    with pytest.raises(LayerError, match="No gradient of the logits reaches layer 'unused'"):
        grad_cams(model, x, ["relu", "unused"])
    with pytest.raises(LayerError, match="No gradient"):
        grad_cam(Returns(lambda y: y.detach()), x, "relu")
    model.aux = nn.Conv2d(3, 2, 1)
    with pytest.raises(LayerError, match="'aux' gives no tensor"):
        grad_cam(model, x, "aux")
    assert grad_cams(model, x, []) == {} and list(grad_cams(model, x, "relu")) == ["relu"]


def test_cam_refuses_what_is_no_average_pooling_into_a_linear_layer() -> None:
    model, x = Tiny(), red_and_blue()
    with pytest.raises(ValueError, match="2 channels of 'conv', but 'relu' is none"):
        cam(model, x, "conv", "relu")
    with pytest.raises(
        ValueError, match=r"256 channels of 'features\.11', but 'classifier\.6' has 32 inputs"
    ):
        cam(built("alexnet"), pictures(1, 96), "features.11", "classifier.6")
    with pytest.raises(ValueError, match="something lies between"):
        cam(model, x, "conv", "fc")  # the ReLU does
    with pytest.raises(ValueError, match="something lies between"):
        cam(Returns(lambda y: y[:, :1]), x, "relu", "fc")
    with pytest.raises(LayerError, match="no layer 'last'"):
        cam(model, x, "relu", "last")
    with pytest.raises(LayerError, match=r"'flatten' gives \(1, 2\)"):
        cam(model, x, "flatten", "fc")
