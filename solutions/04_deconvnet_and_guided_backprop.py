# %% [markdown]
# # 04 · Deconvnet against guided backpropagation
#
# **The question: what in the image made this unit fire?**
#
# Lecture 02 found the patches that a unit likes best. A patch shows everything at that place: the cat, its colour, the wall
# behind it. Which part of it made the unit fire? Three methods answer with a picture: choose the unit, set all others to zero,
# and go back through the network to the pixels. They differ in a single rule, what a ReLU lets through on the way back, and
# this small difference turns noise into the most beautiful pictures of this course. Are they also true? You find out what they
# show, and what they cannot.
#
# After this lecture you can
#
# - go back through a network by hand, with the rule of the gradient, of the deconvnet and of guided backpropagation,
# - show the top patches of any unit beside their projections, and test whether the projection shows what the unit needs,
# - say where Zeiler and Fergus' deconvnet and the gradient agree, and where they do not,
# - tell when a popular implementation silently returns something else,
# - say what such a picture does *not* tell, with numbers and nulls.
#
# **You need** lectures 00 to 03. **Time:** 100 minutes.

# %% tags=["setup"]
import numpy as np
import torch
import torchvision
from skimage.filters import sobel
from torch import nn
from torch.nn import functional as F

from cnnvis_helpers import (
    backward_rules,
    controls,
    deconvnet,
    device,
    diorama,
    faithfulness,
    figures,
    hooks,
    images,
    occlusion,
    receptive_field,
    saliency,
    sanity,
    seeding,
    survey,
    zoo,
)
from cnnvis_helpers.backward_rules import RULES, project
from cnnvis_helpers.checks import lecture04 as checks
from cnnvis_helpers.claims import claim

MODEL = "diorama/alexnet"  # any name of zoo.names(), such as "photos/alexnet" or "imagenet/resnet18"
WEIGHTS = True  # False gives random weights, without a download

generator = seeding.seed_all(0)
where = device.pick()
net = zoo.load(MODEL, weights=WEIGHTS, device=where)
base = zoo.load("diorama/alexnet", weights=WEIGHTS, device=where)
untrained = zoo.load("diorama/alexnet-untrained", device=where)
for network in (net, base, untrained):  # the same numbers, in an order that most processors convolve faster
    network.model.to(memory_format=torch.channels_last)
sample = diorama.sample()  # test images with their labels; they come with the package
truth = torch.from_numpy(sample.instance)  # (N, 96, 96), True where the main object is seen
photographs = {name: photo.image for name, photo in images.samples().items()}
print(f"{net.name}: {len(net.classes)} classes, input {net.input_size} × {net.input_size} pixels")

# %% [markdown]
# Sections 1 and 2 look at *your* network, the one called `MODEL`. Sections 3 to 6 always use the Diorama family, since they
# need a plain sequence of layers, checkpoints or the truth. Section 7 looks at photographs.
#
# ## 1 · Three rules at the ReLU
#
# Let $z$ be what goes into a ReLU and $y = \max(0, z)$ what comes out. On the way back a signal $g$ arrives at $y$. What goes
# on to $z$?
#
# | Rule | goes on | asks | paper |
# |:--|:--|:--|:--|
# | gradient | $g \cdot [z > 0]$ | was the ReLU *on*? | the chain rule; Simonyan et al. 2014 |
# | deconvnet | $g \cdot [g > 0]$ | is the *signal* positive? | Zeiler and Fergus 2014 |
# | guided | $g \cdot [z > 0]\,[g > 0]$ | both | Springenberg et al. 2015 |
#
# Here $[\cdot]$ is 1 where the condition holds, else 0. Everything else on the way back is the same: a convolution is
# transposed, and max pooling sends the signal to where the maximum was. Only the first rule gives a derivative. The deconvnet's
# idea: an activation is never negative, so its reconstruction should not be either. Guided backpropagation takes both masks.
#
# Take a network small enough to calculate by hand: $x = (1, 2)$, four units $z = W x$, a ReLU, and one output $s = v \cdot y$.

# %%
W = torch.tensor([[1.0, 1], [1, -1], [0, 1], [-2, 0]])
v = torch.tensor([[2.0, 1, -1, -3]])
x = torch.tensor([[1.0, 2.0]])
z = x @ W.T
g = v  # the signal at y: the output is s = v · y, and its signal is 1
through = {"gradient": g * (z > 0), "deconvnet": g * (g > 0), "guided": g * (z > 0) * (g > 0)}


def row(values):
    return "".join(f"{value + 0.0:6.0f}" for value in values.flatten().tolist())


print(f"z                  {row(z)}\ny = ReLU(z)        {row(z.relu())}\ng, the signal at y {row(g)}\n")
for rule, signal in through.items():
    print(f"{rule:10} lets through {row(signal)[5:]}     →  x gets {row(signal @ W)}")

# %%
tiny = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
with torch.no_grad():
    tiny[0].weight.copy_(W)
    tiny[2].weight.copy_(v)
    s = [
        float(tiny(x + step)) for step in (torch.zeros(2), torch.tensor([0.1, 0.0]), torch.tensor([0.0, 0.1]))
    ]
print(
    f"the output is {s[0]:.1f}; with x1 larger by 0.1 it rises by {s[1] - s[0]:.1f}, with x2 by {s[2] - s[0]:.1f}"
)
for rule in RULES:
    start = x.clone().requires_grad_()
    with backward_rules.ReLURule(rule):  # the helper: autograd follows the rule inside this block
        (found,) = torch.autograd.grad(tiny(start).sum(), start)
    print(
        f"{rule:10} autograd with the helper: {row(found)}; as by hand: {torch.equal(found, through[rule] @ W)}"
    )

# %% [markdown]
# **What to notice.** Unit 1 is on and gets a positive signal: all three let it through. Unit 2 is *off*, and only the deconvnet
# does not care. Unit 3 is on and *speaks against* the output: only the gradient passes that on. Unit 4 gets through nowhere.
# The gradient (2, 1) says what really happens when you change the input. The other two do not: they say which inputs *support*
# the output through units that support it.
#
# The same for a larger table of numbers: red is positive, blue negative.

# %%
z6, g6 = (torch.randint(-4, 5, (6, 6), generator=torch.Generator().manual_seed(k)).float() for k in (3, 4))
steps = {"z": z6, "y = ReLU(z)": z6.relu(), "signal g": g6}
steps |= {"gradient": g6 * (z6 > 0), "deconvnet": g6.relu(), "guided": g6.relu() * (z6 > 0)}
fig, axes = figures.grey_grid(
    torch.stack(list(steps.values())),
    columns=6,
    titles=list(steps),
    label="value",
    largest=120,
    gap=10,
    caption="What goes into a ReLU, what comes out, the signal that comes back, and what each rule lets through. White is zero.",
)
figures.show(fig, "Six tables of numbers: the forward pass, the signal, and what three rules let through.")
print("entries that pass: " + ", ".join(f"{rule} {int((steps[rule] != 0).sum())} of 36" for rule in RULES))

# %% [markdown]
# Now a real network. `diorama/alexnet` is a plain sequence of layers, so going back is a loop: from the last layer to the
# first, each layer turns the signal at its output into one at its input. `torch.func.vjp` transposes a layer; at the ReLUs you
# put your rule.


# %%
def go_back(layers, x, rule, c):
    """The projection of output c of a sequence of layers to its input x (1, …)."""
    inputs = []
    with torch.no_grad():
        for layer in layers:
            inputs.append(x)
            x = layer(x)
    signal = F.one_hot(torch.tensor([c]), x.shape[1]).to(x)  # 1 at the unit in question, 0 elsewhere
    for layer, z in zip(reversed(layers), reversed(inputs), strict=True):
        if isinstance(layer, nn.ReLU):
            on, positive = z > 0, signal > 0
            keep = {"gradient": on, "deconvnet": positive, "guided": on & positive}[rule]
            signal = signal * keep
        else:
            (signal,) = torch.func.vjp(layer, z)[1](signal)
    return signal.detach()


cat = base.prepare(sample.images[22])
c = int(base.model(cat)[0].argmax())
for rule in RULES:
    with hooks.frozen(base.model):
        by_hand = go_back(list(base.model), cat, rule, c)
    helper = project(base.model, cat, c, rule=rule)
    print(
        f"{rule:10} for {base.classes[c]}: the helper agrees: {torch.allclose(by_hand, helper, atol=1e-5 * float(helper.abs().max()))}"
    )

# %% [markdown]
# `project` does this for every network, unit and layer (section 4 says how). Look at the predicted classes of five images. A
# projection is signed and has three colours, so it is drawn centred on grey: grey is zero, red means "more red here", and so
# on. Each projection has its own scale.

# %%
if MODEL.startswith("diorama/"):
    gallery = sample.images[[22, 16, 24, 31, 89]]
else:
    gallery = torch.stack([images.fit(photo, net.input_size) for photo in photographs.values()])[1:]
xs = net.prepare(gallery)
classes = [net.classes[i] for i in net.probabilities(gallery).argmax(1).tolist()]
tiles = [figures.enlarge(picture, (146, 146), smooth=True) for picture in gallery]
for rule in RULES:
    tiles += [controls.projection_tile(p, 146) for p in project(net.model, xs, rule=rule)]
fig, axes = figures.image_grid(
    tiles,
    classes + [""] * 15,
    columns=5,
    rows=["image", *RULES],
    scale=1,
    caption=f"The class that {net.name} predicts, projected back to five images by three rules. Grey is zero.",
)
figures.show(
    fig,
    "Projections of five images' classes: noise by the gradient, clear outlines by the other two.",
    most_bytes=150_000,
)


# %%
def half_energy(projections):
    """The smallest share of the pixels that holds half of a projection's energy (its squares), (N,)."""
    energy = projections.square().sum(1).flatten(1).sort(descending=True).values.cumsum(1)
    return ((energy < energy[:, -1:] / 2).sum(1) + 1).cpu() / energy.shape[1]


def interval(values, form="{:.2f}"):
    """A mean and its 95 % bootstrap interval, as text."""
    return "{} [{}, {}]".format(*(form.format(v) for v in sanity.bootstrap(values)))


xs48 = base.prepare(sample.images[:48])
dense = {}
for name, network in {"trained": base, "untrained": untrained}.items():
    for rule in RULES:
        dense[rule, name] = half_energy(project(network.model, xs48, sample.labels[:48], rule=rule))
        print(
            f"{name:10}{rule:10} half of the energy is on {interval(dense[rule, name], '{:.1%}')} of the pixels"
        )

# %%
less = {
    rule: sanity.bootstrap(dense[rule, "trained"] - dense["guided", "trained"])
    for rule in ("gradient", "deconvnet")
}
claim(
    "04-guided-is-sharper",
    statement="Guided backpropagation gives sharper pictures of higher layers than the gradient and the deconvnet.",
    source="Springenberg et al. 2015",
    measured="half of the energy lies on "
    + ", ".join(f"{dense[rule, 'trained'].mean():.1%} ({rule})" for rule in RULES)
    + " of the pixels; guided less than the others by "
    + " and ".join(f"{v.mean:.1%} ({v.low:.1%} to {v.high:.1%})" for v in less.values())
    + "; 48 images",
    verdict="reproduced" if min(v.low for v in less.values()) > 0 else "contradicted",
)

# %% [markdown]
# **What to notice.** The gradient is noise with a hint of the object; the other two are drawings. The guided rule leaves the
# least: half of its energy is on fewer than one per cent of the pixels. But concentration is not truth. Is this what the
# network uses? Section 2 asks for units, section 6 for classes.

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · What a ReLU sends back
#
# `z` went into the ReLU, `g` came back to its output, both of any shape; `rule` is `"gradient"`, `"deconvnet"` or `"guided"`.
# Return what goes on to `z`.


# %% tags=["exercise"]
def relu_back(z, g, rule):
    """Tensors of one shape → a tensor of that shape."""
    ### BEGIN SOLUTION
    if rule == "gradient":
        return g * (z > 0)
    if rule == "deconvnet":
        return g * (g > 0)
    return g * (z > 0) * (g > 0)
    ### END SOLUTION


# %% tags=["check"]
checks.check_relu_back(relu_back)

# %% [markdown]
# ## 2 · Top patches and their projections
#
# This is the famous figure of Zeiler and Fergus (2014, figure 2). For a unit of some layer take the nine images of a test set
# that activate it most (lecture 02). Show the nine patches in its receptive field, and beside them the nine projections. Nine
# patches are alike in many ways; the projections say which of these ways the unit means.
#
# For a unit inside the network the signal starts as 1 at that unit, where it is most active, and 0 everywhere else.

# %%
test = diorama.load("test", 800, labels=False)  # drawn once, then kept in a cache


def squares(photo, size, sides=(96, 160)):
    """Squares of a photograph, side by side, in two sizes: (n, 3, size, size)."""
    height, width = photo.shape[1:]
    return torch.stack(
        [
            images.fit(photo[:, y : y + side, x : x + side], size)
            for side in sides
            for y in range(height % side // 2, height - side + 1, side)
            for x in range(width % side // 2, width - side + 1, side)
        ]
    )


if MODEL.startswith("diorama/"):
    pictures = test.images
else:
    pictures = torch.cat([squares(photo, net.input_size) for photo in photographs.values()])
shown = net.prepare(pictures)
layers = [
    name
    for name in hooks.rectified_maps(net.model, shown[:4])
    if "Pool" not in type(hooks.find(net.model, name)).__name__
]
layers = [layers[i] for i in np.unique(np.linspace(0, len(layers) - 1, 5).round().astype(int))]
found = survey.survey(net.model, shown, [survey.TopK(name, 9) for name in layers], batch=100)
tops = {top.layer: top for top in found}
fields = {name: receptive_field.receptive_field(net.model, name, (net.input_size,) * 2) for name in layers}
print(
    f"{len(pictures)} images; " + ", ".join(f"{name} sees {fields[name].size[0]} pixels" for name in layers)
)


# %%
def box_of(name, place):
    """The receptive field of a unit, or the whole image where it is larger than that."""
    if fields[name].whole or max(fields[name].size) >= net.input_size:
        return (0, 0, net.input_size, net.input_size)
    return fields[name].box(*place, clip=False)


def sheets(name, unit, rules, side):
    """The top nine patches of a unit, and their projections by each rule: 3 × 3 pictures each."""
    top = tops[name]
    chosen, at = top.images[unit], torch.stack([top.rows[unit], top.columns[unit]], 1)
    boxes = [box_of(name, place) for place in at.tolist()]
    cut = [controls.in_box(pictures[i], box, 0.5) for i, box in zip(chosen.tolist(), boxes, strict=True)]
    rows = [[figures.enlarge(patch, (side, side), smooth=patch.shape[1] > 16) for patch in cut]]
    for rule in rules:
        maps = project(net.model, shown[chosen], unit, layer=name, at=at, rule=rule, dead="zeros")
        rows.append(
            [
                controls.projection_tile(controls.in_box(m, box), side)
                for m, box in zip(maps, boxes, strict=True)
            ]
        )
    return [figures.tile(tiles, 3, gap=2) for tiles in rows]


BEST = {"relu1": [21, 9, 14, 34], "relu2": [16, 70, 14, 22], "relu3": [2, 36, 48, 88], "relu4": [12, 30, 32, 74],
        "relu5": [82, 6, 36, 70]}  # fmt: skip


def units_of(name):
    """Four units: for diorama/alexnet, ones that are easy to name; for other networks at equal steps."""
    count = len(tops[name].values)
    return BEST[name] if net.name == "diorama/alexnet" else [count * k // 4 for k in range(4)]


rows = [
    (layers[2], units_of(layers[2])[0]),
    (layers[3], units_of(layers[3])[1]),
    (layers[4], units_of(layers[4])[0]),
]
fig, axes = figures.image_grid(
    [sheet for name, unit in rows for sheet in sheets(name, unit, RULES, 58)],
    ["top nine patches", *RULES] + [""] * 8,
    columns=4,
    rows=[f"{name}\nunit {unit}" for name, unit in rows],
    scale=1,
    gap=8,
    caption="Three units, each in the nine patches that activate it most, and the projections of these activations by three rules.",
)
figures.show(
    fig,
    "Top patches of three units beside projections by gradient, deconvnet and guided rule.",
    most_bytes=200_000,
)

# %% [markdown]
# **What to notice.** Nine cats: brown, white and striped, before walls and bushes. The projections agree on what they share:
# two eyes, and the ears above them. One of the nine patches of the second unit shows no boat but a cup with waves; the
# projection shows the two slanted edges that the unit took for sails. The gradients of the very same units are noise. Deconvnet
# and guided rule look alike here, and the guided one is a little cleaner.
#
# Now all layers, with the guided rule. Patches on the left, projections on the right. These units are chosen because they are
# easy to name; the control below shows all the others, and the numbers below are about every third unit.

# %%
for name in layers:
    fig, axes = figures.image_grid(
        [sheet for unit in units_of(name) for sheet in sheets(name, unit, ["guided"], 60)],
        [text for unit in units_of(name) for text in (f"unit {unit}", "")],
        columns=4,
        scale=1,
        gap=9,
        title=name,
        caption=f"Four units of {name}: their top nine patches, {fields[name].size[0]} × {fields[name].size[0]} pixels, and guided "
        "projections. Grey is zero, or outside the image.",
    )
    figures.show(fig, f"Top nine patches of four units of {name}, and their projections.", most_bytes=110_000)

# %% [markdown]
# **What to notice.** In the first layer the nine projections are all the same: the filter itself (lecture 01), whatever the
# image. There is no ReLU in between. In the second layer you see parts: a pair of eyes, a wheel with its arch, a post between
# two windows, a slanted edge. In the third and fourth they are things: cat faces, round rims, slanted roofs, palm fronds, two
# sails, flower heads, rows of windows over a wheel. In the fifth they are whole outlines: houses with their windows, bicycles,
# lamp shades. The background is gone, and with it most of the colour. But look at the unit of round rims in relu3: between the
# bicycle wheels there is a tulip, and what its projection shows is a tulip.
#
# ### Does the unit need what the projection shows?
#
# Ask the network. Keep the 15 % of the receptive field's pixels where the projection is strongest, blur everything else, and
# see how much of the activation is left. If the projection shows what the unit needs, much is left. Four nulls: the pixels with
# the strongest *edges* (Sobel's filter, which knows no network), those in the *middle* of the field, those that the projection
# of *another unit* names, drawn at random from those that are active at the same place, and *none*.


# %%
def strength(x, name, unit, at):
    """Activation of one unit for each image, (N,)."""
    a = hooks.activations(net.model, x, name)[name]
    return a[torch.arange(len(x)), unit, at[:, 0], at[:, 1]].cpu()


def strongest(heat, inside, share=0.15):
    """The share of the pixels in the box where a map, slightly blurred, is largest: (N, H, W) bool."""
    heat = occlusion.blurred(heat[:, None], net.input_size / 64)[:, 0].masked_fill(~inside, -1)
    rank = heat.flatten(1).argsort(descending=True).argsort().view_as(heat)
    return rank < share * inside.sum((1, 2), keepdim=True)


def edges_of(pictures):
    """The strength of the edges in the grey pictures, by Sobel's filter: (N, H, W)."""
    return torch.stack([torch.from_numpy(sobel(p.mean(0).numpy())) for p in pictures.cpu()]).float()


def ask(name):
    """What is left of the activation of every third unit, in its best image, for each way to choose the pixels."""
    top = tops[name]
    unit = torch.arange(0, len(top.values), max(3, len(top.values) // 32))  # fewer of wide layers, for time
    unit = unit[top.values[unit, 0] > 0]
    at = torch.stack([top.rows[unit, 0], top.columns[unit, 0]], 1)
    x, pixels = shown[top.images[unit, 0]], pictures[top.images[unit, 0]]
    inside = torch.zeros(len(x), *x.shape[2:], dtype=torch.bool)
    for i, place in enumerate(at.tolist()):
        above, before, below, behind = (max(0, side) for side in box_of(name, place))
        inside[i, above:below, before:behind] = True
    here = hooks.activations(net.model, x, name)[name][torch.arange(len(x)), :, at[:, 0], at[:, 1]].cpu()
    draw = torch.rand(here.shape, generator=torch.Generator().manual_seed(0)) * (here > 0)
    other = draw.scatter(1, unit[:, None], -1).argmax(
        1
    )  # one of the other units that are active there, at random
    heat = {rule: project(net.model, x, unit, layer=name, at=at, rule=rule) for rule in RULES}
    for rule in RULES:
        heat[f"another's {rule}"] = project(net.model, x, other, layer=name, at=at, rule=rule, dead="zeros")
    heat = {key: saliency.saliency_map(p).cpu() for key, p in heat.items()} | {"edges": edges_of(pixels)}
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in inside.shape[1:]), indexing="ij"))
    middle = torch.stack([grid[:, box].float().mean(1) for box in inside])[:, :, None, None]
    heat["the middle"] = 1e6 - (grid - middle).square().sum(1)
    blurry, before = occlusion.blurred(x, net.input_size / 16), strength(x, name, unit, at)
    left = {"none": strength(blurry, name, unit, at) / before}
    for key, m in heat.items():
        keep = strongest(m, inside)[:, None].to(x.device)
        left[key] = strength(torch.where(keep, x, blurry), name, unit, at) / before
    return left


left = {name: ask(name) for name in layers[1:]}
keys = [*RULES, "edges", "the middle", *(f"another's {rule}" for rule in RULES), "none"]
print(f"{'kept':20}" + "".join(f"{name:>18}" for name in left))
for key in keys:
    print(f"{key:20}" + "".join(f"{interval(left[name][key], '{:z.1f}'):>18}" for name in left))

# %%
fig, axes = figures.panels(
    1, len(left), height=380,
    caption="What is left of a unit's activation when only 15 % of its receptive field is kept sharp, by the way to choose these pixels. Mean over every third unit "
    "with 95 % bootstrap interval.",
)  # fmt: skip
for k, (ax, (name, values)) in enumerate(zip(np.atleast_1d(axes), left.items(), strict=True)):
    rows = np.array([sanity.bootstrap(values[key]) for key in keys])
    figures.bars(
        rows[:, 0],
        keys if k == 0 else [""] * len(keys),
        errors=np.stack([rows[:, 0] - rows[:, 1], rows[:, 2] - rows[:, 0]]),
        colours=[figures.CATEGORICAL[i] for i in (0, 1, 2, 7, 7, 0, 1, 2, 7)],
        number=None,
        limits=(0, 1.05),
        title=name,
        axes=ax,
    )
figures.show(
    fig, "Share of the activation that is left, by layer and by the way to choose the pixels that are kept."
)

# %%
both = {key: torch.cat([left[name][key] for name in left]) for key in keys}
gain = {null: sanity.bootstrap(both["deconvnet"] - both[null]) for null in ("edges", "the middle")}
claim(
    "04-projections-show-what-excites",
    statement="Projections by the deconvnet show the structures in the image that excite a unit.",
    source="Zeiler & Fergus 2014",
    measured=f"with the 15 % of the pixels that it names, {both['deconvnet'].mean():.0%} of the activation is left (gradient "
    f"{both['gradient'].mean():.0%}, guided {both['guided'].mean():.0%}); more than with "
    + " and ".join(f"{null} by {v.mean:.2f} ({v.low:.2f} to {v.high:.2f})" for null, v in gain.items())
    + f"; {len(both['edges'])} units",
    verdict="reproduced" if min(v.low for v in gain.values()) > 0 else "contradicted",
)

# %%
own = {
    rule: {name: sanity.bootstrap(left[name][rule] - left[name][f"another's {rule}"]) for name in left}
    for rule in RULES
}
print("the unit's own projection keeps more than that of another unit there by")
for rule in RULES:
    print(
        f"{rule:12}"
        + "   ".join(f"{name} {v.mean:z5.2f} [{v.low:z.2f}, {v.high:z.2f}]" for name, v in own[rule].items())
    )
deep = own["guided"][layers[-1]]
claim(
    "04-neuron-matters-little",
    statement="What guided backpropagation shows from a deep layer depends little on the neuron that it starts from.",
    source="Mahendran & Vedaldi 2016",
    measured=f"in {layers[-1]} the pixels that the projection of another active unit names keep "
    f"{left[layers[-1]][keys[7]].mean():.2f} of a unit's activation, its own {left[layers[-1]]['guided'].mean():.2f}, difference "
    f"{deep.mean:z.2f} ({deep.low:z.2f} to {deep.high:z.2f}); in {layers[1]} {own['guided'][layers[1]].mean:.2f}; by the deconvnet's rule "
    f"{own['deconvnet'][layers[-1]].mean:.2f} in {layers[-1]}",
    verdict="reproduced" if deep.high < 0.1 * float(left[layers[-1]]["guided"].mean()) else "contradicted",
)

# %% [markdown]
# **What to notice.** First the good news. A seventh of the field, chosen by the deconvnet or the guided projection, keeps about
# four fifths of the activation. As many edge pixels keep half of it in the deeper layers, and without sharp pixels nearly
# nothing is left. The noisy gradient is not as bad as it looks: blurred a little, it names pixels nearly as good. Its noise
# troubles the eye more than the network.
#
# Now the lower bars. In the second layer, the pixels that *another* unit at this place names are clearly worse. In the fifth,
# by the guided rule, they are just as good. There a projection says where something is that *the layer* responds to, and hardly
# what *this unit* wants. The nine pictures in a row look like a meaning of the unit because the nine patches were chosen by the
# unit. The deconvnet's rule keeps more of the difference.
#
# Move through all units yourself. The three rules stand side by side; below, what lies in the receptive field. (On a page
# without a running kernel, the figures above are what you would see.)

# %%
few = [22, 16, 24, 31, 4, 13, 46, 89]
albums = {f"{k}: {diorama.CLASSES[sample.labels[k]]}": sample.images[k] for k in few}
if not MODEL.startswith("diorama/"):
    albums = photographs
controls.projector(net, list(albums.values()), layers, titles=list(albums))

# %% [markdown]
# ## 3 · Zeiler's deconvnet, written out
#
# Zeiler and Fergus did not speak of gradients. They built a second network that runs backwards, the **deconvnet**: each layer
# undoes one of the first. Going forward, max pooling notes where in each window the maximum was: the **switches**. Then
#
# - **unpool**: put each value where its switch says, zero elsewhere,
# - **rectify** the reconstruction,
# - **filter** with the same filters, flipped in both directions; that is the transposed convolution.


# %%
def deconvnet_by_hand(model, x, layer, channel):
    """The strongest unit of a channel of an AlexNet's layer, back to the image: (1, 3, H, W)."""
    way_back, a = [], x
    with torch.no_grad():
        for name, module in model.named_children():
            shape = a.shape[2:]
            if isinstance(module, nn.MaxPool2d):
                window = (module.kernel_size, module.stride, module.padding)
                a, switches = F.max_pool2d(a, *window, return_indices=True)
                way_back.append(lambda r, s=switches, size=shape: deconvnet.unpool(r, s, size))  # exercise 2
            elif isinstance(module, nn.ReLU):
                a = module(a)
                way_back.append(F.relu)  # rectifies the reconstruction
            else:
                a, rest = (
                    module(a),
                    (module.stride[0] == 2) * 1,
                )  # an even image, halved: one row is left over
                way_back.append(
                    lambda r, m=module, e=rest: F.conv_transpose2d(r, m.weight, None, m.stride, m.padding, e)
                )
            if name == layer:
                break
        best = a[0, channel].argmax()
        alone = torch.zeros_like(a)
        alone[0, channel].view(-1)[best] = a[0, channel].view(-1)[best]  # all other activations become zero
        for back in reversed(way_back):
            alone = back(alone)
    return alone


for layer in ("relu1", "relu3", "relu5"):
    channel = int(backward_rules.choose_units(hooks.activations(base.model, cat, layer)[layer]).channel[0])
    by_hand = deconvnet_by_hand(base.model, cat, layer, channel)
    helper = deconvnet.deconvnet(base.model, cat, layer, channel)
    print(
        f"{layer}, unit {channel}: the helper agrees: {torch.allclose(by_hand, helper, atol=1e-5 * float(helper.abs().max()))}"
    )

# %% [markdown]
# Is that not backpropagation? Simonyan et al. (2014) noticed it at once: to transpose a convolution is what its gradient does,
# and to send values to the switches is what the gradient of max pooling does. Only the ReLU differs. But there is one more
# difference, which they leave out. Where pooling windows **overlap**, as in AlexNet, one position can be the maximum of *two*
# windows. Then two values come back to it. Take five numbers, windows of three, and stride two:

# %%
line = torch.tensor([[[[1.0, 2.0, 5.0, 3.0, 1.0]]]])
pooled, switches = F.max_pool2d(line, (1, 3), (1, 2), return_indices=True)
back = torch.tensor([[[[0.7, 0.2]]]])
start = line.clone().requires_grad_()
(summed,) = torch.autograd.grad(F.max_pool2d(start, (1, 3), (1, 2)), start, back)
written = deconvnet.unpool(back, switches, (1, 5))
print(
    f"line {line.flatten().tolist()}, windows 1 2 5 and 5 3 1, maxima {pooled.flatten().tolist()} at places {switches.flatten().tolist()}"
)
print(f"0.7 and 0.2 come back.  The gradient adds: {[round(v, 1) for v in summed.flatten().tolist()]}")
print(f"Unpooling that writes keeps the last one:  {[round(v, 1) for v in written.flatten().tolist()]}")

# %%
a = hooks.activations(base.model, xs48[:16], ["relu1", "relu2", "relu5"])
for name, pool in (("relu1", "pool1"), ("relu2", "pool2"), ("relu5", "pool5")):
    module = hooks.find(base.model, pool)
    p, s = F.max_pool2d(a[name], module.kernel_size, module.stride, module.padding, return_indices=True)
    found = [
        place[value > 0] for place, value in zip(s.flatten(0, 1), p.flatten(0, 1), strict=True)
    ]  # by map
    lost = sum(len(places) - len(places.unique()) for places in found) / sum(map(len, found))
    print(
        f"{pool}: windows of {module.kernel_size}, stride {module.stride}: {lost:.0%} of the values are written over"
    )


# %%
def difference(a, b):
    """Relative difference of each image's projections, |a − b| / |b|, (N,)."""
    return ((a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).cpu()


gap = {}
for layer in ("relu1", "relu2", "relu3", "relu5"):
    a = hooks.activations(base.model, xs48[:24], layer)[layer]
    unit = backward_rules.choose_units(a)
    rest = a.clone()
    rest[torch.arange(len(a)), unit.channel] = -1
    second = backward_rules.choose_units(rest)  # the most active of the other channels
    back = [  # the deconvnet starts with the activation, and `project` with 1
        project(base.model, xs48[:24], u.channel, layer=layer, rule="deconvnet")
        * u.value[:, None, None, None]
        for u in (unit, second)
    ]
    made = {
        how: deconvnet.deconvnet(base.model, xs48[:24], layer, unit.channel, overlap=how)
        for how in ("sum", "overwrite")
    }
    gap[layer] = {
        "sum": difference(made["sum"], back[0]),
        "write": difference(made["overwrite"], back[0]),
        "another unit": difference(back[1], back[0]),
    }
    print(
        f"{layer}: deconvnet that adds equals the gradient path: {bool(gap[layer]['sum'].max() < 1e-4)};  that writes: differs by "
        f"{gap[layer]['write'].mean():.2f};  null, another unit: {gap[layer]['another unit'].mean():.2f}"
    )

# %%
adds = all(bool(v["sum"].max() < 1e-4) for v in gap.values())
claim(
    "04-deconvnet-is-backpropagation",
    statement="Except at the ReLUs, going back through a deconvnet is backpropagation.",
    source="Simonyan et al. 2014",
    measured=f"with values added where pooling windows overlap, equal in every layer: {adds}; with values written over one another, as unpooling is usually "
    f"programmed, the projections differ by {gap['relu2']['write'].mean():.2f} (relu2) to {gap['relu5']['write'].mean():.2f} (relu5) of their size; another unit's by "
    f"{gap['relu5']['another unit'].mean():.2f}; where no windows overlap (relu1), by {gap['relu1']['write'].max():.0f}",
    verdict="reproduced" if adds else "contradicted",
)

# %%
rows, tiles = [("relu3", 13), ("relu5", 22), ("relu5", 31)], []
for layer, i in rows:
    x1 = base.prepare(sample.images[i])
    unit = backward_rules.choose_units(hooks.activations(base.model, x1, layer)[layer])
    channel, value = int(unit.channel), float(unit.value)
    box = receptive_field.receptive_field(base.model, layer, (96, 96)).box(int(unit.row), int(unit.column))
    made = [
        deconvnet.deconvnet(base.model, x1, layer, channel, overlap=how)[0] for how in ("sum", "overwrite")
    ]
    tiles.append(figures.boxed(sample.images[i], [box], 200 / 96))
    tiles += [controls.projection_tile(m, 200) for m in made]
    tiles.append(
        controls.projection_tile(value * project(base.model, x1, channel, layer=layer, rule="guided")[0], 200)
    )
fig, axes = figures.image_grid(
    tiles,
    ["image", "deconvnet that adds", "deconvnet that writes", "guided"] + [""] * 8,
    columns=4,
    rows=[layer for layer, _ in rows],
    scale=1,
    caption="The most active unit of a layer, projected by a deconvnet that adds values where pooling windows overlap, by one that writes them over one another, and by the "
    "guided rule. Each has its own scale.",
)
figures.show(
    fig, "Projections by two kinds of unpooling and by the guided rule for three images.", most_bytes=110_000
)

# %% [markdown]
# **What to notice.** Adding is the gradient path with the deconvnet's rule, to rounding, in every layer. Writing is something
# else: a third of the values is lost at each of the two poolings, and in the deep layers the projection differs by two thirds
# of its size, not so far from the projection of another unit. You can see it: the cat's two eyes become one, and things appear
# that the others do not show. So ask of an implementation which of the two it does.
#
# And without ReLUs? Then there is no rule left to differ in: take all ReLUs out of the network, and the deconvnet is the
# gradient.

# %%
linear = nn.Sequential()
for name, module in base.model.named_children():
    linear.add_module(name, nn.Identity() if isinstance(module, nn.ReLU) else module)
unit = backward_rules.choose_units(hooks.activations(linear, cat, "conv5")["conv5"])
plain = project(linear, cat, int(unit.channel), layer="conv5", rule="gradient") * unit.value
same = deconvnet.deconvnet(linear, cat, "conv5", int(unit.channel), overlap="sum")
by_rule = []
for rule in RULES:
    with hooks.frozen(linear):
        by_rule.append(go_back(list(linear), cat, rule, c))
print(f"without ReLUs the deconvnet that adds is the gradient: {bool(difference(same, plain).max() < 1e-4)}")
print(f"and the three rules agree: {all(torch.allclose(by_rule[0], other) for other in by_rule)}")

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Unpooling
#
# `values` (C, h, w) come back to a max pooling; `switches` (C, h, w) are whole numbers, row · W + column of the place of each
# window's maximum in the map of `size` = (H, W). Return the map (C, H, W): each value at its place, zero elsewhere. Where
# several windows name one place, the last one in reading order stays.


# %% tags=["exercise"]
def unpool(values, switches, size):
    """(C, h, w), (C, h, w), (H, W) → (C, H, W)."""
    ### BEGIN SOLUTION
    out = torch.zeros(len(values), size[0] * size[1])
    for channel in range(len(values)):
        pairs = zip(values[channel].flatten(), switches[channel].flatten(), strict=True)
        for value, place in pairs:
            out[channel, place] = value
    return out.view(len(values), *size)
    ### END SOLUTION


# %% tags=["check"]
checks.check_unpool(unpool)

# %% [markdown]
# ## 4 · Every ReLU, however it is written
#
# The usual way to program guided backpropagation puts a hook on every *module* of type `nn.ReLU`. Here it is, in full.


# %%
def by_hooks(model, x, c):
    """Guided backpropagation, as it is often written. Where it is wrong, it does not say so."""
    handles = [
        module.register_full_backward_hook(lambda module, into, out: (into[0].relu(),))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    start = x.clone().requires_grad_()
    try:
        return torch.autograd.grad(model(start)[:, c].sum(), start)[0]
    finally:
        for handle in handles:
            handle.remove()


# %% [markdown]
# A ReLU need not be a module. Take one small network and write its two ReLUs in six ways. The weights are the same, and so is
# every output. Guided backpropagation must be the same as well; the loop of section 1 says what it is.

# %%
torch.manual_seed(0)
conv1, conv2, last = nn.Conv2d(3, 8, 5, stride=2), nn.Conv2d(8, 16, 3, stride=2), nn.Linear(16 * 6 * 6, 4)


class Small(nn.Module):
    """Two convolutions and a linear layer, with the given ReLUs in between."""

    def __init__(self, first, second):
        super().__init__()
        self.conv1, self.conv2, self.last, self.first, self.second = conv1, conv2, last, first, second

    def forward(self, x):
        return self.last(self.second(self.conv2(self.first(self.conv1(x)))).flatten(1))


once = nn.ReLU()
ways = {
    "two modules": Small(nn.ReLU(), nn.ReLU()),
    "one module, used twice": Small(once, once),
    "modules, in place": Small(nn.ReLU(inplace=True), nn.ReLU(inplace=True)),
    "functions": Small(F.relu, F.relu),
    "one of each": Small(nn.ReLU(), F.relu),
    "clamp(min=0)": Small(lambda z: z.clamp(min=0), lambda z: z.clamp(min=0)),
}
x32 = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
right = go_back([conv1, nn.ReLU(), conv2, nn.ReLU(), nn.Flatten(), last], x32, "guided", 2)
plain = go_back([conv1, nn.ReLU(), conv2, nn.ReLU(), nn.Flatten(), last], x32, "gradient", 2)
print(f"{'the ReLUs are':24}{'hooks are off by':>18}{'project by':>13}")
off = {}
for way, model in ways.items():
    ours = float(difference(project(model, x32, 2, rule="guided"), right))
    try:
        wrong = by_hooks(model, x32, 2)
        off[way] = float(difference(wrong, right))
        told = f"{off[way]:.2f}" + (
            "  = the plain gradient" if torch.allclose(wrong, plain, atol=1e-6) else ""
        )
    except RuntimeError:
        told = "an error"
    print(f"{way:24}{told.split('  ')[0]:>18}{ours:13.2f}   {'  '.join(told.split('  ')[1:])}".rstrip())

# %% [markdown]
# **What to notice.** With functions the hooks find nothing to hook, and what comes back is the plain gradient *with another
# name*. No warning, no error. With one of each, half the rule is applied, and nobody would notice. This is no rare case: here
# is a network that many use.

# %%
google = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False).eval()
x64 = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
modules = sum(isinstance(module, nn.ReLU) for module in google.modules())
with hooks.frozen(google):
    hooked = by_hooks(google, x64, 0)
    start = x64.clone().requires_grad_()
    score = google(start)[0, 0]
    with backward_rules.ReLURule("guided") as relus:
        (watched,) = torch.autograd.grad(score, start)
is_plain = torch.allclose(hooked, project(google, x64, 0, rule="gradient"))  # but for rounding
print(f"torchvision's GoogLeNet has {modules} modules of type ReLU; autograd meets {relus.met} ReLUs")
print(
    f"the hooks return the plain gradient: {is_plain}; off by {float(difference(hooked, watched)):.1f} of the right one's size"
)
claim(
    "04-hooks-miss-functional-relus",
    statement="Where ReLUs are functions and not modules, guided backpropagation by hooks does not override their gradients.",
    source="Kokhlikyan et al. 2020 (Captum's documentation)",
    measured=f"a net with functions gets the plain gradient, off by {off['functions']:.2f}; GoogLeNet has {modules} ReLU modules and {relus.met} ReLUs: "
    f"plain gradient {is_plain}",
    verdict="reproduced"
    if is_plain and off["functions"] > 0.1 and off["two modules"] < 1e-4
    else "contradicted",
)

# %% [markdown]
# How does `project` see them all? Whatever the code looks like, autograd computes the derivative of every ReLU by one and the
# same function, and `ReLURule` watches for it while autograd runs. So neither the model nor its graph is touched. It also says
# when there is nothing to do: a network without ReLUs has no guided backpropagation.

# %%
smooth = nn.Sequential(conv1, nn.SiLU(), conv2, nn.SiLU(), nn.Flatten(), last)
try:
    project(smooth, x32, 2, rule="guided")
except ValueError as error:
    print(error)

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · Guided backpropagation by hand
#
# `weights` is a list of matrices (out, in); the network multiplies by each of them in turn, with a ReLU after every matrix but
# the last, and without biases. Return the projection of output `c` to `x` (in,) by the guided rule. The signal starts as 1 at
# output `c`. Try your Exercise 1 on the way.


# %% tags=["exercise"]
def guided(weights, x, c):
    """[(out, in), …], (in,), c → (in,)."""
    ### BEGIN SOLUTION
    inputs = []
    for w in weights[:-1]:
        inputs.append(w @ x)
        x = inputs[-1].relu()
    g = weights[-1][c]
    for w, z in zip(reversed(weights[:-1]), reversed(inputs), strict=True):
        g = w.T @ (g * (z > 0) * (g > 0))
    return g
    ### END SOLUTION


# %% tags=["check"]
checks.check_guided(guided)

# %% [markdown]
# ## 5 · Through training
#
# Zeiler and Fergus also look at how units come to be (their figure 4). They find that the lower layers settle within a few
# epochs, and the upper ones much later. `diorama/alexnet` was saved on its way. For a few units take, at each step, the image
# of 256 that activates the unit most *then*, and project it.

# %%
steps = zoo.checkpoints("diorama/alexnet")
trail = {name.partition("@")[2] or "end": zoo.load(name, weights=WEIGHTS, device=where) for name in steps}
pixels256 = test.images[:256]
x256 = base.prepare(pixels256)
RELUS = ["relu1", "relu2", "relu3", "relu5"]
course = {}  # step → layer → each unit's largest activation in each image
for step, member in trail.items():
    member.model.to(memory_format=torch.channels_last)
    parts = [hooks.activations(member.model, part, RELUS) for part in x256.split(64)]
    course[step] = {name: torch.cat([part[name].amax((2, 3)).cpu() for part in parts]) for name in RELUS}

# %%
grown, side = [("relu2", 16), ("relu3", 2), ("relu3", 36), ("relu5", 82)], 76
tiles = []
for name, unit in grown:
    field = receptive_field.receptive_field(base.model, name, (96, 96))
    cut, back = [], []
    for step, member in trail.items():
        i = int(course[step][name][:, unit].argmax())
        place = backward_rules.choose_units(
            hooks.activations(member.model, x256[i : i + 1], name)[name], unit
        )
        box = field.box(int(place.row), int(place.column), clip=False)
        p = project(member.model, x256[i : i + 1], unit, layer=name, rule="guided", dead="zeros")[0]
        cut.append(figures.enlarge(controls.in_box(pixels256[i], box, 0.5), (side, side), smooth=True))
        back.append(controls.projection_tile(controls.in_box(p, box), side))
    tiles += cut + back
fig, axes = figures.image_grid(
    tiles,
    [*trail, *[""] * (len(tiles) - len(trail))],
    columns=len(trail),
    rows=[label for name, unit in grown for label in (f"{name}, {unit}", "")],
    scale=1,
    gap=4,
    caption="Four units through training, after so many updates: the patch that activates the unit most at that step, and below it its guided projection.",
)
figures.show(
    fig, "The best patch of four units and its projection at eight steps of training.", most_bytes=150_000
)

# %% [markdown]
# Put a number on "settled". For each unit take its largest activation in each of the 256 images, and correlate these 256
# numbers with those of the same unit at the end of training. This asks what the unit *is for*, whatever its projection looks
# like. The null is another unit of the trained layer.


# %%
def agreement(a, b):
    """Correlation over the images, unit by unit, of (N, C) and (N, C); NaN for units that are silent."""
    a, b = (t - t.mean(0) for t in (a, b))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))


settled = {
    name: [sanity.bootstrap(agreement(course[step][name], course["end"][name])) for step in list(trail)[:-1]]
    for name in RELUS
}
chance = {
    name: float(agreement(course["end"][name], course["end"][name].roll(1, 1)).nanmean()) for name in RELUS
}
fig, axes = figures.curves(
    None,
    {name: [v.mean for v in values] + [1.0] for name, values in settled.items()},
    bands={
        name: ([v.low for v in values] + [1.0], [v.high for v in values] + [1.0])
        for name, values in settled.items()
    },
    x_ticks=list(trail),
    x_label="updates (not to scale)",
    y_label="correlation with the end",
    reference={"another unit": float(np.mean(list(chance.values())))},
    caption="How alike a unit's answers to 256 images are to those of the same unit after training. Mean over the units of a layer with 95 % bootstrap interval.",
)
figures.show(fig, "Correlation of units' answers with those at the end, by step and layer.")
print(f"{'updates':10}" + "".join(f"{step:>7}" for step in list(trail)[:-1]) + "   another unit")
for name in RELUS:
    print(f"{name:10}" + "".join(f"{v.mean:7.1f}" for v in settled[name]) + f"{chance[name]:11.1f}")

# %%
at = list(trail).index("499")
first, later = settled["relu1"][at], settled["relu5"][at]
claim(
    "04-lower-layers-settle-first",
    statement="Lower layers converge early in training, upper layers late.",
    source="Zeiler & Fergus 2014",
    measured=f"after 499 of about 5,000 updates the units' answers correlate with those at the end by {first.mean:.1f} in relu1, {settled['relu2'][at].mean:.1f} in relu2, "
    f"{settled['relu3'][at].mean:.1f} in relu3 and {later.mean:.1f} in relu5 (another unit: {chance['relu1']:.1f} to {chance['relu5']:.1f})",
    verdict="reproduced"
    if (first.low - chance["relu1"]) / (1 - chance["relu1"])
    > (later.high - chance["relu5"]) / (1 - chance["relu5"])
    else "contradicted",
)

# %% [markdown]
# **What to notice.** The units change their minds. The second layer's unit answers to a door, then to a wheel, and becomes a
# finder of eyes only half-way through training. The house unit of the fifth layer has begun with a red wall. And Zeiler and
# Fergus are right about the order: through the first half of training the first layer is nearest to its end and the fifth is
# last. After 499 updates the fifth correlates by 0.2, and another unit by 0.1. Look at the first columns, too: before any
# training a projection shows the patch itself, in noise. Keep that in mind for section 7.
#
# ## 6 · What it does not tell
#
# The pictures of section 2 were about units, and they passed most of their test. Now ask about the *decision*. A picture that
# explains why the network says *cat* must be another one when you ask why it should say *bus*. Ask about the predicted class,
# about the class that the network finds *least* probable, and about nothing at all: a random signal at all logits.

# %%
n = 32
xs, masks, true = base.prepare(sample.images[:n]), truth[:n], sample.labels[:n]
with torch.no_grad():
    logits = base.model(xs)
best, least = logits.argmax(1).cpu(), logits.argmin(1).cpu()
asked = {rule: [project(base.model, xs, k, rule=rule) for k in (best, least)] for rule in RULES}


def random_signal(network, x, rule, seed):
    """What comes back if every logit gets a random signal."""
    signal = torch.randn(len(x), len(network.classes), generator=torch.Generator().manual_seed(seed)).to(x)
    start = x.clone().requires_grad_()
    with hooks.frozen(network.model):
        y = network.model(start)
        with backward_rules.ReLURule(rule):
            return torch.autograd.grad(y, start, signal)[0]


noise = {rule: random_signal(base, xs, rule, 7) for rule in RULES}
examples, tiles = [22, 31, 16, 13], []
for i in examples:
    tiles.append(figures.enlarge(sample.images[i], (98, 98), smooth=True))
    for rule in RULES:
        tiles += [controls.projection_tile(p[i], 98) for p in asked[rule]]
    tiles.append(controls.projection_tile(noise["guided"][i], 98))
heads = ["image"] + [f"{rule}\n{question}" for rule in RULES for question in ("predicted", "least prob.")]
fig, axes = figures.image_grid(
    tiles,
    [*heads, "guided\nrandom", *[""] * (8 * len(examples) - 8)],
    columns=8,
    rows=["\n".join(base.classes[k[i]] for k in (best, least)) for i in examples],
    scale=1,
    gap=4,
    caption="Four images, projected back by three rules from the predicted class, from the least probable class (both named on the left), and at the right from a random signal "
    "at all classes.",
)
figures.show(
    fig,
    "Projections of the predicted class, the least probable class and a random signal by three rules.",
    most_bytes=110_000,
)


# %%
def cosine(a, b):
    """The cosine between two projections of each image, (N,): 1 is the same picture, −1 its negative."""
    return F.cosine_similarity(a.flatten(1), b.flatten(1)).cpu()


def heat(p):
    return saliency.saliency_map(p).cpu()


print(
    f"{'':11}{'signed, predicted and least probable':>38}{'pixel by pixel, by rank':>28}{'another image':>20}"
)
blind, rank, null = {}, {}, {}
for rule in RULES:
    one, other = asked[rule]
    blind[rule] = cosine(one, other)
    rank[rule] = sanity.similarity(heat(one), heat(other)).rank
    null[rule] = sanity.similarity(heat(one), heat(one).roll(1, 0)).rank
    print(
        f"{rule:11}{interval(blind[rule], '{:z.2f}'):>38}{interval(rank[rule]):>28}{interval(null[rule]):>20}"
    )

# %%
least_blind = sanity.bootstrap(blind["guided"])
claim(
    "04-guided-same-for-absent-class",
    statement="Guided backpropagation shows the same picture when one asks about a class that is not there.",
    source="Mahendran & Vedaldi 2016; Nie et al. 2018",
    measured=f"cosine of the pictures of the predicted and of the least probable class: guided {blind['guided'].mean():.2f} ({least_blind.low:.2f} to "
    f"{least_blind.high:.2f}), deconvnet {blind['deconvnet'].mean():.2f}, gradient {blind['gradient'].mean():z.2f}; {n} images",
    verdict="reproduced" if least_blind.low > 0.9 else "contradicted",
)

# %% [markdown]
# **What to notice.** Ask guided backpropagation for the class that the network is *most sure not to see*, and you get the same
# picture: the eyes of the cat as evidence for *bird*. A random signal does as well. So the signal at the top chooses nothing
# here: whatever comes through is put in place by the masks of the forward pass. The gradient's two pictures have nothing in
# common in their signs. The deconvnet stands between: the picture of the least probable class shows more of the background.
#
# ### Two objects
#
# Perhaps there was only one thing to see? Show two objects at once and ask for each, as in lecture 03. Of the energy on the two
# objects, which share is on the one that was asked for? A map that is blind to the class has exactly one half, as the mean of
# both questions.


# %%
pairs = diorama.two_objects("test", 20)
two, questions, places = (
    base.prepare(pairs.images),
    pairs.labels,
    pairs.masks,
)  # (N, 2) classes, (N, 2, 96, 96) masks


def on_the_asked(rule):
    """Share of the energy on both objects that is on the one asked for, mean of both questions, (N,)."""
    shares = []
    for k in (0, 1):
        m = heat(project(base.model, two, questions[:, k], rule=rule))
        on = (m[:, None] * places).sum((2, 3))
        shares.append(on[:, k] / on.sum(1))
    return torch.stack(shares).mean(0)


choice = {rule: on_the_asked(rule) for rule in RULES}
turned = {}
for rule, values in choice.items():
    pair = cosine(*(project(base.model, two, questions[:, k], rule=rule) for k in (0, 1)))
    turned[rule] = float(pair.mean())
    print(
        f"{rule:10} {interval(values)} of its energy on the asked object, class-blind 0.50;  "
        f"cosine of the two pictures {interval(pair, '{:z.2f}')}"
    )

# %%
tiles = []
for k in (3, 9, 14):
    tiles.append(figures.enlarge(pairs.images[k], (115, 115), smooth=True))
    for rule in RULES:
        tiles += [
            controls.projection_tile(
                project(base.model, two[k : k + 1], int(questions[k, q]), rule=rule)[0], 115
            )
            for q in (0, 1)
        ]
fig, axes = figures.image_grid(
    tiles,
    ["image"] + [f"{rule}\n{side}" for rule in RULES for side in ("left", "right")] + [""] * 14,
    columns=7,
    rows=["  " + "\n".join(diorama.CLASSES[int(q)] for q in questions[k]) for k in (3, 9, 14)],
    scale=1,
    caption="Two objects in one picture, projected back from the class on the left and from the class on the right.",
)
figures.show(fig, "Projections for each of two objects by three rules.", most_bytes=90_000)

# %%
more = {rule: sanity.bootstrap(choice[rule] - choice["gradient"]) for rule in ("deconvnet", "guided")}
claim(
    "04-gradient-is-more-class-sensitive",
    statement="Guided backpropagation and the deconvnet are less sensitive to the class than the gradient; here: in where they look.",
    source="after Nie et al. 2018",
    measured=f"with two objects in view, share of the energy on the one that is asked for: gradient {choice['gradient'].mean():.2f}, "
    + ", ".join(
        f"{rule} {choice[rule].mean():.2f} (more by {v.low:.2f} to {v.high:.2f})" for rule, v in more.items()
    )
    + f"; class-blind 0.50; cosine of the two pictures {turned['gradient']:z.1f}, {turned['deconvnet']:.1f}, {turned['guided']:.1f}; "
    f"{len(two)} pictures",
    verdict="contradicted"
    if min(v.low for v in more.values()) > 0
    else "reproduced"
    if max(v.high for v in more.values()) < 0
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** This is not what the papers lead you to expect. With two objects in view both rules *do* move towards the
# one that you ask for, the deconvnet with three quarters of its energy, the guided rule with two thirds, and the plain
# gradient, which is called class-sensitive, hardly at all: its signs turn round (the cosine of its two pictures is negative),
# but its place stays. The two guided pictures still have a cosine of 0.8: the other object fades, and does not go. So
# "class-blind" is too strong. Among things that are there, the class shifts the weight; for a class that is not there, you get
# the rest, and nothing warns you.
#
# ### Without the learnt weights
#
# Draw the weights anew, layer by layer from the output down, as in lecture 03 (Adebayo et al. 2018). The null is the trained
# network's picture of another image: a picture that falls to that level shows nothing of what it showed.

# %%
probe, asked16 = xs[:16], best[:16]
before = {rule: heat(project(base.model, probe, asked16, rule=rule)) for rule in RULES}
redrawn = {}
for step, model in sanity.randomise(base.model):
    redrawn[step] = {rule: project(model, probe, asked16, rule=rule) for rule in RULES}
likeness = {
    rule: {step: sanity.similarity(before[rule], heat(made[rule])).rank for step, made in redrawn.items()}
    for rule in RULES
}
other = {
    rule: torch.cat([sanity.similarity(m, m.roll(k, 0)).rank for k in (1, 5)]) for rule, m in before.items()
}
example, tiles = 13, []
for rule in RULES:
    tiles.append(
        controls.projection_tile(
            project(base.model, probe[example : example + 1], asked16[example : example + 1], rule=rule)[0],
            90,
        )
    )
    tiles += [controls.projection_tile(made[rule][example], 90) for made in redrawn.values()]
fig, axes = figures.image_grid(
    tiles,
    ["trained", *redrawn, *[""] * (2 * len(redrawn) + 2)],
    columns=len(redrawn) + 1,
    rows=list(RULES),
    scale=1,
    gap=4,
    caption="Projections of one image's class, from the trained network on the left to one without any trained weight on the right: each column draws one more layer anew.",
)
figures.show(
    fig, "Projections by three rules while the layers are randomised one after the other.", most_bytes=110_000
)

# %%
fig, axes = figures.panels(
    1,
    3,
    height=300,
    sharey=True,
    caption="Rank correlation with the trained network's picture, mean and 95 % interval over 16 images. Dashed: the picture of another image.",
)
for ax, rule in zip(axes, RULES, strict=True):
    rows = np.array([(1.0, 1.0, 1.0)] + [sanity.bootstrap(v) for v in likeness[rule].values()])
    figures.curves(
        None,
        {"": rows[:, 0]},
        bands={"": (rows[:, 1], rows[:, 2])},
        x_ticks=["none"] + [step.removeprefix("conv").removeprefix("fc") for step in redrawn],
        x_label="drawn anew: fc8 down to …",
        y_label="likeness" if rule == "gradient" else "",
        y_limits=(0, 1.02),
        reference={" ": float(other[rule].nanmean())},
        title=rule,
        axes=ax,
    )
figures.show(fig, "Likeness to the trained picture while layers are randomised, for three rules.")
print(f"{'drawn anew to':14}" + "".join(f"{step:>8}" for step in redrawn) + "   another image")
for rule in RULES:
    print(
        f"{rule:14}"
        + "".join(f"{v.nanmean():8.1f}" for v in likeness[rule].values())
        + f"{other[rule].nanmean():12.1f}"
    )

# %%
top3, bottom = (sanity.bootstrap(likeness["guided"][step]) for step in ("fc6", "conv1"))
claim(
    "04-guided-ignores-higher-weights",
    statement="Guided backpropagation does not change when the weights of the higher layers are lost.",
    source="Adebayo et al. 2018",
    measured=f"likeness to the trained picture {top3.mean:.2f} ({top3.low:.2f} to {top3.high:.2f}) with fc6 to fc8 drawn anew (gradient {likeness['gradient']['fc6'].mean():.2f}, deconvnet "
    f"{likeness['deconvnet']['fc6'].mean():.2f}), {likeness['guided']['conv4'].mean():.1f} down to conv4, {bottom.mean:.1f} with all (another image {other['guided'].mean():.1f}); 16 images",
    verdict="reproduced" if top3.low > 0.9 else "contradicted",
)

# %% [markdown]
# **What to notice.** The whole classifier is gone, three layers of it, and guided backpropagation hardly notices. Only when
# convolutions go does the picture fade, slowly. The deconvnet's falls at once, and then stays at a half: the sentence
# "deconvnet and guided backpropagation do not change" holds for the guided rule, and only down to about conv5. None of the
# three falls to the level of another image, not even when no learnt weight is left: look at the lamp in the last column.
#
# ### An edge detector?
#
# Then is it, as Adebayo et al. suggest, no more than an edge detector? That can be measured. In Diorama the place of the object
# is known. Score the pictures by the share of their energy on the object, and by whether their highest pixel is on it (lecture
# 03), and score the same for nulls: the **edges** of the image, by Sobel's filter, which has never seen a network; a blob in
# the *centre*; *another image's* picture; the *untrained* network's; and the object's *area*.

# %%
edges = edges_of(sample.images[:n])
maps = {rule: heat(asked[rule][0]) for rule in RULES} | {"edges": edges}
maps |= {
    f"untrained, {rule}": heat(project(untrained.model, xs, best, rule=rule))
    for rule in ("gradient", "guided")
}
nulls = sanity.nulls(maps["guided"], generator=torch.Generator().manual_seed(0))
maps |= {"centre": nulls["centre"], "another image's guided": nulls["shuffled"]}
share = {name: faithfulness.share_inside(m, masks) for name, m in maps.items()}
print(f"{'':24}{'share on the object':>24}{'peak on it':>12}{'like the edges':>16}")
for name, m in maps.items():
    points = float(faithfulness.pointing_game(m, masks).float().mean())
    like = "" if name == "edges" else f"{float(sanity.similarity(m, edges).rank.mean()):z.1f}"
    print(f"{name:24}{interval(share[name]):>24}{points:12.0%}{like:>16}")
print(f"{'area of the object':24}{interval(faithfulness.area(masks)):>24}")

# %%
tiles, chosen = [], [22, 16, 24, 31]
columns = ["gradient", "guided", "edges", "untrained, guided"]
for i in chosen:
    tiles.append(figures.enlarge(sample.images[i], (110, 110), smooth=True))
    tiles += [controls.map_tile(sample.images[i], maps[name][i], truth[i], side=110) for name in columns]
fig, axes = figures.image_grid(
    tiles,
    ["image", "gradient", "guided", "edges", "guided,\nuntrained"] + [""] * (len(tiles) - 5),
    columns=5,
    scale=1,
    caption="Size of the projections and of the image's edges, laid over the image; white: the outline of the true object. Each map has its own scale.",
)
figures.show(
    fig, "Maps of gradient, guided rule, edges and an untrained network over six images.", most_bytes=120_000
)

# %%
ahead = {
    name: sanity.bootstrap(share["guided"] - share[name])
    for name in ("edges", "gradient", "untrained, guided")
}
claim(
    "04-guided-is-an-edge-detector",
    statement="What guided backpropagation shows is what an edge detector shows.",
    source="after Adebayo et al. 2018, who draw the analogy",
    measured=f"share on the object {share['guided'].mean():.2f}, edges {share['edges'].mean():.2f}, gradient {share['gradient'].mean():.2f}; guided is ahead of the edges by {ahead['edges'].mean:.2f} "
    f"({ahead['edges'].low:.2f} to {ahead['edges'].high:.2f}) and of the untrained network's by {ahead['untrained, guided'].mean:.2f}; {n} images",
    verdict="contradicted" if ahead["edges"].low > 0 and ahead["untrained, guided"].low > 0 else "reproduced",
)

# %% [markdown]
# **What to notice.** Here the warning goes too far. Guided backpropagation puts half of its energy on the object, twice as much
# as the edges and the gradient, and its peak is on it in five of six images. It shows edges, but not all edges: the window, the
# houses and the plane are gone. What is left are those edges that the trained convolutions answer to. An *untrained* network's
# guided picture is at the level of the edges and of a blob in the centre.
#
# Put the findings together. Guided backpropagation finds the object better than the gradient does, and it shows the same
# picture for a class that is not there. It answers "what does this network see here?" and not "why does it say *cat*?". As an
# answer to the first question it is good. Whoever shows it as an answer to the second is wrong.

# %% [markdown] tags=["exercise"]
# ### Exercise 4 · How class-blind is a rule?
#
# `maps` (K, 3, H, W) are the projections of K classes for one image. Return one number: the mean cosine over all pairs of
# *different* classes. The cosine of two projections is the sum of their products, divided by both lengths.


# %% tags=["exercise"]
def class_blind(maps):
    """(K, 3, H, W) → a tensor with one number."""
    ### BEGIN SOLUTION
    unit = F.normalize(maps.flatten(1), dim=1)
    cosines = unit @ unit.T
    pairs = len(maps) * (len(maps) - 1)
    return (cosines.sum() - cosines.diagonal().sum()) / pairs
    ### END SOLUTION


# %% tags=["check"]
checks.check_class_blind(class_blind)

# %% [markdown]
# ## 7 · Photographs, and networks that need no rule
#
# Nie, Zhang and Patel (2018) explain the beautiful pictures. They prove that in a network of *random* weights guided
# backpropagation gives, in the limit of many filters, the *image* back: each positive path is one that the image itself has
# opened. The gradient has as many negative as positive paths, and they cancel to noise. So show `photos/alexnet` six
# photographs, and beside it the same network before its first step of training.
#
# There is also another way to clean pictures. `photos/alexnet-robust` was trained to withstand small changes of its input
# (lecture 01). Tsipras et al. (2019) find that the *plain* gradients of such networks look like something.

# %%
reader, robust, raw = (
    zoo.load(name, weights=WEIGHTS, device=where)
    for name in ("photos/alexnet", "photos/alexnet-robust", "photos/alexnet-untrained")
)
album = torch.stack([images.fit(photo, 96) for photo in photographs.values()])
six = reader.prepare(album)
columns = [("gradient", reader, "gradient"), ("deconvnet", reader, "deconvnet"), ("guided", reader, "guided"),
           ("guided,\nnever trained", raw, "guided"), ("gradient,\nrobust network", robust, "gradient")]  # fmt: skip
made = [project(network.model, six, rule=rule) for _, network, rule in columns]
tiles = []
for k, photo in enumerate(album):
    tiles.append(figures.enlarge(photo, (110, 110), smooth=True))
    tiles += [controls.projection_tile(p[k], 110) for p in made]
said = [reader.classes[i].replace("_", " ") for i in reader.probabilities(album).argmax(1).tolist()]
fig, axes = figures.image_grid(
    tiles,
    ["photograph"] + [head for head, _, _ in columns] + [""] * (len(tiles) - 6),
    columns=6,
    numbers=[said[k // 6] if k % 6 == 0 else "" for k in range(len(tiles))],
    scale=1,
    caption="The predicted class of six photographs, projected back; below each photograph what photos/alexnet says. Grey is zero.",
)
figures.show(
    fig,
    "Six photographs with projections by three rules, by an untrained and by a robust network.",
    most_bytes=200_000,
)

# %% [markdown]
# Measure both on pieces of the photographs. *Detail* is the image minus a blurred copy; how far does the projection agree with
# it, as a cosine? And how *smooth* is a projection: how far do neighbouring pixels agree? The null for the first is the detail
# of another piece, for the second an untrained network's gradient.

# %%
pieces = torch.cat([squares(photo, 96) for photo in photographs.values()])[::4]
xp = reader.prepare(pieces)
detail = xp - occlusion.blurred(xp, 3.0)


def smoothness(p):
    """Correlation of neighbouring pixels of each projection, (N,)."""
    p = (p - p.mean((2, 3), keepdim=True)).cpu()
    across = (p[..., 1:] * p[..., :-1]).sum((1, 2, 3)) + (p[..., 1:, :] * p[..., :-1, :]).sum((1, 2, 3))
    return across / 2 / p.square().sum((1, 2, 3))


recovered, stranger, smooth_by = {}, {}, {}
print(f"{'':26}{'agrees with the detail':>24}{'of another piece':>24}{'smoothness':>22}")
for name, network in {"trained": reader, "never trained": raw, "robust": robust}.items():
    for rule in ("gradient", "guided"):
        p = project(network.model, xp, rule=rule)
        key = f"{rule}, {name}"
        recovered[key], stranger[key], smooth_by[key] = (
            cosine(p, detail),
            cosine(p, detail.roll(5, 0)),
            smoothness(p),
        )
        print(
            f"{key:26}{interval(recovered[key], '{:z.2f}'):>24}{interval(stranger[key], '{:z.2f}'):>24}{interval(smooth_by[key], '{:z.2f}'):>22}"
        )

# %%
excess = sanity.bootstrap(recovered["guided, never trained"] - recovered["gradient, never trained"])
alone = sanity.bootstrap(recovered["guided, never trained"] - stranger["guided, never trained"])
claim(
    "04-guided-recovers-the-image",
    statement="Guided backpropagation is (partial) image recovery: it shows the image even if the network was never trained.",
    source="Nie et al. 2018",
    measured=f"cosine of an untrained network's guided projection with the image's detail {recovered['guided, never trained'].mean():.2f} (another image's {stranger['guided, never trained'].mean():z.2f}; its gradient "
    f"{recovered['gradient, never trained'].mean():z.2f}); difference to the gradient {excess.mean:.2f} ({excess.low:.2f} to {excess.high:.2f}); {len(pieces)} pieces of photographs",
    verdict="reproduced" if min(excess.low, alone.low) > 0 else "contradicted",
)

# %%
piece_edges = edges_of(pieces)
like = {
    name: sanity.similarity(heat(project(network.model, xp, rule="gradient")), piece_edges).rank
    for name, network in {"standard": reader, "robust": robust}.items()
}
strange = sanity.similarity(heat(project(robust.model, xp, rule="gradient")), piece_edges.roll(5, 0)).rank
nearer = sanity.bootstrap(like["robust"] - like["standard"])
softer = sanity.bootstrap(smooth_by["gradient, robust"] - smooth_by["gradient, trained"])
claim(
    "04-robust-gradients-show-structure",
    statement="The gradients of robust networks align with what is seen in the image: edges and shapes, where those of standard networks are noise.",
    source="Tsipras et al. 2019",
    measured=f"rank correlation of the gradient's size with the edges {like['standard'].mean():.2f} standard, {like['robust'].mean():.2f} robust, difference {nearer.mean:.2f} ({nearer.low:.2f} to {nearer.high:.2f}), "
    f"edges of another piece {strange.mean():z.2f}; neighbouring pixels agree {smooth_by['gradient, trained'].mean():.2f} and {smooth_by['gradient, robust'].mean():.2f}",
    verdict="reproduced" if min(nearer.low, softer.low) > 0 else "contradicted",
)

# %%
print("cosine of the pictures of the predicted and of the least probable class:")
for name, network in {"standard": reader, "robust": robust}.items():
    with torch.no_grad():
        y = network.model(xp)
    for rule in ("gradient", "guided"):
        pair = [project(network.model, xp, k, rule=rule) for k in (y.argmax(1), y.argmin(1))]
        print(f"{rule:9} of the {name:9} network {interval(cosine(*pair), '{:z.1f}')}")

# %% [markdown]
# **What to notice.** Look at the fifth column. That network has **never learnt anything**, and its guided projections show the
# cat's eyes, the face and the petals in more detail than those of the trained one. The theorem is right: agreement with the
# image's detail is 0.48 without training, 0.53 with, and zero for gradients. So a recognisable picture is no sign that the
# network has recognised anything; only what is *missing* from the picture tells of training, such as the water and the sky.
#
# The robust network's plain gradient is no drawing, but it has broad strokes where the standard one has noise: a cup, rockets,
# a round flower. It agrees better with the edges, and it keeps what the rules throw away: it is a true derivative, and its
# pictures for two classes differ as much as any gradient's. By the way, five of the six answers are wrong, and the sixth takes
# a cat for a cougar. The projections look just as convincing.
#
# ## Check yourself
#
# **1.** A paper shows guided backpropagation for the class *tumour*. It outlines the tumour perfectly. The authors conclude
# that the network decides by the tumour. What do you ask for?
#
# <details><summary>Answer</summary>
#
# The picture for the class *healthy*. If it is the same, as in section 6, the picture does not speak of the decision. Then ask
# for the picture of a network whose last layers are random, and for an edge filter's. To find out what the *decision* rests on,
# hide the tumour and see (lecture 03).
# </details>
#
# **2.** You run guided backpropagation on a new network, and the picture looks like noise. Name two reasons that have nothing
# to do with the network's training.
#
# <details><summary>Answer</summary>
#
# Its ReLUs may be functions, and your implementation hooks modules: then what you see is the plain gradient. Or it has no ReLUs
# but GELU or SiLU, for which there is no such rule. Count how many ReLUs were met.
# </details>
#
# **3.** Why are the nine projections of a first-layer unit all alike, while those of a deeper unit differ from image to image?
#
# <details><summary>Answer</summary>
#
# Between a unit of the first layer and the image there is one convolution and no ReLU and no pooling: the projection is the
# filter. Deeper, the image decides which ReLUs are on and where the maxima are, and so which paths lead back.
# </details>
#
# ## Summary
#
# - Gradient, deconvnet and guided backpropagation are one walk back with three rules at the ReLU. Only the gradient is a
#   derivative.
# - Beside the top patches of a unit, the projections show which part of the patch excites it. Keep only that part, and most of
#   the activation stays. In deep layers the picture of another active unit does as well.
# - The deconvnet is backpropagation with another rule, provided that values are added where pooling windows overlap. Unpooling
#   that writes loses some.
# - Implementations that hook modules silently return the plain gradient where ReLUs are functions. Count the ReLUs.
# - Guided backpropagation finds objects, better than edges or the gradient. For a class that is not there it shows the same
#   picture, and it hardly needs the classifier.
# - A network that was never trained gives a recognisable picture, too: a good part of it is the image itself.
#
# **Claims tested here:** guided is sharper; projections show what excites a unit; the neuron matters little; the deconvnet as
# backpropagation; lower layers settle first; hooks and functional ReLUs; two about classes; lost weights; an edge detector;
# image recovery; gradients of robust networks. The verdicts stand below the cells, and together in [lecture
# 00](00_start_here.ipynb).
#
# ## Further reading
#
# - M. Zeiler, R. Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014. Section 2.1 is the deconvnet,
#   figure 2 our section 2.
# - M. Zeiler, G. Taylor, R. Fergus, *Adaptive deconvolutional networks for mid and high level feature learning*, ICCV 2011.
#   Where switches come from.
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep inside convolutional networks*, ICLR workshop 2014. Section 4 compares with the
#   deconvnet.
# - J. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, *Striving for simplicity: the all convolutional net*, ICLR workshop
#   2015. Guided backpropagation.
# - A. Mahendran, A. Vedaldi, *Salient deconvolutional networks*, ECCV 2016. What depends on the neuron and what on the masks.
# - W. Nie, Y. Zhang, A. Patel, *A theoretical explanation for perplexing behaviors of backpropagation-based visualizations*,
#   ICML 2018.
# - J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim, *Sanity checks for saliency maps*, NeurIPS 2018.
# - D. Tsipras, S. Santurkar, L. Engstrom, A. Turner, A. Madry, *Robustness may be at odds with accuracy*, ICLR 2019. Figure 2:
#   gradients.
# - N. Kokhlikyan et al., *Captum: a unified and generic model interpretability library for PyTorch*, 2020.
