# %% [markdown]
# # 03 · Occlusion and saliency
#
# **The question: which pixels made the decision?**
#
# A network says *cat*. You want to know why, and as a first answer: *where* does it see the cat? There are many methods that
# draw such a map. They disagree. So this lecture does two things. It builds six of them, each from a few lines. Then it
# asks which one is right, and that can be measured here: in Diorama the true place of the object is known to the pixel.
#
# After this lecture you can
#
# - hide a part of an image and read off what the network says then, and choose window, stride and fill with care,
# - say what a hidden window can change in each layer, and spare the rest of the work without changing the result,
# - compute gradient saliency, SmoothGrad, integrated gradients, Grad-CAM and RISE, and say what each of them measures,
# - score a map against the object and against the network, with a null beside every score,
# - test whether a map depends on the network at all,
# - find out that a network decides by the background, although its accuracy is perfect.
#
# **You need** lectures 00 and 01, section 1 of lecture 02, and to know what a gradient is. **Time:** 140 minutes.

# %% tags=["setup"]
import copy
import time
from types import SimpleNamespace

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from cnnvis_helpers import (
    attribution,
    class_activation,
    controls,
    device,
    diorama,
    faithfulness,
    figures,
    hooks,
    images,
    occlusion,
    receptive_field,
    rise,
    saliency,
    sanity,
    seeding,
    segmentation,
    zoo,
)
from cnnvis_helpers.checks import lecture03 as checks
from cnnvis_helpers.claims import claim

MODEL = "diorama/alexnet"  # any name of zoo.names(), such as "photos/alexnet" or "imagenet/resnet18"
WEIGHTS = True  # False gives random weights, without a download

generator = seeding.seed_all(0)
where = device.pick()
net = zoo.load(MODEL, weights=WEIGHTS, device=where)
base = zoo.load("diorama/alexnet", weights=WEIGHTS, device=where)  # what is measured is measured on this one
untrained = zoo.load("diorama/alexnet-untrained", device=where)
for network in (net, base, untrained):  # the same numbers, in an order that most processors convolve faster
    network.model.to(memory_format=torch.channels_last)

sample = diorama.sample()  # test images with their labels; they come with the package
truth = torch.from_numpy(sample.instance)  # (N, 96, 96), True where the main object is seen
photographs = {
    name: photo.image for name, photo in images.samples().items()
}  # from scikit-image, scikit-learn
picture = sample.images[22] if MODEL.startswith("diorama/") else photographs["chelsea"]  # (3, H, W)
# picture = images.load("my_photo.jpg")
x = net.prepare(picture)  # (1, 3, s, s), normalised
with torch.no_grad():
    c = int(net.model(x)[0].argmax())  # the class in question
picture = images.fit(picture, net.input_size)  # what the network sees
print(f"{net.name} says {net.classes[c]} ({float(net.probabilities(picture)[0, c]):.2f})")

# %% [markdown]
# The pictures of sections 1 to 7 show *your* network, the one called `MODEL`. Every number about the truth is measured on
# `diorama/alexnet`, since only there the truth is known.
#
# ## 1 · Hide a part
#
# The simplest idea is an experiment. Put a grey square over a part of the image and ask the network again. Where the
# probability of *cat* falls, the network needs what is hidden. Move the square over the whole image and write down the
# probability at each place: that is the **occlusion map** of Zeiler and Fergus (2014).
#
# For the window at place $p$, let $x_{\setminus p}$ be the image with that window filled. The map is
# $m(p) = P(c \mid x_{\setminus p})$, one number for each place of the window, not for each pixel.

# %%
window, stride = net.input_size // 4, net.input_size // 16
with hooks.frozen(net.model), torch.no_grad():
    probability, labels = [], []
    for top in range(0, x.shape[2] - window + 1, stride):
        for left in range(0, x.shape[3] - window + 1, stride):
            hidden = x.clone()
            hidden[:, :, top : top + window, left : left + window] = 0
            p = net.model(hidden)[0].softmax(0)
            probability.append(float(p[c]))  # how probable is the class still?
            labels.append(int(p.argmax()))  # and which class is the most probable now?
side = round(len(labels) ** 0.5)
by_hand = torch.tensor(probability).view(side, side)

seen = occlusion.occlude(net.model, x, window=window, stride=stride)
print(
    f"{len(labels)} places; `occlude` says the same: {torch.allclose(by_hand, seen.probability(c)[0].cpu(), atol=1e-4)}"
)
top, left = divmod(int(by_hand.argmin()), side)
worst = occlusion.cover(x, top * stride, left * stride, window)
print(
    f"lowest probability of {net.classes[c]}: {by_hand.min():.2f}, with the window at row {top}, column {left}"
)

# %%
fig, axes = figures.panels(
    1,
    3,
    height=290,
    caption="Left: the window where it does most harm. Middle: the probability of the class by the place of the window; dark is where "
    "it falls. Right: the same experiment by pixel, the mean loss of the logit over all windows that hide the pixel.",
)
figures.image_grid([net.denormalise(worst)[0].clamp(0, 1)], title="most harmful place", axes=axes[0])
figures.activation_grid(
    by_hand[None],
    limits=(0, 1),
    numbered=False,
    label="probability",
    title="by place of the window",
    axes=axes[1],
)
figures.overlay(
    picture, seen.attribution(c), diverging=True, label="loss of the logit", title="by pixel", axes=axes[2]
)
figures.show(
    fig,
    "An image with a part hidden, the probability by place of the window, and the loss by pixel.",
    most_bytes=90_000,
)

# %% [markdown]
# **What to notice.** It is the face. With the head hidden the probability of *cat* falls to about 0.01; with the body hidden nothing
# happens. Mind the two coordinate systems: the map in the middle is indexed by the *place of the window*, so it has 13 × 13
# values and must not be laid over the image. The one on the right can be. Its spot is wider than the face because the window is: every
# pixel shares the loss of all the windows that hide it.
#
# Zeiler and Fergus draw a second map that is often forgotten: **the most probable class** at each place. It says what the
# network falls for when it loses the object.

# %%
by_window = {}
for size in (net.input_size // 6, net.input_size // 4, net.input_size // 3):
    found = occlusion.occlude(net.model, x, window=size, stride=stride)
    by_window[f"window {size}"] = found.labels()[0].cpu()
    share = float((found.labels() == c).float().mean())
    print(f"window {size:3}: {net.classes[c]} stays the most probable class at {share:.0%} of the places")
fig, axes = figures.label_maps(
    SimpleNamespace(image=picture, maps=by_window),
    names=dict.fromkeys(by_window, net.classes),
    caption="The most probable class by the place of the window, for three sizes of the window.",
)
figures.show(
    fig, "The most probable class at each place of the occluder, for three window sizes.", most_bytes=60_000
)

# %% [markdown]
# **What to notice.** Without its face the cat becomes a lamp or a chair, and which of the two depends on what is left to see.
# The small window hardly ever changes the answer. The large one does so in a wider ring, but in the midst of the ring the answer is *cat*
# again: hide the whole head, and the rest is enough. A larger window is not simply more of the same.
#
# One image proves nothing. Take 32 test images and compare windows that cover the object with windows that do not: how much of
# the probability of the true class do they cost? The null uses the *place of another image's object* for the windows that are
# said to cover it: if every place in the middle of an image mattered, it would look just as good.

# %%
n = 32
xs, masks, true = base.prepare(sample.images[:n]), truth[:n], sample.labels[:n]
hidden32 = occlusion.occlude(base.model, xs, window=24, stride=12)
cost = hidden32.drop(true, "probability").cpu()  # (N, rows, columns)


def covered(masks, window=24, stride=12):
    """Share of the window that shows the object, by place: (N, H, W) → (N, rows, columns)."""
    return F.avg_pool2d(masks.float()[:, None], window, stride)[:, 0]


def mean_where(values, chosen):
    """Mean over the places of each image that are chosen, (N,); NaN where there is none."""
    return (values * chosen).sum((1, 2)) / chosen.sum((1, 2))


def interval(values, form="{:.2f}"):
    """A mean and its 95 % bootstrap interval, as text."""
    return "{} [{}, {}]".format(*(form.format(v) for v in sanity.bootstrap(values)))


on, off = covered(masks) > 0.4, covered(masks) == 0
elsewhere = covered(masks.roll(1, 0)) > 0.4
print(f"window on the object:                 the true class loses {interval(mean_where(cost, on))}")
print(f"window beside it:                     the true class loses {interval(mean_where(cost, off))}")
print(f"where another image has its object:   the true class loses {interval(mean_where(cost, elsewhere))}")

# %%
gain = sanity.bootstrap(mean_where(cost, on) - mean_where(cost, elsewhere))
claim(
    "03-occlusion-finds-the-object",
    statement="When the object is covered, the probability of its class drops: the network locates the object and does not "
    "just use the context.",
    source="Zeiler & Fergus 2014",
    measured=f"loss {np.nanmean(mean_where(cost, on)):.2f} on the object, {np.nanmean(mean_where(cost, off)):.2f} beside it, "
    f"{np.nanmean(mean_where(cost, elsewhere)):.2f} where another image has its object; difference to that "
    f"{gain.mean:.2f} (95 % interval {gain.low:.2f} to {gain.high:.2f}), {n} images",
    verdict="reproduced" if gain.low > 0 else "contradicted",
)

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · The occlusion map
#
# `probability` is a function that takes images (N, 3, H, W) and gives one number for each, (N,). Hide the window at every place
# at which it lies inside the image, the top left corner at 0, `stride`, 2 · `stride`, … down and across, and return the
# probabilities as a table, one row for each row of places. Leave `image` as it is.


# %% tags=["exercise"]
def occlusion_map(probability, image, window, stride, fill):
    """image (3, H, W) → (rows, columns): the probability with the window hidden at each place."""
    ### BEGIN SOLUTION
    rows = []
    for top in range(0, image.shape[1] - window + 1, stride):
        row = []
        for left in range(0, image.shape[2] - window + 1, stride):
            hidden = image.clone()
            hidden[:, top : top + window, left : left + window] = fill
            row.append(probability(hidden[None])[0])
        rows.append(torch.stack(row))
    return torch.stack(rows)
    ### END SOLUTION


# %% tags=["check"]
checks.check_occlusion_map(occlusion_map)

# %% [markdown]
# ## 2 · Window, stride and fill
#
# The experiment has three settings, and each of them changes the map.
#
# - The **window** is a ruler. It cannot see details smaller than itself, and when the network can do without any one part of the
#   object, a small window finds nothing: the parts stand in for one another.
# - The **stride** is only resolution and time: $((s - w)/d + 1)^2$ runs of the network for side $s$, window $w$, stride $d$.
# - The **fill** is an object of its own. Zero looks innocent, but the input is normalised: zero is the *mean colour of the
#   training images*, a middle grey, and black is about −1.7. A black square on a bright wall is a thing with four
#   corners, and the network has an opinion on such things.

# %%
black, grey = (net.normalise(torch.full((3, 1, 1), v)).flatten() for v in (0.0, 0.5))
print(f"black in normalised units, red green blue: {', '.join(f'{v:.2f}' for v in black.tolist())}")
print(
    f"mid-grey:                                  {', '.join(f'{v:.2f}' for v in grey.tolist())};  zero is the mean colour"
)


def fills(network, x):
    """What the window may show, in normalised units."""
    return {
        "mean colour": 0.0,
        "black": network.normalise(torch.zeros(3, 1, 1)).to(x),
        "white": network.normalise(torch.ones(3, 1, 1)).to(x),
        "blurred": occlusion.blurred(x, x.shape[-1] / 16),
    }


tiles, unit = [], net.input_size // 12
for fill in fills(net, x).values():
    shown = occlusion.cover(x, 3 * unit, 6 * unit, 3 * unit, fill)
    tiles.append(figures.enlarge(net.denormalise(shown)[0].clamp(0, 1), (114, 114), smooth=True))
    for size in (1, 2, 3, 5):
        run = occlusion.occlude(
            net.model, x, window=size * unit, stride=max(unit * 3 // 4, size * unit // 4), fill=fill
        )
        tiles.append(controls.map_tile(picture, run.attribution(c)[0], side=114))
fig, axes = figures.image_grid(
    tiles,
    ["a window"] + [f"window {size * unit}" for size in (1, 2, 3, 5)] + [""] * 15,
    5,
    rows=list(fills(net, x)),
    scale=1,
    caption="Loss of the logit by pixel, for four fills and four sizes of the window. Each map has its own scale: bright is the largest "
    "loss, and what is dark loses nothing or gains.",
)
figures.show(fig, "Occlusion maps of one image for four fills and four window sizes.", most_bytes=90_000)

# %% [markdown]
# **What to notice.** The window is the ruler. At 8 pixels the map shows single features, the eyes and the mouth; at 40 it shows only
# "the upper left". And the fill changes the map: black finds a patch between the feet, and a wider spot around the head, white finds the
# eyes alone, and both see something at the paws that the blurred window does not see. The strongest place, the face, stays. Trust what survives a change
# of the fill.
#
# Which fill is best? A good fill *removes* and adds nothing. Test it where there is nothing to remove: with windows that lie
# wholly beside the object. There the answer should stay.

# %%
beside = covered(masks) == 0
for name, fill in fills(base, xs).items():
    run = (
        hidden32
        if name == "mean colour"
        else occlusion.occlude(base.model, xs, window=24, stride=12, fill=fill)
    )
    loss = mean_where(run.drop(true, "probability").cpu(), beside)
    wrong = mean_where((run.labels().cpu() != true[:, None, None]).float(), beside)
    print(
        f"{name:12} beside the object: probability falls by {interval(loss)}, answer wrong at {interval(wrong, '{:.0%}')}"
    )

# %% [markdown]
# **What to notice.** In this network the danger is small. Beside the object the three flat fills cost the class next to nothing, and they change the answer at two or
# three places of a hundred; the blurred window changes none. Black is no worse than grey. So the warning is sound as a question, and here the answer
# is harmless. Ask it of your own network before you trust a map: it costs one line.
#
# Now take the occluder into your own hands. Drag the two sliders, or move them with the arrow keys: the right picture fills with the
# probability wherever you have been. (On a page without a running kernel, the figures above are what you would see.)

# %%
pictures = {
    f"{k}: {diorama.CLASSES[sample.labels[k]]}": sample.images[k] for k in (22, 16, 24, 31, 4, 13, 46, 89)
}
shown_first = pictures if MODEL.startswith("diorama/") else photographs
controls.occluder(net, list(shown_first.values()), titles=list(shown_first))

# %% [markdown]
# ## 3 · Only what changes
#
# Occlusion is slow: one run of the network for each place of the window. But nearly all of that is done again and again.
# Outside the window the image is as it was, so most units see the same numbers as before and give the same answer. Which can
# change? Only those whose *receptive field* (lecture 02, section 1) meets the window. Read in this direction, they are the
# window's **projective field**: in each layer a box of units that the window can reach. Outside that box nothing needs to be
# computed again.
#
# Do not believe it, measure it. Run the network with nothing hidden and with the window hidden, and see at which positions a
# layer differs, in any of its channels. The null is the same window at another place: if the boxes held all changes only
# because boxes are large, the other window's box would do as well.

# %%
top, left = (stride * k for k in divmod(int(by_hand.argmin()), side))
places = {
    "most\nharmful": (top, left),
    "far\ncorner": tuple(
        0 if 2 * k > net.input_size - window else net.input_size - window for k in (top, left)
    ),
}
names = hooks.rectified_maps(net.model, x, most=5)
precise = copy.deepcopy(net.model).double()  # 16 digits: what differs by more than 1e-9 is no rounding


def reached(name, top, left):
    """The positions of a layer whose receptive field meets the window: (h, w), True or False."""
    field = receptive_field.receptive_field(net.model, name, (net.input_size, net.input_size))
    units = torch.cartesian_prod(*(torch.arange(n) for n in field.units))
    row, column, row_end, column_end = field.boxes(units).T  # the ends are the first outside
    down = (row < top + window) & (row_end > top)
    across = (column < left + window) & (column_end > left)
    return (down & across).view(field.units)


clean = hooks.activations(precise, x.double(), names)
reach, change = {}, {}
for place, (top, left) in places.items():
    hidden = hooks.activations(precise, occlusion.cover(x, top, left, window).double(), names)
    reach[place] = {name: reached(name, top, left) for name in names}
    change[place] = {name: (hidden[name] - clean[name])[0].abs().cpu() for name in names}  # (C, h, w)

# %%
here, there = places
for name in names:
    box, others = reach[here][name], reach[there][name]
    channels = change[here][name] > 1e-9
    changed = channels.any(0)
    print(
        f"{name:10} box {box.double().mean():4.0%} of {len(box):3} × {len(box)}; changed {changed.double().mean():4.0%} "
        f"(in one channel {channels.double().mean():3.0%}); changed outside the box: {int((changed & ~box).sum())}; "
        f"in the other window's box {others[changed].double().mean():3.0%}"
    )

# %%
tiles, notes = [], []
for place, (top, left) in places.items():
    photo = net.denormalise(occlusion.cover(x, top, left, window))[0].clamp(0, 1)
    tiles.append(figures.boxed(photo, [(top, left, top + window, left + window)], 132 / net.input_size))
    notes.append("the window")
    for name in names:
        largest = change[place][name].amax(0)
        changed = largest > 1e-9
        coloured = figures.colourise(torch.where(changed, largest.sqrt(), torch.nan))  # NaN is grey
        rows, columns = (reach[place][name].any(axis).nonzero() for axis in (1, 0))
        edges = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        tiles.append(
            figures.boxed(
                figures.enlarge(coloured, (132, 132)), [[float(e) * 132 / len(changed) for e in edges]]
            )
        )
        notes.append(f"{changed.double().mean():.0%} changed")
fig, axes = figures.image_grid(
    tiles,
    ["", *names] + [""] * (len(names) + 1),
    len(names) + 1,
    rows=list(places),
    numbers=notes,
    scale=1,
    caption="What the window changes in five layers. Grey: as before, in all channels. Coloured: the largest change over the channels, "
    "dark is small, each map on its own scale. The boxes: the window, and the units whose receptive field meets it.",
)
figures.show(
    fig,
    "Positions of five layers that two places of the window change; they fill the predicted boxes.",
    most_bytes=90_000,
)

# %% [markdown]
# **What to notice.** All changes are inside the box, and they fill it. The box is the best that can be had: at each of its
# positions some channel changes, though a single channel need not, because a ReLU hides what stays below zero and max pooling
# hides what is not the largest. Towards the edges of the box the changes fade, as the *effective* receptive field says. In the
# first layers the other window's box has none of these changes. But the boxes grow with depth. In the last layer it is the
# whole map, and there nothing can be spared.
#
# To ask every unit is slow. The box of a layer follows from the box of the layer before. Look along one axis. Of the layer's
# input, let the positions from $a$ to $b$ be those that can change. With windows of $k$ positions, stride $s$ and padding $p$,
# unit $i$ of its output sees the positions from $i s - p$ to $i s - p + k - 1$. It can change if it sees one of those, and only
# then:
#
# $$i s - p \le b \quad\text{and}\quad i s - p + k - 1 \ge a .$$

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · How far a change reaches
#
# The positions from `first` to `last` of a layer's input can change. The layer has windows of `kernel` positions, and its
# output has the positions 0 to `size` − 1 along this axis. Return the first and the last of these that can change; in all cases
# here there is at least one. You need no loop: solve the two inequalities for $i$, which is a whole number.


# %% tags=["exercise"]
def affected(first, last, kernel, stride, padding, size):
    """(first, last) of the positions of the output that can change, two whole numbers."""
    ### BEGIN SOLUTION
    low = -(-(first + padding - (kernel - 1)) // stride)  # rounded up
    high = (last + padding) // stride  # rounded down
    return max(low, 0), min(high, size - 1)
    ### END SOLUTION


# %% tags=["check"]
checks.check_affected(affected)

# %% [markdown]
# Now count. A convolution uses each of its weights once at every position, so the box's share of the positions is the share of
# the multiplications that are left. Here for `diorama/alexnet` and a window of 24 pixels in the middle of the image.

# %%
reaches = checks.reference_affected  # when yours has passed, take it: reaches = affected
first, last, size = 36, 59, 96  # rows of the window and of the image; the columns are the same
whole, patch = {}, {}
for name, layer in base.model.named_modules():
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
        kernel, step, pad = (
            v[0] if isinstance(v, tuple) else v for v in (layer.kernel_size, layer.stride, layer.padding)
        )
        size = (size + 2 * pad - kernel) // step + 1
        first, last = reaches(first, last, kernel, step, pad, size)
    if isinstance(layer, nn.Conv2d):
        whole[name] = layer.weight.numel() * size**2
        patch[name] = layer.weight.numel() * (last - first + 1) ** 2
        left_over = patch[name] / whole[name]
        print(
            f"{name}  rows {first:2} to {last:2} of {size}: {left_over:4.0%} of {whole[name] / 1e6:2.0f} million"
        )
    elif isinstance(layer, nn.Linear):
        whole[name] = patch[name] = layer.weight.numel()  # each unit sees the whole map
work = occlusion.multiplications(base.model, xs, window=24, stride=8)
print(f"window in the middle: {sum(whole.values()) / sum(patch.values()):.1f} times fewer multiplications")
print(f"all 100 places, by the helper:        {work.ratio:.1f} times fewer")

# %% [markdown]
# The rest is bookkeeping: keep the maps of the clean run, cut each patch out of them with the rim that the layer's windows
# need, lay the patch computed before on top, and do this for many places at once. That is `occlude(..., method="incremental")`.
# It gives all places patches of one size, so that they make a batch, and where a box is most of the map it computes the map;
# hence its smaller ratio.
#
# It leaves out only what stays the same, so it is **exact**: the plain answer but for rounding. Test that with four networks of
# the family. The null is what the windows do to the logits: that must be seen.

# %% tags=["nbval-ignore-output"]
family = {"alexnet": base}
for name in ("vgg", "googlenet", "resnet"):
    family[name] = zoo.load(f"diorama/{name}", weights=WEIGHTS, device=where)
runs = {}
for name, network in family.items():
    seconds = {}
    for way in ("plain", "incremental"):
        began = time.perf_counter()
        runs[name, way] = occlusion.occlude(network.model, xs[22:23], window=24, stride=8, method=way)
        seconds[way] = time.perf_counter() - began
    print(f"{name:10}" + "".join(f"  {way} {spent:.2f} s" for way, spent in seconds.items()))

# %%
apart, moved = {}, {}
for name in family:
    plain, incremental = runs[name, "plain"], runs[name, "incremental"]
    apart[name] = float((plain.logits - incremental.logits).abs().max())
    moved[name] = float((plain.logits - plain.clean[:, None, None]).abs().max())
    print(
        f"{name:10} the two ways differ by less than 0.0001: {apart[name] < 1e-4}; "
        f"the windows move the logits by up to {moved[name]:.0f}"
    )

# %% [markdown]
# How much is spared depends on the window and on the network. **Say before you run the next cell:** for a window of 24 pixels
# it is about half of the multiplications. What for a window of 2 pixels, and what for one of 72? And which of the four networks
# gains most?

# %%
sizes = [2, 8, 16, 24, 32, 40, 56, 72]
ratios = {
    name: [occlusion.multiplications(network.model, xs, window=w, stride=8).ratio for w in sizes]
    for name, network in family.items()
}
fig, axes = figures.panels(
    1,
    2,
    height=290,
    width_ratios=[4, 5],
    caption="Left: multiplications of diorama/alexnet for one place of the window, 24 pixels in the middle; fc: the three fully connected "
    "layers. Right: how many times fewer they are, all places together (stride 8), by the size of the window. Dashed: nothing spared.",
)
convolutions = [name for name in whole if name.startswith("conv")]
parts = [*([name] for name in convolutions), [name for name in whole if name not in convolutions]]
figures.bars(
    [[sum(count[name] for name in part) / 1e6 for part in parts] for count in (whole, patch)],
    [*convolutions, "fc"],
    groups=["whole map", "box"],
    number="{:.2g}",
    value_label="million multiplications",
    axes=axes[0],
)
figures.curves(
    sizes,
    ratios,
    x_label="window in pixels (the image has 96)",
    y_label="times fewer multiplications",
    y_limits=(0, 10.5),
    reference={"": 1},
    axes=axes[1],
)
figures.show(fig, "Multiplications by layer, and how many times fewer they are by window for four networks.")
print(f"{'window':10}" + "".join(f"{w:6}" for w in sizes))
for name, row in ratios.items():
    print(f"{name:10}" + "".join(f"{ratio:6.1f}" for ratio in row))

# %%
for name, network in family.items():
    maps, near, total = hooks.activations(network.model, xs[:1]), 0, 0
    for part, layer in network.model.named_modules():
        if isinstance(layer, nn.Conv2d):
            count = layer.weight.numel() * maps[part][0, 0].numel()
            field = receptive_field.receptive_field(network.model, part, (96, 96))
            total, near = total + count, near + count * (field.size[0] <= 40)
    print(f"{name:10} {near / total:3.0%} of the multiplications are in layers that see at most 40 pixels")

# %% [markdown]
# **What to notice.** The larger the window, the less is spared; a window of 72 pixels reaches nearly everything. But the gain
# of small windows has an end, too: even two pixels reach most of the last maps. So the network decides. VGG does most of its
# work in early layers, on large maps of units that see little. ResNet's units soon see more than the image, and there is
# little to spare.
#
# The idea is from databases, where one keeps a stored answer up to date instead of asking anew. Nakandala, Kumar and
# Papakonstantinou (2019) brought it to occlusion and report exact maps up to 5 times sooner. (And up to 35 times, but then no
# longer exact.) Test it on networks of the usual size. The number of multiplications does not depend on the weights, so zeros
# will do.

# %%
large = {}
for name in ("vgg16", "alexnet", "resnet18"):
    with torch.device("meta"):  # builds shapes without contents: no time is lost with random weights
        model = getattr(torchvision.models, name)(weights=None)
    model = model.to_empty(device="cpu")
    for values in model.state_dict().values():
        values.zero_()
    large[name] = occlusion.multiplications(model, torch.zeros(1, 3, 224, 224), window=32, stride=16).ratio
del model  # VGG-16 has half a gigabyte of weights
claim(
    "03-incremental-occlusion",
    statement="Computing only what the window changes gives exact occlusion maps, up to five times faster.",
    source="Nakandala et al. 2019",
    measured=", ".join(f"{name} {ratio:.1f}" for name, ratio in large.items())
    + " times fewer multiplications (224 pixels, window 32, stride 16); "
    + ", ".join(f"{name} {row[sizes.index(24)]:.1f}" for name, row in ratios.items())
    + f" (Diorama, 96 pixels, window 24, stride 8), where the logits of both ways differ by less than 0.0001: "
    f"{max(apart.values()) < 1e-4}",
    verdict="reproduced" if max(apart.values()) < 1e-4 and max(large.values()) >= 5 else "contradicted",
)

# %% [markdown]
# The verdict is about multiplications. The clock, printed above for the four small networks, follows only roughly: to cut and
# paste patches takes time as well, most where a network has many small layers.
#
# `occlude` takes this way by default (`method="auto"`), where it pays. A layer that mixes all positions, such as group norm or
# attention, makes everything behind it change. Where there is hardly anything to spare, or the network cannot be followed,
# `occlude` runs it once for each place, and `how` says why.

# %%
mixing = nn.Sequential(nn.GroupNorm(1, 3), base.model)  # begins with the mean and spread of the whole image
for label, model, size in (
    ("window 24", base.model, 24),
    ("window 72", base.model, 72),
    ("window 24, group norm first", mixing, 24),
):
    print(f"{label:28} {occlusion.occlude(model, xs[:1], window=size, stride=24).how}")

# %% [markdown]
# ## 4 · Ask the gradient
#
# Occlusion needs hundreds of runs. A gradient needs one. Near the image $x$ the score of class $c$ is nearly linear,
# $f_c(x + \varepsilon) \approx f_c(x) + w^\top \varepsilon$ with $w = \partial f_c / \partial x$: the pixels with large
# derivatives are those that change the score most when they are changed *a little*. Simonyan, Vedaldi and Zisserman (2014)
# take the largest absolute value over the colours,
#
# $$m(p) = \max_{k \in \{R, G, B\}} \left| \frac{\partial f_c}{\partial x_k(p)} \right|.$$
#
# Two details matter. $f_c$ is the **logit**, the score *before* the softmax: the probability of a class also rises when the other
# classes fall, so its gradient mixes in what speaks against them; and where the network is sure, it is nearly zero. And the
# gradient is one of the *input*, so the model must not change: evaluation mode, no gradient left in its weights.

# %%
with hooks.frozen(net.model):
    start = x.clone().requires_grad_()
    score = net.model(start)[0, c]  # a logit
    (w,) = torch.autograd.grad(score, start)  # (1, 3, H, W)
by_gradient = w.abs().amax(1)  # (1, H, W)
helper = saliency.saliency_map(saliency.gradient(net.model, x, c))
print(f"the helper gives the same map: {torch.allclose(by_gradient, helper, atol=1e-6)}")

# %% [markdown]
# The map is noisy. Two methods average the noise away.
#
# **SmoothGrad** (Smilkov et al. 2017) takes the mean gradient over copies of the image with noise added. **Integrated
# gradients** (Sundararajan, Taly, Yan 2017) goes along the straight line from a *baseline* $x'$, an image that shows nothing, to
# the image, and adds up the gradients on the way:
#
# $$m_i = (x_i - x'_i) \int_0^1 \frac{\partial f_c}{\partial x_i}\big(x' + t\,(x - x')\big)\, dt .$$
#
# By the fundamental theorem of calculus these shares add up: $\sum_i m_i = f_c(x) - f_c(x')$. This is **completeness**, and it
# can be checked.

# %%
steps, noise = 20, 0.15 * float(x.max() - x.min())
middle = (torch.arange(steps) + 0.5) / steps  # the middles of 20 equal pieces of the way
smooth = torch.zeros_like(x)
integrated = torch.zeros_like(x)
for t in middle:
    noisy = x + noise * torch.randn(x.shape, generator=generator).to(x)
    smooth += saliency.gradient(net.model, noisy, c) / steps
    integrated += x * saliency.gradient(net.model, t * x, c) / steps  # the baseline is 0, the mean colour
with torch.no_grad():
    f = [float(net.model(image)[0, c]) for image in (x, torch.zeros_like(x))]
print(
    f"score of the image {f[0]:.1f}, of the baseline {f[1]:.1f}; the shares add up to {float(integrated.sum()):.1f}"
)

# %%
chosen = [22, 16, 24, 31, 89]
gallery, outlines = sample.images[chosen], list(truth[chosen])
if not MODEL.startswith("diorama/"):
    gallery = torch.stack([images.fit(p, net.input_size) for p in photographs.values()])[:5]
    outlines = [None] * 5
maps3 = attribution.maps(
    net.model, net.prepare(gallery), "", methods=["gradient", "SmoothGrad", "integrated gradients"]
)
rows = [figures.enlarge(p, (102, 102), smooth=True) for p in gallery]
for name in maps3:
    rows += [
        controls.map_tile(p, m, o, side=102) for p, m, o in zip(gallery, maps3[name], outlines, strict=True)
    ]
fig, axes = figures.image_grid(
    rows,
    columns=5,
    rows=["image", "gradient", "smoothed", "integrated"],
    scale=1,
    caption="Three maps by gradients for the predicted class, each on its own scale over the darkened image; white: the outline of "
    "the true object.",
)
figures.show(fig, "Gradient, SmoothGrad and integrated gradients for five images.", most_bytes=90_000)

# %% [markdown]
# How much of each map lies on the object? A map that knows nothing puts as much of itself there as the object covers of the
# image. So that is the null, image by image.

# %%
made = attribution.maps(
    base.model, xs, "relu5", true, methods=["gradient", "SmoothGrad", "integrated gradients"]
)
area = faithfulness.area(masks)
inside = {name: faithfulness.share_inside(m.cpu(), masks) for name, m in made.items()}
print(f"{'the object covers':28} {interval(area)} of the image")
for name, share in inside.items():
    print(f"{name:28} {interval(share)} inside, {interval(share - area)} more than the area")

# %%
better = sanity.bootstrap(inside["SmoothGrad"] - inside["gradient"])
claim(
    "03-smoothgrad-less-noise",
    statement="Averaging gradients over noisy copies gives sharper maps with less noise.",
    source="Smilkov et al. 2017",
    measured=f"share on the object {inside['gradient'].mean():.2f} → {inside['SmoothGrad'].mean():.2f}, difference "
    f"{better.mean:.2f} (95 % interval {better.low:.2f} to {better.high:.2f}), {n} images",
    verdict="reproduced"
    if better.low > 0
    else "contradicted"
    if better.high < 0
    else "cannot be tested here",
)

# %% [markdown]
# Is completeness kept? Print what is missing, as a share of the difference that is to be explained, for more and more steps. The
# null is the plain gradient times the input: the same sum with one step at the end of the way.

# %%
with torch.no_grad():
    span = (base.model(xs) - base.model(torch.zeros_like(xs))).gather(1, true[:, None].to(where))[:, 0].abs()
missing = {"gradient × input": saliency.gradient_times_input(base.model, xs[:16], true[:16])}
for steps in (5, 20, 60):
    missing[f"{steps} steps"] = saliency.integrated_gradients(base.model, xs[:16], true[:16], steps=steps)
gap = {}
for name, added in missing.items():
    gap[name] = saliency.completeness_gap(base.model, xs[:16], added, true[:16]).abs() / span[:16]
    print(f"{name:18} median share of the score that is missing: {gap[name].median():.1%}")
dark = base.normalise(torch.zeros(1, 3, 1, 1)).to(xs)
from_black = saliency.integrated_gradients(base.model, xs[:16], true[:16], steps=20, baseline=dark)
pair = [saliency.saliency_map(a).cpu() for a in (missing["20 steps"], from_black)]
print(
    f"mean colour or black as baseline: the maps' ranks correlate with {interval(sanity.similarity(*pair).rank)}"
)

# %%
claim(
    "03-completeness",
    statement="Integrated gradients add up to the difference of the scores of image and baseline.",
    source="Sundararajan et al. 2017",
    measured=f"median of {gap['20 steps'].median():.1%} missing with 20 steps, {gap['60 steps'].median():.1%} with 60; "
    f"{gap['gradient × input'].median():.0%} for gradient × input (16 images)",
    verdict="reproduced"
    if gap["60 steps"].median() < 0.05 < gap["gradient × input"].median()
    else "contradicted",
)

# %% [markdown]
# **What to notice.** All three maps have more on the object than its area, and averaging helps: smoothed more than plain, integrated more than
# smoothed. The sum is complete within a few per cent after 20 steps; gradient × input, one step at the end of the way,
# misses nearly all of it, because where the network is sure its score is flat. But completeness does not make a map unique. With black
# as baseline the shares also add up, and the ranks of the pixels agree only in part: the map answers "compared with what?", and the baseline
# is that question. Note one consequence: what *is* the baseline's colour gets nothing, whatever it means.

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · Gradient saliency
#
# `model` takes images (N, 3, H, W) and gives logits; `x` is one normalised image (3, H, W). Return the largest absolute
# derivative of the logit of class `c` over the colours.


# %% tags=["exercise"]
def gradient_saliency(model, x, c):
    """(3, H, W) → (H, W)."""
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_()
    (w,) = torch.autograd.grad(model(x[None])[0, c], x)
    return w.abs().amax(0)
    ### END SOLUTION


# %% tags=["check"]
checks.check_saliency(gradient_saliency)

# %% [markdown]
# ## 5 · An outline from a map?
#
# Simonyan et al. go one step further. Nobody told the network where objects are; it has seen class labels alone. Can its map cut
# the object out of the image? They take the pixels above a high quantile of the map as *object*, those below a low one as
# *background*, learn the colours of both, and let a **graph cut** find the outline that agrees with the colours and runs
# along edges. This is *weakly supervised segmentation*.

# %%
k = 24
pixels, masks24, true24 = sample.images[:k], truth[:k], sample.labels[:k]
heat = {}
heat["trained"] = made["SmoothGrad"][:k].cpu()  # the same maps as in section 4
part = attribution.maps(untrained.model, xs[:k], "", true24, methods=["SmoothGrad"])
heat["untrained"] = part["SmoothGrad"].cpu()
nulls = sanity.nulls(heat["trained"], generator=generator)
heat["another image"], heat["centre"] = nulls["shuffled"], nulls["centre"]
cut = {name: segmentation.segment(m, pixels) for name, m in heat.items()}
raw = faithfulness.iou(heat["trained"], masks24)
overlap = {
    name: (found & masks24).sum((1, 2)) / (found | masks24).sum((1, 2)).clamp(min=1)
    for name, found in cut.items()
}
print(f"the highest pixels of the map, as many as the object has: IoU {interval(raw)}")
for name, values in overlap.items():
    print(f"segmented from {name:22} IoU {interval(values)}")

# %%
objects, grounds = segmentation.seeds(heat["trained"], blur=2.0)
tiles, shown = [], [22, 16, 0, 7, 13, 4]
for row in ("map", "seeds", "trained", "untrained"):
    for i in shown:
        small = figures.enlarge(pixels[i], (102, 102), smooth=True)
        if row == "map":
            tiles.append(controls.map_tile(pixels[i], heat["trained"][i], masks24[i], side=102))
        elif row == "seeds":
            marked = figures.as_uint8(pixels[i]).copy()
            marked[objects[i].numpy()], marked[grounds[i].numpy()] = (230, 159, 0), (0, 114, 178)
            tiles.append(figures.enlarge(marked, (102, 102)))
        else:
            found = cut[row][i].numpy()
            faded = np.where(
                found[..., None], figures.as_uint8(pixels[i]), 255 - (255 - figures.as_uint8(pixels[i])) // 5
            )
            tiles.append(figures.enlarge(faded, (102, 102), smooth=True))
fig, axes = figures.image_grid(
    tiles,
    columns=6,
    rows=["map", "seeds", "cut out", "untrained"],
    scale=1,
    numbers=[""] * 12 + [f"IoU {overlap[row][i]:.2f}" for row in ("trained", "untrained") for i in shown],
    caption="From the map to the object: SmoothGrad with the true outline; seeds for object (orange) and background (blue); what the "
    "graph cut keeps; the same from the map of a network that was never trained.",
)
figures.show(fig, "Weakly supervised segmentation of six images, step by step.", most_bytes=90_000)

# %%
against_untrained = sanity.bootstrap(overlap["trained"] - overlap["untrained"])
against_shuffled = sanity.bootstrap(overlap["trained"] - overlap["another image"])
claim(
    "03-weak-segmentation",
    statement="The gradient map of a classifier can initialise a segmentation of the object.",
    source="Simonyan et al. 2014",
    measured=f"IoU {overlap['trained'].mean():.2f} from SmoothGrad, {overlap['another image'].mean():.2f} from the map of "
    f"another image, {overlap['untrained'].mean():.2f} from the untrained network; difference to the last "
    f"{against_untrained.mean:.2f} (95 % interval {against_untrained.low:.2f} to {against_untrained.high:.2f}), {k} images",
    verdict="reproduced"
    if min(against_untrained.low, against_shuffled.low) > 0
    else "contradicted"
    if max(against_untrained.high, against_shuffled.high) < 0
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** It works: the seeds sit on a few decisive parts, such as the wheels of the car, and colour and edges
# complete them. From another image's map it does not work. But look at the last row. A network that was **never trained** gets you far more than half of the
# way, since its gradients gather where edges are, and the graph cut does the rest. A blob in the centre does as well. So an outline
# that looks good is no proof that the network knew where the object is; only the difference to these nulls is. And
# mind the choice of the map: a first trial with *plain* gradients, the map of Simonyan et al., found no difference to the untrained
# network (IoU 0.42 against 0.40, 32 images). SmoothGrad was taken after that trial, so the verdict above holds for SmoothGrad alone.

# %% [markdown]
# ## 6 · Grad-CAM: ask a late layer
#
# Pixels know little. The maps of the last convolution know what is where: each channel is a detector with a position. **Grad-CAM**
# (Selvaraju et al. 2017) weights the channels by how much the class depends on them. With $A_k$ the map of channel $k$, $h \times w$
# positions $p$, and $f_c$ the logit,
#
# $$\alpha_k = \frac{1}{h w} \sum_{p} \frac{\partial f_c}{\partial A_k(p)}, \qquad
# m(p) = \max\Big(0, \sum_k \alpha_k A_k(p)\Big).$$
#
# The ReLU comes *after* the sum: a channel with a negative weight speaks for other classes and may cancel others, and only what is
# left for *this* class is shown. The map has as few positions as the layer; it is enlarged for the eye.

# %%
late = [
    name
    for name in hooks.rectified_maps(net.model, x)
    if "Pool" not in type(hooks.find(net.model, name)).__name__
]
layer = late[-1]  # the last map of the network
with hooks.frozen(net.model), hooks.record(net.model, [layer]) as rec:
    score = net.model(x.clone().requires_grad_())[0, c]
    a = rec[layer]  # (1, C, h, w)
    (g,) = torch.autograd.grad(score, a)
alpha = g.mean((2, 3), keepdim=True)  # one weight for each channel
by_hand = (alpha * a).sum(1).relu().detach()
helper = class_activation.grad_cam(net.model, x, layer, c)
print(
    f"{layer} has {a.shape[1]} maps of {a.shape[2]} × {a.shape[3]}; the helper agrees: {torch.allclose(by_hand, helper, atol=1e-5)}"
)
print(f"{int((alpha < 0).sum())} of {a.shape[1]} channels speak against {net.classes[c]}")

# %% [markdown]
# Its older sister **CAM** (Zhou et al. 2016) needs no gradient, but a special network: one that ends in global average pooling and
# one linear layer with weights $W$. There $f_c = b_c + \sum_k W_{ck} \frac{1}{hw}\sum_p A_k(p)$, so
# $\partial f_c / \partial A_k(p) = W_{ck} / hw$ at every position: Grad-CAM's weight is CAM's divided by the number of positions.
# Check it on a network small enough to read.

# %%
small = nn.Sequential()
torch.manual_seed(0)
for name, part in {
    "conv": nn.Conv2d(3, 8, 5, stride=2),
    "relu": nn.ReLU(),
    "pool": nn.AdaptiveAvgPool2d(1),
    "flatten": nn.Flatten(),
    "linear": nn.Linear(8, 4),
}.items():
    small.add_module(name, part)
toy = torch.randn(2, 3, 32, 32, generator=generator)
cam = class_activation.cam(small, toy, "relu", "linear", 1)
signed = class_activation.grad_cam(small, toy, "relu", 1, rectify=False)
positions = cam.shape[1] * cam.shape[2]
equal = bool(torch.allclose(cam, positions * signed, atol=1e-5))
logit = cam.mean((1, 2)) + small.linear.bias[1].detach()
print(f"CAM = {positions} × Grad-CAM without its ReLU: {equal}")
print(
    f"the mean of CAM plus the bias is the logit: {torch.allclose(logit, small(toy)[:, 1].detach(), atol=1e-5)}"
)
claim(
    "03-gradcam-is-cam",
    statement="On a network with global average pooling and one linear layer, Grad-CAM equals CAM but for a constant factor.",
    source="Selvaraju et al. 2017",
    measured=f"CAM = {positions} × Grad-CAM before the ReLU, the number of positions, to rounding",
    verdict="reproduced" if equal else "contradicted",
)

# %% [markdown]
# ### Does the map know which class you ask about?
#
# Show the network two objects and ask about each. A map that explains *the class* must move from one object to the other; a map that
# shows whatever stands out stays where it is. Diorama can draw such pairs: the same scene and light twice, with one object on the
# left or another one on the right, cut and joined in the middle.


# %%
pairs = diorama.two_objects("test", 24)
two, asked, places = (
    base.prepare(pairs.images),
    pairs.labels,
    pairs.masks,
)  # (N, 2) classes, (N, 2, 96, 96) masks
quick = ["gradient", "integrated gradients", "Grad-CAM"]
about = [attribution.maps(base.model, two, "relu5", asked[:, k], methods=quick, steps=10) for k in (0, 1)]
run = occlusion.occlude(base.model, two, window=24, stride=8)  # all classes for the price of one


def of_the_probability(x, chosen):
    """Gradient saliency of the softmax probability instead of the logit."""
    with hooks.frozen(base.model):
        start = x.clone().requires_grad_()
        p = base.model(start).softmax(1).gather(1, chosen[:, None].to(where)).sum()
        return saliency.saliency_map(torch.autograd.grad(p, start)[0])


for k in (0, 1):
    about[k]["occlusion"] = run.attribution(asked[:, k])
    about[k]["gradient of the probability"] = of_the_probability(two, asked[:, k])

# %%
shown, tiles = [3, 12, 21, 9], []
for k in shown:
    image = pairs.images[k]
    tiles.append(figures.enlarge(image, (102, 102), smooth=True))
    for name in ("occlusion", "gradient", "Grad-CAM"):
        tiles += [controls.map_tile(image, about[q][name][k], places[k, q], side=102) for q in (0, 1)]
heads = ["image"] + [
    f"{name}\n{side}" for name in ("occlusion", "gradient", "Grad-CAM") for side in ("left", "right")
]
fig, axes = figures.image_grid(
    tiles,
    heads + [""] * 21,
    7,
    rows=["  " + "\n".join(diorama.CLASSES[v] for v in asked[k]) for k in shown],
    scale=1,
    caption="Two objects, and the maps for the class on the left and for the class on the right; white: the outline of the object that "
    "was asked for.",
)
figures.show(fig, "Maps of three methods for each of two objects in four pictures.", most_bytes=90_000)

# %% [markdown]
# A number: of the map's energy on the two objects, which share $S$ is on the one that was asked for? Ask about both and take the
# mean. A map that is blind to the class has the same energy for both questions, so its two shares add up to 1 and its mean is **exactly
# one half**, whatever the objects look like.


# %%
def on_the_asked(maps, asked):
    """Share of the energy on both objects that is on the one asked for, (N,)."""
    energy = maps.cpu().clamp(min=0)
    on = torch.stack([(energy * places[:, k]).sum((1, 2)) for k in (0, 1)])
    return on[asked] / on.sum(0)


choice = {name: torch.stack([on_the_asked(about[k][name], k) for k in (0, 1)]).mean(0) for name in about[0]}
for name, values in choice.items():
    print(f"{name:28} {interval(values)} of its energy on the asked object;  class-blind 0.50")

# %%
cam_choice, edge = (
    sanity.bootstrap(choice["Grad-CAM"]),
    sanity.bootstrap(choice["Grad-CAM"] - choice["gradient"]),
)
claim(
    "03-gradcam-class-discriminative",
    statement="Grad-CAM is class-discriminative: with several objects in the image it highlights the one that is asked for.",
    source="Selvaraju et al. 2017",
    measured=f"{cam_choice.mean:.2f} of its energy on two objects is on the one asked for (95 % interval {cam_choice.low:.2f} to "
    f"{cam_choice.high:.2f}; class-blind 0.50), {edge.mean:.2f} more than the plain gradient's ({edge.low:.2f} to {edge.high:.2f})",
    verdict="reproduced" if cam_choice.low > 0.5 and edge.low > 0 else "contradicted",
)

# %%
mixed = sanity.bootstrap(choice["gradient"] - choice["gradient of the probability"])
claim(
    "03-logit-not-probability",
    statement="The gradient of a class's probability mixes in what speaks against the other classes: take the logit.",
    source="Simonyan et al. 2014",
    measured=f"{choice['gradient'].mean():.2f} of the energy on two objects is on the one asked for by the logit, "
    f"{choice['gradient of the probability'].mean():.2f} by the probability; difference {mixed.mean:.2f} (95 % interval "
    f"{mixed.low:.2f} to {mixed.high:.2f})",
    verdict="reproduced"
    if mixed.low > 0
    else "contradicted"
    if mixed.high < 0.02
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** Occlusion and Grad-CAM move to the object that you ask for, nearly all of their energy. The gradient hardly moves: both questions
# get nearly the same map, with a little more than half of it on the right object. It shows *where the network is
# sensitive*, and a pixel to which one class is sensitive matters to the others, too. Taking the probability instead of the logit makes it
# worse: 0.54 instead of 0.56 on the right object. That is little, but the interval of the difference leaves zero out.

# %% [markdown] tags=["exercise"]
# ### Exercise 4 · Grad-CAM
#
# `activation` holds the maps of one layer for one image, (C, h, w), and `gradient` the derivatives of the class score by them, of the
# same shape. Return the map (h, w).


# %% tags=["exercise"]
def grad_cam(activation, gradient):
    """(C, h, w) twice → (h, w), at least zero."""
    ### BEGIN SOLUTION
    alpha = gradient.mean((1, 2))
    return (alpha[:, None, None] * activation).sum(0).relu()
    ### END SOLUTION


# %% tags=["check"]
checks.check_grad_cam(grad_cam)

# %% [markdown]
# ## 7 · RISE: hide at random
#
# Occlusion hides one window at a time, so it misses what hangs together: as long as one wheel is seen, hiding the other costs nothing.
# **RISE** (Petsiuk, Das, Saenko 2018) hides about half of the image at once, at random, thousands of times, and gives each pixel the
# mean score of the masks that showed it. A mask $M_i$ is a small grid of zeros and ones, 7 × 7 here, enlarged smoothly and moved by a
# random part of a cell:
#
# $$m(p) = \frac{\sum_i P(c \mid x \odot M_i)\, M_i(p)}{\sum_i M_i(p)} .$$
#
# It needs no gradient and no layer, only answers: a **black box** is enough. The paper divides by the *expected* sum
# of the masks, $N/2$. But chance shows some pixels more often than others, and then they look important. The test is a classifier that
# knows nothing: one that always gives the same answer must get a flat map.

# %%
count, side = 800, net.input_size
masks = rise.random_masks(count, side, cells=7, keep=0.5, generator=generator).to(
    x
)  # (N, H, W), 1 shows the image
answers = occlusion.evaluate(net.model, lambda index: masks[index, None] * x, count, batch=100).softmax(1)[
    :, c
]
by_hand = torch.einsum("n,nhw->hw", answers, masks) / masks.sum(0)

constant = torch.full((count,), 0.5).to(x)
ours = torch.einsum("n,nhw->hw", constant, masks) / masks.sum(0)
paper = torch.einsum("n,nhw->hw", constant, masks) / (0.5 * count)
print(
    f"a constant classifier: our map from {ours.min():.3f} to {ours.max():.3f}, the paper's from {paper.min():.2f} to {paper.max():.2f}"
)
print(f"our map of {net.classes[c]}: from {by_hand.min():.2f} to {by_hand.max():.2f}")

# %%
tiles = [
    masks[k] * images.fit(picture, side) + (1 - masks[k]) * net.denormalise(torch.zeros_like(x))[0]
    for k in range(4)
]
tiles = [figures.enlarge(t, (114, 114), smooth=True) for t in tiles]
for some in (25, 100, 400, 800):
    part = torch.einsum("n,nhw->hw", answers[:some], masks[:some]) / masks[:some].sum(0).clamp(min=1e-6)
    tiles.append(controls.map_tile(picture, part, limits=(float(part.min()), float(part.max())), side=114))
fig, axes = figures.image_grid(
    tiles,
    columns=4,
    rows=["  masked", "maps"],
    numbers=[f"{net.classes[c]} {p:.2f}" for p in answers[:4].tolist()]
    + [f"{some} masks" for some in (25, 100, 400, 800)],
    scale=1,
    caption="Above: four of the masked images and what the network says of them. Below: the map after 25 to 800 masks, dark to bright from "
    "its smallest to its largest value.",
)
figures.show(
    fig, "Four randomly masked images, and the RISE map after more and more masks.", most_bytes=90_000
)

# %% [markdown]
# How many masks are enough? Make the map twice, with different masks, and ask how well the two agree: that is the map's
# **reliability**, and it needs no truth. The null is the agreement with the map of another image.

# %%
halves = []
for seed in (1, 2):
    draws = rise.rise_steps(
        base.model, xs[:4], true[:4], masks=400, generator=torch.Generator().manual_seed(seed), batch=100
    )
    halves.append({done: m.cpu() for done, m in draws if done in (25, 100, 400)})
for done in halves[0]:
    one, other = (h[done] - h[done].amin((1, 2), keepdim=True) for h in halves)
    print(
        f"{done:4} masks: two maps of one image correlate with {sanity.similarity(one, other).rank.mean():.1f}, "
        f"of different images with {sanity.similarity(one, other.roll(1, 0)).rank.mean():.1f}"
    )

# %% [markdown]
# **What to notice.** After 25 masks the map is a cloud, after 400 a spot on the face. The noise falls with the square root of the number of
# masks: to halve it, you need four times as many. Even with 400 masks two maps of one image agree only in part, so do not read
# meaning into the faint patches. The score behind a map is a *probability*: where one part is enough to make the network sure,
# the others get no credit.

# %% [markdown] tags=["exercise"]
# ### Exercise 5 · The map of RISE
#
# `masks` (N, H, W) are between 0 (hidden) and 1 (shown), `scores` (N,) what the network said of each masked image. Return the map
# (H, W). A constant classifier must get a flat one.


# %% tags=["exercise"]
def rise_map(masks, scores):
    """(N, H, W), (N,) → (H, W)."""
    ### BEGIN SOLUTION
    return torch.einsum("n,nhw->hw", scores, masks) / masks.sum(0)
    ### END SOLUTION


# %% tags=["check"]
checks.check_rise_map(rise_map)

# %% [markdown]
# ## 8 · Which map is right?
#
# Here are the six, side by side.

# %% tags=["nbval-ignore-output"]
began = time.perf_counter()
one = attribution.maps(net.model, x, layer, c)
print(f"six maps of one image: {time.perf_counter() - began:.1f} s")

# %%
rest = [name for name in attribution.METHODS if name not in maps3]  # those of section 4 are there already
panel = maps3 | attribution.maps(net.model, net.prepare(gallery), layer, methods=rest)
tiles = []
for k, (photo, outline) in enumerate(zip(gallery, outlines, strict=True)):
    tiles.append(figures.enlarge(photo, (106, 106), smooth=True))
    tiles += [controls.map_tile(photo, panel[name][k], outline, side=106) for name in attribution.METHODS]
fig, axes = figures.image_grid(
    tiles,
    ["image"] + [name.removesuffix(" gradients") for name in attribution.METHODS] + [""] * (len(tiles) - 7),
    7,
    scale=1,
    caption="Six methods, five images: what speaks for the predicted class, each map on its own scale; white: the true outline.",
)
figures.show(
    fig, "Maps of six methods for five images, with the outline of the true object.", most_bytes=90_000
)

# %% [markdown]
# They disagree, and each looks convincing. So what does "right" mean? Two things, and they are not the same.
#
# **Right about the object.** The truth is the mask of the main object. The *pointing game* asks whether the highest pixel is on it. The
# *share inside* is the part of the map's energy on it. *IoU* compares the highest pixels, as many as the object has, with the mask.
#
# **Right about the network.** Perhaps the network does not use the whole object, or uses something else; then a map that shows the object
# would be wrong. So ask the network (Petsiuk et al. 2018). **Deletion**: take the pixels away, the map's highest first, and watch the
# probability; the area under that curve should be small. **Insertion**: begin with a blurred image and bring them in, the highest
# first; the area should be large.
#
# And five nulls: blurred *noise*; a blob in the *centre*, because objects are often there; the *shuffled* map, made for another image;
# the *untrained* network's map; and for the share, the object's *area*.
#
# All that, for 520 test images that the network did not learn from, is half an hour's work for two processor cores. So it was done once,
# by `data_scripts/score_maps.py`, and the scores of every image come with the course.

# %%
table = attribution.stored()  # (520, columns): method, kind of map, score
counts = np.random.default_rng(0).multinomial(len(table), np.full(len(table), 1 / len(table)), size=2000)


def mean_and_interval(values):
    """Mean and 95 % bootstrap interval of each column of (520, columns), without what is missing."""
    values = np.asarray(values, float)
    means = (
        counts @ np.nan_to_num(values) / (counts @ np.isfinite(values))
    )  # the images drawn anew 2,000 times
    return np.nanmean(values, 0), *np.quantile(means, [0.025, 0.975], axis=0)


kinds = [(m, kind) for kind in ("trained", "shuffled", "untrained") for m in attribution.METHODS]
kinds += [("noise", "null"), ("centre", "null")]
scored = {k: mean_and_interval(table[k][list(attribution.SCORES)]) for k in kinds}
print(f"{'':34}" + "".join(f"{score:>15}" for score in attribution.SCORES))
for (method, kind), (mean, low, high) in scored.items():
    print(
        f"{method:22}{kind:12}"
        + "".join(f"{m:9.2f} ±{(b - a) / 2:.2f}" for m, a, b in zip(mean, low, high, strict=True))
    )
print(f"{'area of the object':34}{'':15}{table['area', 'null', 'share inside'].mean():9.2f}")

# %%
fig, axes = figures.panels(
    1,
    5,
    height=360,
    caption="Mean over 520 test images with 95 % bootstrap interval. Dashed: blurred noise and a blob in the centre. Deletion is better when "
    "smaller, everything else when larger.",
)
for column, (ax, score) in enumerate(zip(axes, attribution.SCORES, strict=True)):
    values = np.array(
        [
            [scored[m, kind][0][column] for m in attribution.METHODS]
            for kind in ("trained", "shuffled", "untrained")
        ]
    )
    low, high = (
        np.array(
            [
                [scored[m, kind][e][column] for m in attribution.METHODS]
                for kind in ("trained", "shuffled", "untrained")
            ]
        )
        for e in (1, 2)
    )
    figures.bars(
        values,
        list(attribution.METHODS) if column == 0 else [""] * 6,
        groups=["trained", "shuffled", "untrained"] if column == 4 else None,
        errors=np.stack([values - low, high - values]),
        number=None,
        title=score,
        reference={"": scored["noise", "null"][0][column], " ": scored["centre", "null"][0][column]},
        axes=ax,
    )
figures.show(fig, "Five scores of six methods, with the same for shuffled maps and an untrained network.")

# %% [markdown]
# **What to notice.** Every method knows more than its own shuffled maps, by every score. But they are not alike. RISE is first in all five, and its highest pixel is on
# the object in 90 of 100 images. The plain gradient is last in all five; its IoU of 0.25 is not far from a blob in the middle (0.20).
#
# Now the green bars. The *untrained* network's occlusion, Grad-CAM and RISE maps are as bad as shuffled ones. Its gradients are not: smoothed or integrated, they point at the object more often than a
# blob in the centre does, and by insertion they come near the trained ones. They follow edges, and objects have edges. Worse: integrated gradients of a network that has
# **never learnt anything** reach a deletion of 0.22, just what the *trained* network's plain gradient reaches. Taking away strong edges harms any network. A
# good deletion score is no proof that a map has read the network's mind.
#
# Differences between methods are *paired*: both have scored the same images, so take the difference image by image and ask how it
# varies. Is RISE better than the methods before it, as its paper says?

# %%
rivals = {}
for rival in ("Grad-CAM", "occlusion"):
    for score, sign in (("deletion", -1), ("insertion", 1)):
        ahead = sign * (table["RISE", "trained", score] - table[rival, "trained", score])
        mean, low, high = (float(v[0]) for v in mean_and_interval(ahead.to_numpy()[:, None]))
        rivals[rival, score] = mean, low, high
        print(f"RISE is ahead of {rival:9} in {score:9} by {mean:z6.3f} [{low:z.3f}, {high:z.3f}]")
claim(
    "03-rise-is-ahead",
    statement="By deletion and insertion RISE is better than Grad-CAM and than a sliding window.",
    source="Petsiuk et al. 2018",
    measured="; ".join(
        f"{m} {s}: {v[0]:+z.3f} ({v[1]:+z.3f} to {v[2]:+z.3f})" for (m, s), v in rivals.items()
    )
    + "; 520 images, more is better for RISE",
    verdict="reproduced"
    if all(v[1] > 0 for v in rivals.values())
    else "contradicted"
    if any(v[2] < 0 for v in rivals.values())
    else "cannot be tested here",
)

# %% [markdown]
# A table from a file could say anything. So do a small part of the work again: every 39th image, its six maps, its thirty scores.

# %%
again = range(0, 520, 39)  # 14 images, of 14 classes
batch = diorama.collate([diorama.render("test", i) for i in again])
xs14, masks14 = base.prepare(batch.images), torch.from_numpy(batch.instance)
fresh = attribution.maps(base.model, xs14, "relu5", batch.labels, batch=100)
print(f"{'14 images':22}" + "".join(f"{score:>22}" for score in attribution.SCORES))
worst = 0.0
for method, m in fresh.items():
    line = f"{method:22}"
    made = attribution.scores(base.model, xs14, m, masks14, batch.labels, batch=100)
    for score, values in made.items():
        known = table.loc[list(again), (method, "trained", score)].to_numpy()
        worst = max(worst, float(np.abs(known - values.numpy()).max()))
        line += "{:8.2f} [{:.2f}, {:.2f}]".format(*sanity.bootstrap(values))
    print(line)
print(f"largest difference to the stored score of the same image below 0.01: {worst < 0.01}")

# %% [markdown]
# Now look for yourself. The class menu asks about any class; the button makes the maps that need seconds.

# %%
controls.map_panel(
    net,
    list(shown_first.values()),
    layer,
    masks=[truth[int(k.split(":")[0])] for k in pictures] if MODEL.startswith("diorama/") else None,
    titles=list(shown_first),
)

# %% [markdown] tags=["exercise"]
# ### Exercise 6 · The deletion curve
#
# `score` takes images (N, 3, H, W) and gives one number for each, (N,). After step $t$ of `steps`, the $\lfloor t H W / \text{steps}
# \rfloor$ highest pixels of `heat` (H, W) show `fill` in all three colours. Return the scores from step 0, the whole image, to step
# `steps`, when nothing is left. No two values of `heat` are equal.


# %% tags=["exercise"]
def deletion_curve(score, image, heat, fill, steps):
    """(3, H, W), (H, W) → (steps + 1,)."""
    ### BEGIN SOLUTION
    rank = heat.flatten().argsort(descending=True).argsort().view_as(heat)  # 0 for the highest pixel
    curve = []
    for t in range(steps + 1):
        gone = rank < t * heat.numel() // steps
        curve.append(score(torch.where(gone, torch.tensor(float(fill)), image)[None])[0])
    return torch.stack(curve)
    ### END SOLUTION


# %% tags=["check"]
checks.check_deletion(deletion_curve)

# %% [markdown]
# ## 9 · Does the map depend on the network?
#
# A map that explains a network must change when the network forgets. Adebayo et al. (2018) draw the weights anew, layer by layer from
# the output to the input, and compare the maps before and after. Some well-known maps hardly change: they show the edges of the image,
# and you would not have noticed.
#
# *Likeness* is the rank correlation of the pixels, absolute values compared. But two maps of different images are alike too, since all of them are
# brighter in the middle or at edges. So the null is the likeness with the trained network's map of **another image**: a map that
# fell to that level shows nothing of what it showed before. A third method joins: **gradient × input** (Shrikumar et al. 2016).

# %%
probe, asked16 = base.prepare(sample.images[:16]), sample.labels[:16]


def three_maps(model):
    g = saliency.gradient(model, probe, asked16)
    return {
        "gradient": saliency.saliency_map(g).cpu(),
        "gradient × input": saliency.saliency_map(g * probe).cpu(),
        "Grad-CAM": class_activation.upsample(
            class_activation.grad_cam(model, probe, "relu5", asked16, rectify=False), 96
        ).cpu(),
    }


before = three_maps(base.model)
after = {"trained": before} | {name: three_maps(model) for name, model in sanity.randomise(base.model)}
likeness = {
    name: {step: sanity.similarity(before[name], m[name]).rank for step, m in after.items()}
    for name in before
}
other = {
    name: torch.cat([sanity.similarity(m, m.roll(k, 0)).rank for k in (1, 5)]) for name, m in before.items()
}

# %%
example, tiles = 13, []
for name in before:
    for step in after:
        heat = after[step][name][example].abs()
        coloured = figures.colourise(heat, limits=(0, float(heat.quantile(0.995)) or 1.0))
        tiles.append(figures.enlarge(coloured, (90, 90), smooth=True))
fig, axes = figures.image_grid(
    tiles,
    list(after) + [""] * (2 * len(after)),
    len(after),
    rows=list(before),
    scale=1,
    gap=4,
    caption="Absolute values of three maps of one image, from the trained network on the left to one without any trained weight on the "
    "right: each column draws one more layer anew. Each map has its own scale, dark is zero.",
)
figures.show(
    fig, "Three maps while the network's layers are randomised one after the other.", most_bytes=90_000
)

# %%
fig, axes = figures.panels(
    1,
    3,
    height=300,
    sharey=True,
    caption="Mean and 95 % interval over 16 images. Dashed: the map of another image.",
)
for ax, name in zip(axes, before, strict=True):
    rows = [
        sanity.bootstrap(values) if step != "trained" else (1.0, 1.0, 1.0)
        for step, values in likeness[name].items()
    ]
    mean, low, high = (np.array([row[k] for row in rows]) for k in range(3))
    figures.curves(
        None,
        {"": mean},
        bands={"": (low, high)},
        x_ticks=[
            step.removeprefix("conv").removeprefix("fc") if step != "trained" else "none" for step in after
        ],
        x_label="drawn anew: fc8 down to …",
        y_label="likeness to the trained map" if name == "gradient" else "",
        y_limits=(-0.3, 1.0),
        reference={" ": float(other[name].mean())},
        title=name,
        axes=ax,
    )
figures.show(fig, "Likeness of three maps to the trained network's, while layers are randomised.")
for name in before:
    row = {step: likeness[name][step] for step in ("fc8", "fc6", "conv5", "conv1")}
    print(
        f"{name:17}"
        + "".join(f"{step} {interval(v, '{:z.1f}')}   " for step, v in row.items())
        + f"null {interval(other[name], '{:z.1f}')}"
    )

# %%
end = {name: sanity.bootstrap(likeness[name]["conv1"]) for name in before}
null = {name: sanity.bootstrap(other[name]) for name in before}
passed = {name: end[name].low <= null[name].high for name in before}
claim(
    "03-sanity-gradcam",
    statement="Grad-CAM passes the randomisation test: when the learnt weights are lost, it is lost.",
    source="Adebayo et al. 2018",
    measured=f"likeness to the trained map {end['Grad-CAM'].mean:z.2f} ({end['Grad-CAM'].low:z.2f} to {end['Grad-CAM'].high:z.2f}) when all "
    f"weights are drawn anew, another image's map {null['Grad-CAM'].mean:z.2f} (16 images)",
    verdict="reproduced" if passed["Grad-CAM"] else "contradicted",
)

# %%
claim(
    "03-sanity-gradient",
    statement="The plain gradient passes the randomisation test: when the learnt weights are lost, it is lost.",
    source="Adebayo et al. 2018",
    measured=f"likeness to the trained map {end['gradient'].mean:z.2f} ({end['gradient'].low:z.2f} to {end['gradient'].high:z.2f}) when all "
    f"weights are drawn anew, another image's map {null['gradient'].mean:z.2f} (16 images)",
    verdict="reproduced" if passed["gradient"] else "contradicted",
)

# %%
claim(
    "03-sanity-gradient-input",
    statement="Gradient × input keeps the look of the image when the weights are lost.",
    source="Adebayo et al. 2018",
    measured=f"likeness {end['gradient × input'].mean:.2f} ({end['gradient × input'].low:.2f} to {end['gradient × input'].high:.2f}) when "
    f"all weights are drawn anew, another image's map {null['gradient × input'].mean:.2f}; the plain gradient keeps "
    f"{end['gradient'].mean:.2f}",
    verdict="reproduced" if not passed["gradient × input"] else "contradicted",
)

# %% [markdown]
# **What to notice.** Grad-CAM falls to the level of another image's map: it needs the learnt weights. The plain gradient loses most of its likeness, but keeps a little more than another
# image's map has, even when no trained weight is left. So by this strict criterion it does *not* pass, where Adebayo et al., without such a null, let it pass. Gradient × input keeps far more, and the reason
# is in its name: the input is a factor, and it has not changed. Look at the last column of the picture: the gradient is noise, and times the input it shows the scene again.
#
# ## 10 · Right for the wrong reason
#
# A network that is right on every test image may still decide by the background. If every cat of a data set is photographed in a living
# room, a living room is a cat. No accuracy on that data shows it. Can a map?
#
# Make the experiment. Two networks learnt the same eight classes with the same recipe from the same number of images. For
# `diorama/alexnet-biased` every class stood in a place of its own: cats in living rooms, cars in streets. For its twin
# `diorama/alexnet-unbiased` every class stood in all eight places.

# %%
biased = zoo.load("diorama/alexnet-biased", weights=WEIGHTS, device=where)
unbiased = zoo.load("diorama/alexnet-unbiased", weights=WEIGHTS, device=where)
twins = {"biased": biased, "unbiased": unbiased}
for network in twins.values():
    network.model.to(memory_format=torch.channels_last)

tied = diorama.shortcut_images("test", 128, tied=True)  # every object in the place of its class
free = diorama.shortcut_images("test", 192, tied=False)  # every class in every place
free = free[(~diorama.congruent(free)).nonzero()[:, 0].numpy()]  # … and of these, the others
classes, homes = list(diorama.SHORTCUT), list(diorama.SHORTCUT.values())
empty = diorama.collate(
    [
        diorama.render("test", i, diorama.Knobs(label=classes[i % 8], scene=homes[i % 8], absent=True))
        for i in range(128)
    ]
)  # the same pictures as `tied`, without the object
scene_class = torch.tensor([homes.index(diorama.SCENES[s]) for s in free.attributes["scene"]])

for name, network in twins.items():
    said = {
        key: network.probabilities(b.images).argmax(1)
        for key, b in (("tied", tied), ("free", free), ("empty", empty))
    }
    print(f"{name:9} object in its usual place: right in {(said['tied'] == tied.labels).float().mean():.0%}")
    print(
        f"{'':9} object in another place:   right in {(said['free'] == free.labels).float().mean():.0%}, names the class that "
        f"belongs to the place in {(said['free'] == scene_class).float().mean():.0%}"
    )
    print(
        f"{'':9} no object at all:          names the class of the place in {(said['empty'] == tied.labels).float().mean():.0%}"
    )
print("chance: 12 %")

# %% [markdown]
# **What to notice.** On images like those it learnt from, the biased network is *better* than its twin: 100 %. Move the objects to other places and it falls to chance, and in
# four of five images it names the class that belongs to the place. It needs no object at all. It is a classifier of places, and its accuracy hides it.
#
# You know it because you could move the objects. Suppose you could not: you have only the images that such a network was trained
# for, with every object in its usual place. Do the maps tell?

# %%
m = 24
ways = ["occlusion", "gradient", "Grad-CAM", "RISE"]
masks24b = torch.from_numpy(tied.instance[:m])
found = {
    name: attribution.maps(
        network.model, network.prepare(tied.images[:m]), "relu5", tied.labels[:m], methods=ways, masks=200
    )
    for name, network in twins.items()
}
shown, tiles = [3, 0, 12, 7], []
for k in shown:
    tiles.append(figures.enlarge(tied.images[k], (106, 106), smooth=True))
    for name in twins:
        for way in ("occlusion", "Grad-CAM", "RISE"):
            tiles.append(controls.map_tile(tied.images[k], found[name][way][k], masks24b[k], side=106))
heads = ["image"] + [f"{way}\n{name}" for name in twins for way in ("occlusion", "Grad-CAM", "RISE")]
fig, axes = figures.image_grid(
    tiles,
    heads + [""] * (len(tiles) - 7),
    7,
    rows=[classes[int(tied.labels[k])] for k in shown],
    scale=1,
    caption="Maps of the biased network and of its unbiased twin, for the true class. White: the outline of the object.",
)
figures.show(
    fig,
    "Maps of a biased and an unbiased network: the first look at the scene, the second at the object.",
    most_bytes=90_000,
)

# %%
share = {
    name: {way: faithfulness.share_inside(maps.cpu(), masks24b) for way, maps in by_way.items()}
    for name, by_way in found.items()
}
area24 = faithfulness.area(masks24b)
print(f"{'area of the object':20}{interval(area24)}")
fallen = {}
for way in ways:
    print(f"{way:20}" + "   ".join(f"{name} {interval(share[name][way])}" for name in twins))
    fallen[way] = {name: sanity.bootstrap(share[name][way] - area24) for name in twins}

# %%
for way in ("occlusion", "RISE"):
    print(
        f"{way:10} above the area: "
        + ", ".join(f"{name} {v.mean:z.2f} [{v.low:z.2f}, {v.high:z.2f}]" for name, v in fallen[way].items())
    )
apart = {way: sanity.bootstrap(share["unbiased"][way] - share["biased"][way]) for way in ways}
exposed = [way for way in ways if apart[way].low > 0 and fallen[way]["unbiased"].low > 0]
claim(
    "03-maps-expose-bias",
    statement="Maps reveal that a classifier decides by the background.",
    source="Selvaraju et al. 2017; Ribeiro et al. 2016",
    measured="share on the object, biased and unbiased: "
    + "; ".join(
        f"{way} {share['biased'][way].nanmean():.2f} and {share['unbiased'][way].nanmean():.2f}"
        for way in ways
    )
    + f"; its area {area24.mean():.2f}; {m} images on which a test of accuracy finds nothing",
    verdict="reproduced"
    if {"occlusion", "RISE"} <= set(exposed)
    else "contradicted"
    if not exposed
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** The maps tell. The biased network's windows, walls and skies light up, and the share on the object is what its area has by chance; in its twin it is two to three and a half
# times the area. All four methods see the difference, on 24 images on which a test of accuracy finds nothing wrong. This is the best use of such maps: not to admire that a network looks at the
# right thing, but to catch it when it does not. Mind what made it easy: you had masks, and a twin to compare with. Without them, look at many images, and at the classes one by one.
#
# ## 11 · Photographs
#
# Diorama gives the truth, but not the mess of the world. `photos/alexnet` learnt 99 categories from photographs of Caltech-101. Ask it
# about pictures that come with scikit-image and scikit-learn. There is no mask here, so judge with what you have learnt: the scores
# of section 8, and your doubt.

# %%
reader = zoo.load("photos/alexnet", weights=WEIGHTS, device=where)
reader.model.to(memory_format=torch.channels_last)
album = [images.fit(photographs[name], 192) for name in ("chelsea", "coffee", "rocket", "flower")]
xs4 = reader.prepare(torch.stack(album))
seen = attribution.maps(reader.model, xs4, "relu5")
p = reader.probabilities(torch.stack(album))
tiles, names = [], []
for k, photo in enumerate(album):
    tiles.append(figures.enlarge(photo, (106, 106), smooth=True))
    tiles += [controls.map_tile(photo, seen[name][k], side=106) for name in attribution.METHODS]
    names.append(f"{reader.classes[int(p[k].argmax())].replace('_', ' ')}\n{float(p[k].max()):.2f}")
fig, axes = figures.image_grid(
    tiles,
    ["photograph"] + [name.removesuffix(" gradients") for name in attribution.METHODS] + [""] * 21,
    7,
    rows=names,
    scale=1,
    caption="Six maps for the category that photos/alexnet finds most probable, each on its own scale.",
)
figures.show(fig, "Maps of six methods for four photographs.", most_bytes=90_000)

# %%
gone = {name: faithfulness.deletion(reader.model, xs4, m, steps=16).area for name, m in seen.items()}
gone |= {
    f"null: {name}": faithfulness.deletion(reader.model, xs4, m.cpu(), steps=16).area
    for name, m in sanity.nulls(seen["RISE"].cpu(), generator=generator).items()
    if name != "shuffled"
}
print("mean area under the deletion curve, four photographs, small is good:")
print("   ".join(f"{name} {float(area.mean()):.2f}" for name, area in gone.items()))

# %% [markdown]
# **What to notice.** Here you have to be careful. Three of the four answers are wrong: the network knows no coffee, no rocket and no dahlia, and so it says yin yang, ketch and strawberry. The maps still show
# *why*: the spoon and the rim, the pole against the sky, the round body with its scales. The cat becomes a cougar's face, by its eyes and muzzle. A map explains the answer that was given, right or wrong.
# And the scores of four photographs decide nothing: a blob in the centre does as well as most methods, because these photographs have their object there.
#
# ## Check yourself
#
# **1.** A colleague occludes with black squares, finds that the network needs the corners of the image, and writes a paper on it. What do you
# ask?
#
# <details><summary>Answer</summary>
#
# What happens with another fill. A black square is an object; on a bright background it may itself be what the network reacts to. If the
# effect is there for the mean colour, for white and for a blurred patch, it is about the corners. And ask for the null: how often
# does such a window change the answer at places where nothing is?
# </details>
#
# **2.** Grad-CAM shows the whole object beautifully, RISE only its head, and deletion prefers RISE. Which one is right?
#
# <details><summary>Answer</summary>
#
# Perhaps both. If the head alone decides, the map that shows only the head is right about the *network*, and the one that shows the
# whole object is right about the *object*. Say which question you ask before you choose a method by its score.
# </details>
#
# **3.** A map has 45 % of its energy on the object, and it looks convincing. What do you need to know before you believe it?
#
# <details><summary>Answer</summary>
#
# The area of the object: a map that knows nothing has that share. What a blob in the centre, the map of another image, and the
# same method on an untrained network have. And an interval. Then whether it changes when the network forgets.
# </details>
#
# ## Summary
#
# - Occlusion is an experiment: it says what the network does without a part. Window, stride and fill are part of the question.
# - A window changes only the units whose receptive field meets it. Computing these alone gives the same map in a fraction of the work.
# - A gradient costs one run and says where the network is sensitive. It is nearly blind to the class. Averages along a path or over noise help.
# - Grad-CAM and RISE find the object that you ask about. RISE is the most faithful here, and the slowest.
# - A share inside, an IoU or a deletion score means something only beside its nulls: the area, the centre, another image's map, an untrained network.
# - Randomise the weights: what stays is not about the network.
# - A perfect accuracy may rest on the background. Maps can show it, and so can an image without an object.
#
# **Claims tested here:** occlusion finds the object; incremental occlusion; SmoothGrad; logit or probability; completeness; segmentation from a map; Grad-CAM and CAM;
# class discrimination; RISE against its rivals; two sanity checks; bias exposed. The verdicts stand below the cells, and together in
# [lecture 00](00_start_here.ipynb).
#
# ## Further reading
#
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep inside convolutional networks: visualising image classification models and saliency maps*,
#   ICLR workshop 2014. Section 3 is our sections 4 and 5.
# - M. Zeiler, R. Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014. Section 4.2 is the occluder.
# - S. Nakandala, A. Kumar, Y. Papakonstantinou, *Incremental and approximate inference for faster occlusion-based deep CNN explanations*,
#   SIGMOD 2019.
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning deep features for discriminative localization*, CVPR 2016. CAM.
# - R. Selvaraju et al., *Grad-CAM: visual explanations from deep networks via gradient-based localization*, ICCV 2017.
# - D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg, *SmoothGrad: removing noise by adding noise*, 2017.
# - M. Sundararajan, A. Taly, Q. Yan, *Axiomatic attribution for deep networks*, ICML 2017. Integrated gradients.
# - A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje, *Not just a black box*, 2016. Gradient × input.
# - V. Petsiuk, A. Das, K. Saenko, *RISE: randomized input sampling for explanation of black-box models*, BMVC 2018.
# - J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff, *Top-down neural attention by excitation backprop*, ECCV 2016. The pointing game.
# - J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim, *Sanity checks for saliency maps*, NeurIPS 2018.
# - M. Ribeiro, S. Singh, C. Guestrin, *"Why should I trust you?" Explaining the predictions of any classifier*, KDD 2016. The huskies in the snow.
# - Y. Boykov, M.-P. Jolly, *Interactive graph cuts*, ICCV 2001; C. Rother, V. Kolmogorov, A. Blake, *GrabCut*, SIGGRAPH 2004.
