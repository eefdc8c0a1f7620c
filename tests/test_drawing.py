"""The studio draws what its widgets ask for and shows what the network says of it."""

from __future__ import annotations

import re

import numpy as np
import torch

from cnnvis_helpers import controls, diorama, images, zoo
from cnnvis_helpers.controls import drawing


def test_every_widget_changes_the_picture() -> None:
    studio = controls.studio(zoo.load("diorama/alexnet-untrained"))
    seen = {studio.picture.value}
    moves = (
        (studio.number, 7),
        (studio.label, "cat"),
        (studio.scene, "desert"),
        (studio.facing, "right" if diorama.render("test", 7).attributes["facing"] < 0 else "left"),
        (studio.size, 0.4),
        (studio.hidden, 0.3),
        (studio.exposure, 1.0),
        (studio.absent, True),
    )
    for widget, value in moves:
        widget.value = value
        assert studio.picture.value not in seen, widget.description
        seen.add(studio.picture.value)


def test_it_shows_what_render_draws_and_the_network_says() -> None:
    net = zoo.load("diorama/alexnet-untrained")
    studio = controls.studio(net)
    studio.number.value, studio.label.value, studio.size.value = 5, "cup", 0.5
    knobs = diorama.Knobs(label="cup", size=0.5, occluded=0, exposure=0)
    example = diorama.render("test", 5, knobs)
    assert studio.picture.value == images.to_png(drawing.example_strip(example))
    probabilities = net.probabilities(torch.from_numpy(example.image).permute(2, 0, 1)[None].float() / 255)[0]
    shown = re.findall(r"right'>(\d\.\d\d)<", studio.answer.value)
    assert shown == [f"{float(p):.2f}" for p in probabilities.topk(5).values]


def test_the_strip_shows_the_main_object_alone() -> None:
    example = diorama.render("test", 1)
    strip = drawing.example_strip(example, scale=1)
    assert np.array_equal(strip[:, :96], example.image)
    truth = strip[:, -96:]
    assert np.array_equal(truth[example.instance], example.image[example.instance])
    assert (truth[~example.instance] >= 212).all()  # the rest is faded to a sixth of its contrast


def test_class_names_are_escaped() -> None:
    assert "&lt;b&gt;" in drawing.answer_table(torch.tensor([0.3, 0.7]), ["<b>", "x"])
