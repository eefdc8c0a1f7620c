"""The control for critical samples: moved by code without a display."""

import html
import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_helpers import controls, memorisation
from cnnvis_helpers.controls import memorising

CLASSES = ("car", "tree", "boat", "flower")


def nets():
    """Two networks before training, from two seeds."""
    return {
        name: memorisation.small_net(4, seed=seed).eval()
        for seed, name in enumerate(("nothing", "something"))
    }


def pictures(n=5):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def made(models=None, **changed):
    arguments = {"normalise": memorisation.normalise, "classes": CLASSES} | changed
    return memorising.memoriser(models or nets(), pictures(), [0, 1, 2, 3, 0], **arguments)


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


@pytest.mark.parametrize("name", ["nothing", "something"])
def test_it_says_what_the_search_of_the_module_finds(name):
    control, model, seen = made(), nets()[name], set()
    control.network.value = name
    for index in (0, 3):
        control.image.value = index
        for radius in memorising.RADII:
            control.radius.value = radius
            found = memorisation.critical_samples(
                model, pictures()[index : index + 1], radius / 255, normalise=memorisation.normalise
            )
            with torch.no_grad():
                p = model(
                    memorisation.normalise(torch.cat([pictures()[index : index + 1], found.images]))
                ).softmax(1)
            before, after = (f"{CLASSES[int(q.argmax())]} ({float(q.max()):.2f})" for q in p)
            text = html.unescape(control.text.value)
            assert f"Image {index} shows a {CLASSES[(0, 1, 2, 3, 0)[index]]}; r = {radius:g}/255" in text
            assert f"has learnt {name} says {before}" in text and after in text
            assert ("is critical" in text) == bool(found.mask[0])
            assert ("as far as the search sees" in text) != bool(found.mask[0])
            seen.add(bool(found.mask[0]))
    assert seen == {True, False}


def test_the_panels_are_image_change_and_neighbour():
    control = made()
    control.image.value, control.radius.value = 2, 16.0
    shown = pixels_of(control.picture)
    side = memorising.SIDE
    assert shown.shape[0] >= side and shown.shape[1] >= 3 * side
    for widget, value in ((control.image, 4), (control.radius, 0.25), (control.network, "something")):
        before = control.picture.value
        widget.value = value
        assert control.picture.value != before


def test_the_networks_are_left_as_they_were():
    models = nets()
    models["something"].train()
    kept = {name: t.clone() for name, t in models["something"].state_dict().items()}
    control = made(models)
    control.network.value = "something"
    assert models["something"].training
    assert all(torch.equal(t, kept[name]) for name, t in models["something"].state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in models["something"].parameters())


def test_it_answers_at_once():
    control = made({"wide": memorisation.small_net(16).eval()})
    times = []
    for index in (1, 2, 3, 4):
        begin = time.process_time()
        control.image.value = index
        times.append(time.process_time() - begin)
    control.radius.value = 0.25  # nothing is found: all steps are taken
    for index in (1, 2, 3):
        begin = time.process_time()
        control.image.value = index
        times.append(time.process_time() - begin)
    assert min(times[:4]) < 0.1 and min(times[4:]) < 0.1


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def test_a_page_without_kernel_gets_a_fixed_sentence_and_inputs_are_labelled():
    first, second = made(), made()
    bundle = first._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == second.sentence == repr(first)
    assert "nothing or something" in repr(first) and "5 images" in repr(first)
    for widget in every_widget(first.box):
        if hasattr(widget, "description") and type(widget).__name__ != "HTML":
            assert widget.description and widget.tooltip, widget
        if type(widget).__name__ == "Image":
            assert widget.value and widget.tooltip is None  # a tooltip breaks it in JupyterLab
        assert "Output" not in type(widget).__name__


def test_it_is_exported_and_refuses_what_cannot_be_shown():
    assert controls.memoriser is memorising.memoriser
    settings = {"normalise": memorisation.normalise, "classes": CLASSES}
    with pytest.raises(ValueError, match="no network"):
        memorising.memoriser({}, pictures(), [0] * 5, **settings)
    with pytest.raises(ValueError, match="no image"):
        memorising.memoriser(nets(), pictures()[:0], [], **settings)
    with pytest.raises(ValueError, match="2 labels for 5 images"):
        memorising.memoriser(nets(), pictures(), [0, 1], **settings)
