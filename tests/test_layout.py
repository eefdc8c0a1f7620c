"""The layout of a batch: values as in the usual one, for models that take it and for models that do not."""

import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import (
    adversarial,
    backward_rules,
    class_activation,
    evolution,
    hooks,
    layout,
    occlusion,
    rise,
    saliency,
)
from cnnvis_helpers.survey import TopK, survey


class Flattens(nn.Module):
    """The network of many a tutorial: `view` between maps and rows; `reshape` asks nothing of the layout."""

    def __init__(self, by: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(6 * 3 * 3, 5)
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        rows: Tensor = getattr(maps, self.by)(x.shape[0], -1)
        y: Tensor = self.classifier(rows)
        return y


@pytest.fixture
def x() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_layout_changes_strides_alone(x: Tensor) -> None:
    turned = layout.channels_last(x)
    assert torch.equal(turned, x) and turned.stride() == (3 * 256, 1, 3 * 16, 3)
    assert layout.channels_last(turned) is turned
    rows = torch.zeros(2, 5)
    assert layout.channels_last(rows) is rows


def test_a_model_gets_the_layout_and_the_same_values_come_out(x: Tensor) -> None:
    model, seen = Flattens("reshape"), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].stride()))
    torch.testing.assert_close(layout.run(model, x), model(x))
    assert seen == [(768, 1, 48, 3), x.stride()]


def test_a_view_is_run_in_the_usual_layout(x: Tensor) -> None:
    with pytest.raises(RuntimeError, match="view size"):
        Flattens("view")(layout.channels_last(x))
    torch.testing.assert_close(layout.run(Flattens("view"), layout.channels_last(x)), Flattens("view")(x))


def test_other_errors_pass(x: Tensor) -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        layout.run(Flattens("view"), x[:, :1])


def test_no_second_run_on_images_that_the_first_has_changed(x: Tensor) -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), Flattens("view"))
    with pytest.raises(RuntimeError, match="view size"):
        layout.run(model, layout.channels_last(x - 0.5))


G = torch.Generator
METHODS = {
    "activations": lambda m, x: hooks.activations(m, x, "features.1")["features.1"],
    "describe": lambda m, x: torch.tensor([info.parameters for info in hooks.describe(m, x)]),
    "occlusion": lambda m, x: occlusion.occlude(m, x, window=5, stride=3, method="plain").logits,
    "incremental": lambda m, x: occlusion.occlude(m, x, window=5, stride=3, method="incremental").logits,
    "rise": lambda m, x: rise.rise(m, x, masks=40, generator=G().manual_seed(0)),
    "gradient": lambda m, x: saliency.gradient(m, x, 1),
    "guided": lambda m, x: backward_rules.project(m, x, 1),
    "of a layer": lambda m, x: backward_rules.project(m, x, layer="features.1"),
    "grad-cam": lambda m, x: class_activation.grad_cam(m, x, "features.1", 1),
    "fgsm": lambda m, x: adversarial.fgsm(m, x, 0.01, normalise=lambda i: i - 0.5),
    "evolution": lambda m, x: evolution.confidence(m, evolution.CPPN(16), normalise=lambda i: i)(
        torch.rand(3, evolution.CPPN(16).genes, generator=G().manual_seed(0))
    ),
    "survey": lambda m, x: survey(m, x, [TopK("features.1", 2)])[0].values,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turned", [False, True])
def test_methods_give_the_same_with_view_and_reshape(method: str, turned: bool, x: Tensor) -> None:
    given = layout.channels_last(x) if turned else x
    viewed, reshaped = (METHODS[method](Flattens(by), given) for by in ("view", "reshape"))
    torch.testing.assert_close(viewed, reshaped, rtol=1e-4, atol=1e-6)
