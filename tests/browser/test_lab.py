"""The controls in a real JupyterLab: Run All, move sliders, upload a photograph, look at the pictures."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
LECTURE = ROOT / "notebooks" / "01_weights_and_activations.ipynb"

SMALL = """
import torch
from torch import nn
from cnnvis_helpers import controls, images

class Net:
    name, classes, input_size = "tiny", ["cat", "dog"], 32
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
                                   nn.Flatten(), nn.LazyLinear(2)).eval()
    def prepare(self, pictures):
        return images.fit(pictures, 32) - 0.5

nets = {"0": Net(0), "100": Net(1)}
nets["0"].model(torch.zeros(1, 3, 32, 32)), nets["100"].model(torch.zeros(1, 3, 32, 32))
torch.manual_seed(0)
pictures = torch.rand(4, 3, 32, 32)
"""


def notebook(*sources: str) -> str:
    """A notebook of code cells, never run."""
    cells = [
        {"cell_type": "code", "id": f"cell-{i}", "metadata": {}, "outputs": [], "execution_count": None,
         "source": source.strip()}
        for i, source in enumerate(sources)
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    )


def photo() -> bytes:
    """Chelsea the cat, as a PNG file."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    file = io.BytesIO()
    Image.fromarray(data.chelsea()).save(file, format="PNG")
    return file.getvalue()


def control_with(opened, label):
    """The first control (outermost box) in which a widget is labelled `label`; no widget of it may be
    broken."""
    wanted = opened.page.locator(".widget-label", has_text=label)
    control = opened.page.locator(".jp-OutputArea-output .widget-vbox").filter(has=wanted).first
    control.scroll_into_view_if_needed()
    assert control.locator(".jupyter-widgets-error-widget").count() == 0
    return control


def upload(opened, control, name, content):
    """Choose a file as a reader does, by the button."""
    with opened.page.expect_file_chooser() as chooser:
        control.locator(".widget-upload").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


def explore(opened, changed):
    """Move the explorer's sliders, upload a photograph and a file that is none."""
    page = opened.page
    control = control_with(opened, "Channel")
    picture = control.locator("img").first
    source = changed(picture, None, lambda: None)
    opened.screenshot("explorer", control)

    for label in ("Image", "Channel"):
        slider = control.locator(".widget-slider", has=page.locator(".widget-label", has_text=label))
        handle, readout = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
        before = int(readout.inner_text())
        handle.focus()
        key = "ArrowRight" if label == "Image" or before == 0 else "ArrowLeft"
        source = changed(picture, source, lambda key=key: page.keyboard.press(key))
        assert abs(int(readout.inner_text()) - before) == 1
    opened.screenshot("explorer_moved", control)

    source = changed(picture, source, lambda: upload(opened, control, "chelsea.png", photo()))
    said = control.get_by_role("status").filter(has_text="chelsea.png").first
    said.wait_for()
    opened.screenshot("explorer_upload", control)

    upload(opened, control, "notes.png", b"this is no picture")
    control.get_by_role("status").filter(has_text="Please note").first.wait_for()
    assert picture.get_attribute("src") == source
    opened.screenshot("explorer_bad_upload", control)


def test_controls_in_a_small_notebook(opened, changed):
    """Each control of the package, with networks that need no file."""
    (opened.lab.folder / "small.ipynb").write_text(
        notebook(
            SMALL,
            "controls.explorer(nets['0'], pictures, titles=list('abcd'))",
            "controls.training_slider(nets, pictures[0])",
            "controls.filter_browser({'first': nets['0'], 'second': nets['100']})",
        )
    )
    opened.open("small.ipynb")
    opened.run_all(seconds=90)
    assert not opened.error_outputs()
    explore(opened, changed)

    training = control_with(opened, "Step")
    picture = training.locator("img").first
    source = changed(picture, None, lambda: None)
    training.locator(".noUi-handle").focus()
    changed(picture, source, lambda: opened.page.keyboard.press("ArrowRight"))
    opened.screenshot("training_slider", training)

    browser = control_with(opened, "Network")
    picture = browser.locator("img").first
    source = changed(picture, None, lambda: None)
    changed(picture, source, lambda: browser.locator("select").first.select_option("second"))
    opened.screenshot("filter_browser", browser)
    assert opened.errors == []


def test_studio(opened, changed):
    """The studio draws what a reader asks for, and the network's answer is shown."""
    (opened.lab.folder / "studio.ipynb").write_text(
        notebook("from cnnvis_helpers import controls, zoo\ncontrols.studio(zoo.load('diorama/alexnet'))")
    )
    opened.open("studio.ipynb")
    opened.run_all(seconds=60)
    assert not opened.error_outputs()
    studio = control_with(opened, "Object")
    picture = studio.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: studio.locator("select").first.select_option("boat"))
    studio.get_by_role("status").filter(has_text="boat").first.wait_for()
    slider = studio.locator(".widget-slider", has=opened.page.locator(".widget-label", has_text="Hidden"))
    slider.locator(".noUi-handle").focus()
    changed(picture, source, lambda: opened.page.keyboard.press("ArrowRight"))
    opened.screenshot("studio", studio)
    assert opened.errors == []


LOOKING = """
import torch
from cnnvis_helpers import controls, diorama, receptive_field, survey, zoo

net, sample = zoo.load("diorama/alexnet"), diorama.sample(32)
titles = [diorama.CLASSES[label] for label in sample.labels]
(top,) = survey.survey(net.model, net.prepare(sample.images), [survey.TopK("relu5", 9)])
fields = {"relu5": receptive_field.receptive_field(net.model, "relu5", (96, 96))}
with torch.no_grad():
    y = net.model(net.prepare(sample.images))
"""


def nudge(opened, control, label, key="ArrowRight"):
    """Move the slider called `label` by one step, by keyboard."""
    slider = control.locator(".widget-slider", has=opened.page.locator(".widget-label", has_text=label))
    slider.locator(".noUi-handle").focus()
    opened.page.keyboard.press(key)


def test_units_codes_occluder_and_maps(opened, changed):
    """The controls of lectures 02 and 03, by keyboard and by mouse."""
    (opened.lab.folder / "looking.ipynb").write_text(
        notebook(
            LOOKING,
            "controls.unit_browser({'trained': [top]}, fields, sample.images, titles)",
            "controls.embedding_explorer({'trained': {'logits': y}}, sample.images, sample.labels, diorama.CLASSES)",
            "controls.occluder(net, sample.images[:4], titles=titles[:4])",
            "controls.map_panel(net, sample.images[:3], 'relu5', masks=sample.instance[:3], titles=titles[:3])",
        )
    )
    opened.open("looking.ipynb")
    opened.run_all(seconds=300)  # a minute on two idle cores
    assert not opened.error_outputs()

    units = control_with(opened, "Unit")
    picture = units.locator("img").first
    source = changed(picture, None, lambda: None)
    changed(picture, source, lambda: nudge(opened, units, "Unit"))
    units.get_by_role("status").filter(has_text="relu5, 1 of").first.wait_for()
    opened.screenshot("unit_browser", units)

    codes = control_with(opened, "Map by")
    picture = codes.locator("img").first
    source = changed(picture, None, lambda: None)
    changed(picture, source, lambda: codes.locator(".widget-button").first.click())
    whole = codes.locator("img").last
    source = changed(whole, None, lambda: None)
    changed(whole, source, lambda: codes.locator("select").last.select_option("pictures"))
    opened.screenshot("embedding_explorer", codes)

    hiding = control_with(opened, "Hide with")
    picture = hiding.locator("img").first
    source = changed(picture, None, lambda: None)
    for label in ("Across", "Up", "Window"):
        source = changed(picture, source, lambda label=label: nudge(opened, hiding, label))
    changed(picture, source, lambda: hiding.locator("select").first.select_option("black"))
    opened.screenshot("occluder", hiding)

    maps = control_with(opened, "Class")
    picture = maps.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: maps.locator("select").first.select_option(index=1))
    maps.get_by_role("button", name="All maps").click()
    maps.get_by_role("status").filter(has_text="Done").first.wait_for(timeout=60_000)
    opened.screenshot("map_panel", maps)
    maps.get_by_role("button", name="All maps").click()
    maps.get_by_role("button", name="Stop").click()
    maps.get_by_role("status").filter(has_text="Stopped").first.wait_for()
    assert opened.errors == []


def test_projections_and_synthesis(opened, changed):
    """The controls of lectures 04 and 05: another unit; an image made, stopped on the way, and its film."""
    (opened.lab.folder / "making.ipynb").write_text(
        notebook(
            LOOKING,
            "controls.projector(net, sample.images[:4], ['relu3', 'relu5'], titles=titles[:4])",
            "controls.synthesiser([net])",
        )
    )
    opened.open("making.ipynb")
    opened.run_all(seconds=300)  # a minute on two idle cores
    assert not opened.error_outputs()

    back = control_with(opened, "Unit")
    picture = back.locator("img").first
    source = changed(picture, None, lambda: None)
    changed(picture, source, lambda: nudge(opened, back, "Image"))
    opened.screenshot("projector", back)

    making = control_with(opened, "Recipe")
    picture = making.locator("img").first
    before = picture.get_attribute("src")
    making.get_by_role("button", name="Start").click()
    changed(picture, before, lambda: None)
    making.get_by_role("button", name="Stop").click()
    making.get_by_role("status").filter(has_text="Stopped").first.wait_for()
    source = picture.get_attribute("src")
    changed(picture, source, lambda: nudge(opened, making, "Film", "ArrowLeft"))
    opened.screenshot("synthesiser", making)
    assert opened.errors == []


def test_fooling_and_dissection(opened, changed):
    """The controls of lectures 06 and 07: an attack by keyboard, evolution played and paused, units with masks."""
    (opened.lab.folder / "fooling.ipynb").write_text(
        notebook(
            LOOKING,
            "controls.attacker([net], sample.images[:4], sample.labels[:4], titles[:4])",
            "controls.evolver([net])",
            """
from cnnvis_helpers import dissection
labels = dissection.Labels(sample.maps, {c: diorama.names(c) for c in diorama.CATEGORIES})
found = dissection.dissect(net.model, net.prepare(sample.images), labels, ["relu3", "relu5"], shuffles=3)
controls.dissector(net.model, net.prepare(sample.images), sample.images, found)
""",
        )
    )
    opened.open("fooling.ipynb")
    opened.run_all(seconds=300)
    assert not opened.error_outputs()

    attack = control_with(opened, "ε · 255")
    picture = attack.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: nudge(opened, attack, "ε · 255"))
    source = changed(picture, source, lambda: attack.locator("select").nth(1).select_option("five steps"))
    changed(picture, source, lambda: attack.locator("select").nth(2).select_option(index=3))
    opened.screenshot("attacker", attack)

    evolution = control_with(opened, "Genome")
    picture = evolution.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: evolution.get_by_role("button", name="Play").click())
    changed(picture, source, lambda: nudge(opened, evolution, "Speed"))
    evolution.get_by_role("button", name="Pause").click()
    evolution.get_by_role("status").filter(has_text="Paused at generation").first.wait_for()
    opened.screenshot("evolver", evolution)
    source = picture.get_attribute("src")
    changed(picture, source, lambda: evolution.locator("select").last.select_option("pixels"))

    units = control_with(opened, "Units")
    picture = units.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: nudge(opened, units, "Unit"))
    changed(picture, source, lambda: units.locator("select").first.select_option("relu3"))
    units.get_by_role("status").filter(has_text="relu3, unit").first.wait_for()
    opened.screenshot("dissector", units)
    assert opened.errors == []


def film_of(opened, control, changed):
    """Start a run, stop it on the way, and go back in its film by keyboard."""
    picture = control.locator("img").first
    before = picture.get_attribute("src")
    control.get_by_role("button", name="Start").click()
    changed(picture, before, lambda: None)
    control.get_by_role("button", name="Stop").click()
    control.get_by_role("status").filter(has_text="Stopped").first.wait_for()
    source = picture.get_attribute("src")
    changed(picture, source, lambda: nudge(opened, control, "Film", "ArrowLeft"))


def test_memorising_generators_style_and_matching(opened, changed):
    """The controls of lectures 08 to 11, but for the game: sliders by keyboard, runs stopped on the way."""
    (opened.lab.folder / "knowing.ipynb").write_text(
        notebook(
            LOOKING,
            """
from cnnvis_helpers import memorisation
names = ("true labels", "random labels")
nets = {name: memorisation.small_net(4, classes=4, seed=seed) for seed, name in enumerate(names)}
small = torch.nn.functional.interpolate(sample.images[:4], size=32)
controls.memoriser(nets, small, [0, 1, 2, 3], normalise=memorisation.normalise, classes=list("abcd"))
""",
            """
from cnnvis_helpers import generator
decoder, facts = generator.load("diorama/decoder-perceptual")
robust = zoo.load(facts["network"])
controls.mixer(decoder, robust, sample.images[:4], titles=titles[:4], judges=[net])
""",
            "controls.climber(decoder, [robust, net], judge=net)",
            "controls.styler([net], {'one': sample.images[0], 'another': sample.images[1]})",
            """
from cnnvis_helpers import correspondence
task = correspondence.keypoint_task(sample.labels, sample.keypoints, sample.attributes["box"], sample.instance)
methods = {"relu4": correspondence.of_layer(net.model, "relu4"), "pixels": correspondence.of_patches(9)}
controls.matcher(methods, sample.images, task, prepare=net.prepare)
""",
        )
    )
    opened.open("knowing.ipynb")
    opened.run_all(seconds=300)
    assert not opened.error_outputs()

    heart = control_with(opened, "r · 255")
    picture = heart.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: nudge(opened, heart, "Image"))
    changed(picture, source, lambda: heart.locator("select").first.select_option("random labels"))
    opened.screenshot("memoriser", heart)

    way = control_with(opened, "Way, %")
    picture = way.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: nudge(opened, way, "Way, %"))
    changed(picture, source, lambda: nudge(opened, way, "From"))
    opened.screenshot("mixer", way)

    climber = control_with(opened, "Begin at")
    film_of(opened, climber, changed)
    opened.screenshot("climber", climber)

    painter = control_with(opened, "Strength")
    film_of(opened, painter, changed)
    opened.screenshot("styler", painter)

    pairs = control_with(opened, "Features")
    picture = pairs.locator("img").first
    source = changed(picture, None, lambda: None)
    source = changed(picture, source, lambda: pairs.locator("select").last.select_option("pixels"))
    changed(picture, source, lambda: nudge(opened, pairs, "Pair"))
    opened.screenshot("matcher", pairs)
    assert opened.errors == []


GAME = """
from cnnvis_helpers import controls, diorama, zoo

sample = diorama.sample(6)
controls.game(zoo.load("diorama/alexnet"), sample.images, sample.labels)
"""


def test_game_keeps_score_over_a_kernel_restart(opened, changed):
    """Two answers by mouse and keyboard; the score of both sides; the same score from a fresh kernel."""
    (opened.lab.folder / "game.ipynb").write_text(notebook(GAME))
    opened.open("game.ipynb")
    opened.run_all(seconds=120)
    assert not opened.error_outputs()
    page = opened.page

    game = page.locator(".jp-OutputArea-output .widget-vbox").filter(has_text="Next picture").first
    game.scroll_into_view_if_needed()
    picture = game.locator("img").first
    source = changed(picture, None, lambda: None)
    following = game.get_by_role("button", name="Next picture")
    assert following.is_disabled()
    game.get_by_role("button", name="cat", exact=True).click()
    game.get_by_role("status").filter(has_text="You say cat").first.wait_for()
    changed(picture, source, lambda: following.click())
    # The picture arrives before the answers are open again, and a disabled button takes no focus.
    dog = game.get_by_role("button", name="dog", exact=True, disabled=False)
    dog.wait_for()
    dog.focus()
    page.keyboard.press("Enter")
    game.get_by_role("status").filter(has_text="You say dog").first.wait_for()
    scores = game.get_by_role("status").filter(has_text="of 2").first
    said = scores.inner_text()
    assert "You:" in said and "diorama/alexnet:" in said and "95 %" in said
    assert game.locator("table").count() == 2
    opened.screenshot("game", game)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Clear Outputs of All Cells").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    game.wait_for(state="detached")
    opened.lab.wait_for_kernel()
    opened.run_all(seconds=120)
    game.get_by_role("status").filter(has_text="of 2").first.wait_for()
    assert scores.inner_text() == said
    assert not opened.error_outputs() and opened.errors == []


@pytest.mark.skipif(not LECTURE.exists(), reason=f"{LECTURE.name} is not built")
def test_lecture_01_runs_and_its_explorer_answers(opened, changed):
    """The stored notebook, as a reader opens it: Run All without an error, then play."""
    shutil.copy(LECTURE, opened.lab.folder / LECTURE.name)
    opened.open(LECTURE.name)
    opened.run_all(seconds=300)  # a minute on two idle cores
    opened.screenshot("lecture_01")
    assert not opened.error_outputs()
    explore(opened, changed)
    assert opened.errors == []
