"""All maps by one call equal those of the methods' own modules; scores and the stored table are what they say."""

import pytest
import torch
from torch import nn

from cnnvis_helpers import (
    attribution,
    class_activation,
    diorama,
    faithfulness,
    occlusion,
    rise,
    saliency,
    zoo,
)

SIZE = 24


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 5, 2), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Dropout(),
            nn.Flatten(), nn.Linear(8 * 8 * 8, 4),
        )  # fmt: skip


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


CHOSEN = torch.tensor([2, 0, 3])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_every_map_is_that_of_its_own_module(model: nn.Module, x: torch.Tensor) -> None:
    made = attribution.maps(model, x, "3", CHOSEN, masks=30, samples=4, steps=5)
    assert tuple(made) == attribution.METHODS
    assert all(m.shape == (3, SIZE, SIZE) and m.dtype == torch.float32 for m in made.values())
    fold = saliency.saliency_map
    hidden = occlusion.occlude(model, x, window=6, stride=2)
    smooth = [saliency.smooth_grad(model, x[i : i + 1], int(CHOSEN[i]), samples=4, generator=seeded())
              for i in range(3)]  # fmt: skip
    shown = rise.rise(model, x, CHOSEN, masks=30, generator=seeded())
    expected = {
        "occlusion": hidden.attribution(CHOSEN),
        "gradient": fold(saliency.gradient(model, x, CHOSEN)),
        "SmoothGrad": fold(torch.cat(smooth)),
        "integrated gradients": fold(saliency.integrated_gradients(model, x, CHOSEN, steps=5)),
        "Grad-CAM": class_activation.upsample(class_activation.grad_cam(model, x, "3", CHOSEN), SIZE),
        "RISE": shown - shown.mean((1, 2), keepdim=True),
    }
    for name, right in expected.items():
        torch.testing.assert_close(made[name], right, rtol=1e-4, atol=1e-6, msg=name)


def test_an_image_has_the_same_maps_in_any_company(model: nn.Module, x: torch.Tensor) -> None:
    together = attribution.maps(model, x, "3", CHOSEN, masks=30, samples=4, steps=5, batch=7)
    alone = attribution.maps(model, x[1:2], "3", CHOSEN[1:2], masks=30, samples=4, steps=5)
    for name in attribution.METHODS:
        torch.testing.assert_close(together[name][1:2], alone[name], rtol=1e-4, atol=1e-6, msg=name)


def test_maps_are_for_the_predicted_class_unless_told_otherwise(model: nn.Module, x: torch.Tensor) -> None:
    model.eval()
    best = model(x).argmax(1)
    own = attribution.maps(model, x, "3", methods=["gradient", "Grad-CAM"])
    told = attribution.maps(model, x, "3", best, methods=["gradient", "Grad-CAM"])
    assert list(own) == ["gradient", "Grad-CAM"]
    assert all(torch.equal(own[name], told[name]) for name in own)
    model.train()
    attribution.maps(model, x, "3", methods=["gradient"])
    assert model.training


def test_an_unknown_method_is_named(model: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="no method 'LIME'; there are occlusion"):
        attribution.maps(model, x, "3", methods=["LIME"])


def test_scores_are_those_of_faithfulness(model: nn.Module, x: torch.Tensor) -> None:
    maps = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    masks = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    masks[:, 4:15, 6:20] = True
    found = attribution.scores(model, x, maps, masks, CHOSEN, steps=5)
    assert tuple(found) == attribution.SCORES
    expected = (
        faithfulness.pointing_game(maps, masks).float(),
        faithfulness.share_inside(maps, masks),
        faithfulness.iou(maps, masks),
        faithfulness.deletion(model, x, maps, CHOSEN, steps=5).area,
        faithfulness.insertion(model, x, maps, CHOSEN, steps=5).area,
    )
    for name, right in zip(attribution.SCORES, expected, strict=True):
        torch.testing.assert_close(found[name], right, msg=name)


def test_the_stored_table_is_whole() -> None:
    table = attribution.stored()
    assert list(table.index) == list(range(520))
    assert table.min().min() >= 0 and table.max().max() <= 1
    empty = table.columns[
        table.isna().any()
    ].tolist()  # a Grad-CAM that is zero everywhere has no share of anything
    assert empty == [("Grad-CAM", "untrained", "share inside")] and table[empty].isna().sum().item() < 30
    for method in attribution.METHODS:
        for kind in ("trained", "shuffled", "untrained"):
            assert set(table[method, kind].columns) == set(attribution.SCORES)
    for method in ("noise", "centre"):
        assert set(table[method, "null"].columns) == set(attribution.SCORES)
    for column in (c for c in table.columns if c[2] == "pointing"):
        assert set(table[column].unique()) <= {0.0, 1.0}


def test_the_stored_table_is_about_the_network_that_the_package_ships() -> None:
    numbers = [3, 250]
    batch = diorama.collate([diorama.render("test", i) for i in numbers])
    masks = torch.from_numpy(batch.instance)
    net, table = zoo.load("diorama/alexnet"), attribution.stored().loc[numbers]
    assert torch.allclose(
        torch.tensor(table["area", "null", "share inside"].to_numpy()).float(),
        faithfulness.area(masks), atol=6e-4,
    )  # fmt: skip
    x = net.prepare(batch.images)
    made = attribution.maps(net.model, x, "relu5", batch.labels)
    for method, maps in made.items():
        for score, values in attribution.scores(net.model, x, maps, masks, batch.labels).items():
            known = torch.tensor(table[method, "trained", score].to_numpy()).float()
            assert torch.allclose(values, known, atol=0.01), (method, score)
