"""Surveys: statistics against full sorts and exact fractions; any split, order and interruption gives the same bits."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import hooks, survey
from cnnvis_helpers.survey import Moments, ResumeError, Statistic, Threshold, TopK, resume


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net() -> nn.Sequential:
    """Small whole-number weights: on whole-number images every order of summation gives the same bits."""
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 6 * 6, 4))
    g = generator(3)
    for parameter in model.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape, generator=g).float()
    return model


def photos(n: int, seed: int = 0) -> Tensor:
    return torch.randint(-4, 5, (n, 3, 8, 8), generator=generator(seed)).float()


def maps(n: int, channels: int = 4, size: int = 5, seed: int = 0) -> Tensor:
    """Activations with many ties, zeros, large and tiny values, and negative zeros."""
    g = generator(seed)
    a = torch.randint(-2, 4, (n, channels, size, size), generator=g).float()
    scale = 10.0 ** torch.randint(-30, 15, (n, channels, 1, 1), generator=g)
    return torch.where(torch.rand(a.shape, generator=g) < 0.5, a, a * scale) * -1.0 * -1.0


def statistics(images: int) -> list[Statistic]:
    basis = torch.tensor([[1.0, -1, 0, 0], [0, 0.5, 0.5, 0.25], [0, 0, 0, 1]])
    return [TopK("x", 3), TopK("x", 4, basis=basis), Moments("x"), Threshold("x", images, share=0.05)]


def fed(a: Tensor, indices: Tensor, images: int) -> list[Statistic]:
    made = statistics(images)
    for statistic in made:
        statistic.update(a, indices)
    return made


def bits(statistics: list[Statistic]) -> list[dict[str, bytes]]:
    return [{n: t.contiguous().numpy().tobytes() for n, t in s.state_dict().items()} for s in statistics]


# --- one statistic ---


def test_topk_is_a_full_sort() -> None:
    a = maps(40)
    top = TopK("x", 7)
    for part in torch.arange(40).split(9):
        top.update(a[part], part)
    assert top.values.shape == top.images.shape == (4, 7) and top.seen == 40
    for channel in range(4):
        peaks = [
            (-a[i, channel, r, c].item(), i, r, c) for i in range(40) for r in range(5) for c in range(5)
        ]
        best: dict[int, tuple[float, int, int, int]] = {}
        for entry in sorted(peaks):  # equal values: lowest image first, then first place by rows
            best.setdefault(entry[1], entry)
        wanted = sorted(best.values())[:7]
        found = zip(
            top.values[channel], top.images[channel], top.rows[channel], top.columns[channel], strict=True
        )
        assert [(-v.item(), int(i), int(r), int(c)) for v, i, r, c in found] == wanted


def test_topk_has_no_more_places_than_images_and_takes_codes() -> None:
    top = TopK("fc", 5)
    top.update(torch.tensor([[1.0, -2.0], [3.0, -2.0]]), torch.tensor([7, 4]))
    assert top.values.tolist() == [[3, 1], [-2, -2]]
    assert top.images.tolist() == [[4, 7], [4, 7]], "a tie goes to the lower number"
    assert top.rows.tolist() == top.columns.tolist() == [[0, 0], [0, 0]]


def test_a_basis_looks_at_directions() -> None:
    a = torch.zeros(2, 2, 1, 3)
    a[0, :, 0, 1] = torch.tensor([3.0, 4.0])
    a[1, :, 0, 2] = torch.tensor([5.0, 0.0])
    top = TopK("x", 1, basis=torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.8, -0.6]]))
    top.update(a, torch.arange(2))
    assert top.values.flatten().tolist() == pytest.approx([5, 5, 4])
    assert top.images.flatten().tolist() == [0, 1, 1]
    assert top.columns.flatten().tolist() == [1, 2, 2]
    same = TopK("x", 3, basis=torch.eye(4))
    same.update(maps(6), torch.arange(6))
    plain = TopK("x", 3)
    plain.update(maps(6), torch.arange(6))
    assert bits([same]) == bits([plain])


def test_moments_are_the_exact_ones_rounded_once() -> None:
    a = maps(30)
    a[:, 0] = torch.randn(30, 5, 5, generator=generator(1)) * 1e-39  # subnormal numbers
    a[0, 0, 0, 0] = 2e-38  # and one that is not
    moments = Moments("x")
    for part in torch.arange(30).split(8):
        moments.update(a[part], part)
    for channel in range(4):
        values = [Fraction(v) for v in a[:, channel].flatten().tolist()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert moments.mean[channel].item() == float(mean)
        assert moments.variance[channel].item() == float(variance)
        assert moments.minimum[channel].item() == float(min(values))
        assert moments.maximum[channel].item() == float(max(values))
        assert moments.positive[channel].item() == sum(v > 0 for v in values) / len(values)


def test_moments_where_the_textbook_formula_fails() -> None:
    a = torch.tensor([16777215.0, 16777214.0, 16777213.0])[:, None]
    moments = Moments("x")
    moments.update(a, torch.arange(3))
    assert moments.mean.item() == 16777214 and moments.variance.item() == 2 / 3
    constant = Moments("x")
    constant.update(torch.full((5, 1, 7, 7), 0.1), torch.arange(5))
    assert constant.variance.item() == 0 and constant.mean.item() == torch.tensor(0.1).item()


@pytest.mark.parametrize(
    ("share", "images", "above"),
    [(0.005, 40, 5), (0.04, 40, 40), (0.29, 4, 29), (0.5, 40, 500)],  # in floating point 0.29 · 100 < 29
)
def test_threshold_is_the_quantile_of_all_activations(share: float, images: int, above: int) -> None:
    a = torch.randn(images, 3, 5, 5, generator=generator(1)).relu()  # 25 values a channel and image
    threshold = Threshold("x", images, share)
    for part in torch.arange(images).split(7):
        threshold.update(a[part], part)
    ascending = a.transpose(0, 1).flatten(1).sort(1).values
    assert torch.equal(threshold.value, ascending[:, images * 25 - above - 1])
    assert ((a > threshold.value[:, None, None]).sum((0, 2, 3)) <= above).all()
    below = ascending[:, images * 25 - above - 2]
    strictly = below < threshold.value
    assert ((a > below[:, None, None]).sum((0, 2, 3)) > above)[strictly].all(), (
        "a smaller one would let through more"
    )
    assert strictly.any()
    assert threshold.state_dict()["values"].shape == (3, above + 1), "no more is kept than needed"


def test_threshold_agrees_with_numpy_and_refuses_what_it_cannot_hold() -> None:
    a = torch.randn(11, 2, 3, 3, generator=generator(2))
    threshold = Threshold("x", 20, 0.1)
    threshold.update(a, torch.arange(11))
    wanted = np.quantile(a.transpose(0, 1).flatten(1).numpy(), 0.9, axis=1, method="inverted_cdf")
    assert threshold.value.tolist() == wanted.tolist(), "of the images seen so far"
    with pytest.raises(ValueError, match="for 20 images and is given 22"):
        threshold.update(a, torch.arange(11))
    assert threshold.seen == 11
    with pytest.raises(ValueError, match="9 and of 4 places"):
        threshold.update(a[:2, :, :2, :2], torch.arange(2))
    with pytest.raises(ValueError, match=r"share in \(0, 1\)"):
        Threshold("x", 20, 5)


def test_threshold_orders_what_it_keeps_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = []
    largest = Threshold._largest

    def counted(self: Threshold, values: Tensor, places: int) -> Tensor:
        ordered.append(values.numel())
        return largest(self, values, places)

    monkeypatch.setattr(Threshold, "_largest", counted)
    a = torch.rand(4_000, 1, 5, 5, generator=generator(3))
    threshold = Threshold("x", len(a), 0.05)  # it keeps 5,001
    for part in torch.arange(len(a)).split(8):
        threshold.update(a[part], part)
    ascending = a.flatten().sort().values
    assert threshold.value.item() == ascending[-5_001]
    # Each of 500 batches with what is kept would be some 2,000,000.
    assert sum(ordered) < 2 * a.numel()
    # What waits is part of the state, also of one that is copied, merged or saved.
    early, late = Threshold("x", len(a), 0.05), Threshold("x", len(a), 0.05)
    for part in torch.arange(3_000).split(8):
        early.update(a[part], part)
    late.update(a[3_000:], torch.arange(3_000, 4_000))
    late.merge(copy.deepcopy(early))
    assert bits([late]) == bits([threshold])
    resumed = Threshold("x", len(a), 0.05)
    resumed.update(a[:9], torch.arange(9))
    resumed.load_state_dict(early.state_dict())
    resumed.update(a[3_000:], torch.arange(3_000, 4_000))
    assert bits([resumed]) == bits([threshold])


@pytest.mark.parametrize("seed", range(8))
def test_any_split_merged_in_any_order_is_the_whole_bit_for_bit(seed: int) -> None:
    n = 33
    a, rng = maps(n, seed=seed), np.random.default_rng(seed)
    a.view(-1)[torch.randperm(a.numel(), generator=generator(seed))[:200]] = -0.0
    whole = fed(a, torch.arange(n), n)
    owners = rng.integers(0, 5, n)  # which of five parts an image belongs to; parts may be empty
    parts = []
    for part in range(5):
        mine = torch.from_numpy(rng.permutation(np.flatnonzero(owners == part)))
        made = statistics(n)
        for indices in mine.split(int(rng.integers(1, 7))) if len(mine) else ():
            for statistic in made:
                statistic.update(a[indices], indices)
        parts.append(made)
    while len(parts) > 1:  # a random tree of merges
        i, j = rng.permutation(len(parts))[:2]
        for mine_, other in zip(parts[i], parts[j], strict=True):
            before = bits([other])
            mine_.merge(other)
            assert bits([other]) == before
        parts.pop(j)
    assert bits(parts[0]) == bits(whole)


def test_the_two_zeros_are_one() -> None:
    a = torch.tensor([0.0, -0.0, -0.0, 0.0, -0.0, 0.0]).reshape(6, 1).expand(6, 4)
    whole = fed(a, torch.arange(6), 6)
    for order in ([0, 1, 2, 3, 4, 5], [1, 0, 5, 4, 3, 2]):
        made = fed(a[order[:1]], torch.tensor(order[:1]), 6)
        for i in order[1:]:
            for mine, other in zip(made, fed(a[[i]], torch.tensor([i]), 6), strict=True):
                mine.merge(other)
        assert bits(made) == bits(whole)


def test_states_come_back_and_are_copies() -> None:
    first = fed(maps(6), torch.arange(6), 12)
    second = statistics(12)
    for one, two in zip(first, second, strict=True):
        assert two.state_dict() == {}
        two.load_state_dict(one.state_dict())
        for tensor in one.state_dict().values():
            tensor.zero_()
    assert bits(first) == bits(second) and first[0].values.abs().sum() > 0
    for statistic in (*first, *second):
        statistic.update(maps(6, seed=1), torch.arange(6, 12))
    assert bits(first) == bits(second)


def test_what_a_statistic_refuses() -> None:
    with pytest.raises(ValueError, match="has seen no image yet"):
        _ = TopK("x").values
    with pytest.raises(ValueError, match="k must be at least 1"):
        TopK("x", 0)
    for basis in (torch.zeros(3), torch.full((2, 2), torch.nan)):
        with pytest.raises(ValueError, match="finite table"):
            TopK("x", basis=basis)
    with pytest.raises(ValueError, match="basis has 3 columns, layer 'x' 4 channels"):
        TopK("x", basis=torch.eye(3)).update(maps(2), torch.arange(2))
    with pytest.raises(ValueError, match="cannot be merged"):
        TopK("x", 2).merge(TopK("x", 3))
    with pytest.raises(ValueError, match="cannot be merged"):
        TopK("x", 2).merge(TopK("x", 2, basis=torch.eye(2)))
    moments = Moments("x")
    moments.update(maps(2), torch.arange(2))
    for wrong in (maps(2)[0], maps(2).flatten(2), maps(3), maps(2)[:, :0]):
        with pytest.raises(ValueError, match=r"needed is \(2, C, H, W\)"):
            moments.update(wrong, torch.arange(2))
    for value in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            moments.update(torch.full((2, 4), value), torch.arange(2))
    with pytest.raises(ValueError, match="had 4 channels, now it has 3"):
        moments.update(maps(2, channels=3), torch.arange(2))


# --- a run over a data set ---


def asked(n: int) -> list[Statistic]:
    return [
        TopK("1", 3),
        Moments("1"),
        Threshold("1", n, 0.01),
        TopK("3", 2),
        TopK("1", 2, basis=torch.eye(5).flip(0)),
    ]


@pytest.mark.parametrize("batch", [1, 7, 50, 64])
def test_a_survey_feeds_what_the_layers_give_whatever_the_batch(batch: int) -> None:
    model, data = net().train(), photos(50)
    found = survey.survey(model, data, asked(50), batch=batch)
    a = hooks.activations(model, data, ["1", "3"])
    wanted = asked(50)
    for statistic in wanted:
        statistic.update(a[statistic.layer], torch.arange(50))
    assert bits(found) == bits(wanted)
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_kinds_of_data_sets() -> None:
    data, labels = photos(5), torch.arange(5)
    wanted = bits(survey.survey(net(), data, asked(5)))
    as_dataset = torch.utils.data.TensorDataset(data, labels)
    for other in (
        list(data),
        as_dataset,
        [(image, "label") for image in data],
        torch.utils.data.Subset(data, range(5)),
    ):
        assert bits(survey.survey(net(), other, asked(5), batch=2)) == wanted
    (one,) = survey.survey(net(), data[:1], [TopK("1", 9)])
    assert one.images.tolist() == [[0]] * 5
    assert bits(survey.survey(net().double(), data, asked(5))) == wanted, "images take the model's precision"
    functional = nn.Sequential(nn.ReLU())
    (top,) = survey.survey(functional, data, [TopK("0", 1)])  # no parameters
    assert top.values.max() == data.max()


def test_parts_merged_in_any_order_are_one_survey() -> None:
    model, data = net(), photos(23)
    whole = survey.survey(model, data, asked(23), batch=4)
    parts = [
        survey.survey(model, data, asked(23), batch=4, part=range(i, min(i + 8, 23))) for i in (8, 16, 0)
    ]
    for part in parts[1:]:
        for mine, other in zip(parts[0], part, strict=True):
            mine.merge(other)
    assert bits(parts[0]) == bits(whole)


def test_the_statistics_given_stay_empty_and_used_ones_are_refused() -> None:
    given = [TopK("1", 2)]
    found = survey.survey(net(), photos(3), given)
    assert given[0].seen == 0 and found[0].seen == 3
    with pytest.raises(ValueError, match="new statistics"):
        survey.survey(net(), photos(3), found)
    with pytest.raises(ValueError, match="new statistics"):
        survey.survey(net(), photos(3), [])


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)  # (N, positions, channels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (photos(0), "empty"),
        (iter(photos(2)), "need a length"),
        ([photos(1)[0], photos(1)[0, :, :4]], r"Image 1 is \(3, 4, 8\), image 0 \(3, 8, 8\)"),
        ([photos(1)[0].byte()], r"Image 0 must be a normalised float tensor .* not torch.uint8"),
        ([np.zeros((3, 8, 8))], "not ndarray"),
        ([photos(1)], "Image 0 must be"),
        (torch.cat([photos(1), photos(1) * torch.nan]), "Image 1 holds NaN"),
    ],
)
def test_bad_data(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        survey.survey(net(), data, [TopK("1")])


def test_bad_layers_batches_and_parts() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), Tokens())
    with pytest.raises(hooks.LayerError, match="no layer 'relu'"):
        survey.survey(model, photos(2), [TopK("relu")])
    with pytest.raises(ValueError, match=r"Layer '1' gives \(2, 64, 2\)"):
        survey.survey(model, photos(2), [TopK("1")])
    with pytest.raises(ValueError, match="1 image or more, not 0"):
        survey.survey(model, photos(2), [TopK("0")], batch=0)
    for part in (range(0), range(3), range(-1, 1)):
        with pytest.raises(ValueError, match="numbered 0 to 1"):
            survey.survey(model, photos(2), [TopK("0")], part=part)
    nn.init.constant_(model[0].weight, torch.nan)
    with pytest.raises(ValueError, match="Layer '0' gives NaN"):
        survey.survey(model, photos(2), [TopK("0")])


def test_progress_is_shown_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    survey.survey(net(), photos(3), [TopK("1")])
    assert capsys.readouterr().err == ""
    survey.survey(net(), photos(3), [TopK("1")], progress=True)
    assert "3/3" in capsys.readouterr().err


# --- interrupted surveys ---


class Failing(torch.utils.data.Dataset):
    """Raises at the `at`-th read, once."""

    def __init__(self, data: Tensor, at: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.data, self.left, self.error = data, at, error

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.data[i]


@pytest.mark.parametrize("seed", range(6))
def test_a_survey_stopped_anywhere_goes_on_to_the_same_bytes(tmp_path: Path, seed: int) -> None:
    model, data = net().train(), photos(40)
    straight = survey.survey(model, data, asked(40), batch=4, resume=tmp_path / "straight", save_every=0)
    stops = np.random.default_rng(seed).integers(1, 43, 3)
    stopped = 0
    for at in stops:
        try:
            survey.survey(
                model,
                Failing(data, int(at)),
                asked(40),
                batch=4,
                resume=tmp_path / "x" / "broken",
                save_every=0,
            )
        except KeyboardInterrupt:
            stopped += 1
        assert model.training
    assert stopped > 0
    last = Failing(data, 10**9)
    again = survey.survey(model, last, asked(40), batch=4, resume=tmp_path / "x" / "broken", save_every=0)
    assert bits(again) == bits(straight)
    assert (tmp_path / "x" / "broken").read_bytes() == (tmp_path / "straight").read_bytes()
    reads = 10**9 - last.left
    # The first and the last image, then those that no earlier run had saved; its first batch ends with read 6.
    assert (reads < 2 + 40) == (stops.max() > 6), "what was done is not done again"
    before = last.left
    survey.survey(model, last, asked(40), batch=4, resume=tmp_path / "x" / "broken")
    assert before - last.left == 2, "a finished survey reads only the images that it is told by"
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [".broken.lock", "broken"]


def test_another_batch_size_may_go_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        survey.survey(net(), Failing(photos(40), 25), asked(40), batch=4, resume=tmp_path / "x", save_every=0)
    found = survey.survey(net(), photos(40), asked(40), batch=7, resume=tmp_path / "x")
    assert bits(found) == bits(survey.survey(net(), photos(40), asked(40)))


def test_saving_waits_for_its_time(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        survey.survey(
            net(), Failing(photos(40), 30), asked(40), batch=4, resume=tmp_path / "x", save_every=1e9
        )
    assert not (tmp_path / "x").exists()


def test_another_survey_s_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    model, data = net(), photos(6)
    survey.survey(model, data, [TopK("1", 3)], resume=path)
    held = path.read_bytes()
    other_weights, leaky = net(), net()
    other_weights[0].bias.data[0] += 1
    leaky[1] = nn.LeakyReLU()
    for what, changed, given, asked_for, part in [
        ("weights", other_weights, data, TopK("1", 3), None),
        ("layers", leaky, data, TopK("1", 3), None),
        ("statistics", model, data, TopK("1", 4), None),
        ("statistics", model, data, TopK("3", 3), None),
        ("statistics", model, data, Moments("1"), None),
        ("statistics", model, data, TopK("1", 3, basis=torch.eye(5)), None),
        ("images", model, photos(6, seed=1), TopK("1", 3), None),
        ("number of images", model, torch.cat([data, data[-1:]]), TopK("1", 3), None),
        ("part", model, data, TopK("1", 3), range(0, 6, 5)),
    ]:
        with pytest.raises(ResumeError, match=f"is of a survey with other .*{what}.*give another file"):
            survey.survey(changed, given, [asked_for], resume=path, part=part)
    assert path.read_bytes() == held


def test_a_model_of_any_precision_has_a_fingerprint(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).bfloat16()  # a buffer of no dimension, too
    for _ in range(2):
        (found,) = survey.survey(model, photos(3), [TopK("0", 1)], resume=tmp_path / "x")
    assert found.seen == 3


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    survey.survey(net(), photos(6), asked(6), resume=path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    bad = [b"", b"text", good[: len(good) // 2], good[:-1], good + b"x"]
    for place in [*rng.integers(0, len(good), 40), *range(8), *rng.integers(8, 2000, 40)]:
        content = bytearray(good)
        content[place] ^= 1 << int(rng.integers(8))
        bad.append(bytes(content))
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(ResumeError, match="damaged"):
            survey.survey(net(), photos(6), asked(6), resume=path)
        assert path.read_bytes() == content, "it is the reader who deletes"


def test_a_full_disk_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model, data = tmp_path / "x", net(), photos(40)
    with pytest.raises(KeyboardInterrupt):
        survey.survey(model, Failing(data, 15), asked(40), batch=4, resume=path, save_every=0)
    held, write = path.read_bytes(), Path.write_bytes

    def half(self: Path, content: bytes) -> int:
        write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(ResumeError, match=r"cannot be written \(No space left on device\); what it held"):
            survey.survey(model, data, asked(40), batch=4, resume=path, save_every=0)
    assert path.read_bytes() == held
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.lock", "x"], "nothing half-written is left"
    found = survey.survey(model, data, asked(40), batch=4, resume=path)
    assert bits(found) == bits(survey.survey(model, data, asked(40), batch=4))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResumeError, match="cannot be written"):
        survey.survey(model, data, asked(40), resume=tmp_path / "file" / "x")


def test_a_file_in_use_is_not_written(tmp_path: Path) -> None:
    with resume.locked(tmp_path / "x"), pytest.raises(ResumeError, match="Another survey is using"):
        survey.survey(net(), photos(3), [TopK("1")], resume=tmp_path / "x")
    (found,) = survey.survey(net(), photos(3), [TopK("1")], resume=tmp_path / "x")
    assert found.seen == 3


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_survey import asked, net, photos
from cnnvis_helpers import survey

class Slow:
    def __len__(self): return 400
    def __getitem__(self, i):
        time.sleep(0.01)
        return images[i]

images = photos(400)
survey.survey(net(), Slow(), asked(400), batch=4, resume={path!r}, save_every=0)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_is_taken_up_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    script = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        limit = time.monotonic() + 60
        while not path.exists() and time.monotonic() < limit and process.poll() is None:
            time.sleep(0.01)
        with pytest.raises(ResumeError, match="Another survey is using"):
            survey.survey(net(), photos(400), asked(400), resume=path)
        assert process.poll() is None, "it was to be killed in the middle"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    data = Failing(photos(400), 10**9)
    found = survey.survey(net(), data, asked(400), batch=4, resume=path)
    assert 10**9 - data.left < 400, "it went on, not anew"
    straight = survey.survey(net(), photos(400), asked(400), batch=4, resume=tmp_path / "straight")
    assert bits(found) == bits(straight)
    assert path.read_bytes() == (tmp_path / "straight").read_bytes()


MEMORY = """
import resource, torch
torch.set_num_threads(1)
from torch import nn
from cnnvis_helpers.survey import Moments, TopK, survey

class Drawn:
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i): return torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(i))

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())          # maps of 15 KB an image
for n in (1000, 4000):
    survey(model, Drawn(n), [TopK("1", 9), Moments("1")], batch=50)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_does_not_grow_with_the_data() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    small, large = (int(line) / 1024 for line in done.stdout.split())
    # 3,000 more images have 20 MB of pixels and 45 MB of activations.
    assert large - small < 5, f"{small:.0f} MB for 1,000 images, {large:.0f} MB for 4,000"


def test_large_values_that_cannot_be_added_are_still_finite() -> None:
    huge = torch.full((2, 3, 4, 4), 3e38)  # their sum is beyond float32
    assert not huge.sum().isfinite()
    threshold = Threshold("x", 2, 0.5)
    threshold.update(huge, torch.arange(2))
    assert (threshold.value == huge.max()).all()
    huge[0, 0, 0, 0] = -torch.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        Threshold("x", 2, 0.5).update(huge, torch.arange(2))


def test_a_batch_keeps_the_layout_of_its_images() -> None:
    x = torch.rand(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    for data in (x, x.to(memory_format=torch.channels_last), x.transpose(2, 3)):
        stacked = torch.cat([images for _, images in survey.batches(data, 2)])
        assert torch.equal(stacked, data)
    _, first = next(survey.batches(x.to(memory_format=torch.channels_last), 2))
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert next(survey.batches(x, 2))[1].is_contiguous()
