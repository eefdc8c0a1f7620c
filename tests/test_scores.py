"""Logits and classes: what is accepted, and the sentence for what is not."""

import pytest
import torch
from torch import nn

from cnnvis_helpers.scores import logits, targets


class Fixed(nn.Module):
    """Returns what it was given, whatever the images are."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> object:
        return self.output


X = torch.zeros(2, 3, 4, 4)
Y = torch.tensor([[0.0, 2.0, 1.0], [5.0, 4.0, 3.0]])


def test_logits_are_the_models_output() -> None:
    assert logits(Fixed(Y), X) is Y


@pytest.mark.parametrize(
    ("output", "x", "said"),
    [
        ((Y, Y), X, "returns a tuple"),
        ({"out": Y}, X, "returns a dict"),
        (torch.zeros(2, 3, 4, 4), X, r"\(2, 3, 4, 4\) for 2 images"),
        (Y, X[:1], "for 1 images"),
        (Y, X[0], r"x\[None\]"),
        (Y, X[:0], "no image"),
    ],
)
def test_what_is_no_table_of_logits_gets_a_sentence(output: object, x: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        logits(Fixed(output), x)


def test_targets() -> None:
    assert targets(Y, None).tolist() == [1, 0]
    assert targets(Y, 2).tolist() == [2, 2]
    assert targets(Y, [0, 2]).tolist() == [0, 2]
    assert targets(Y, torch.tensor([1, 1])).dtype == torch.int64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "no class 3: the model has 3, numbered 0 to 2"),
        (-1, "no class -1"),
        ([0, 1, 2], "one for each of 2 images"),
        (1.5, "whole numbers"),
        (torch.tensor([True, False]), "whole numbers"),
    ],
)
def test_classes_that_are_not_there(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        targets(Y, given)  # type: ignore[arg-type]
