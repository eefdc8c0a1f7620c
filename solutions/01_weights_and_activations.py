# %% [markdown]
# # 01 · Weights and activations
#
# **The question: what can you read off a network's filters, and off what they do to one image?**
#
# A trained network is a list of numbers. Two looks at these numbers cost nothing: you can draw the weights, and you can
# draw the activations. Everyone who trains a ConvNet does both, and textbooks say what you should see: smooth filters,
# no dead ones, sparse and local activations. In this lecture you look, and then you measure whether the textbooks are
# right. Some of their sentences hold. Some do not.
#
# After this lecture you can
#
# - compute a convolution layer by hand and say how many kernels it holds,
# - show filters in colour, say why only the first layer's speak for themselves, and measure how noisy they are,
# - read the activations of every layer, and measure how sparse and how local they are,
# - find dead filters in a stream of images,
# - use all this to find a design fault, mend it, and say how much that gained.
#
# **You need** lecture 00, and to know what a convolution, a ReLU and a training step are.
# **Time:** 90 minutes.

# %% tags=["setup"]
import numpy as np
import torch
from scipy.stats import binomtest, mannwhitneyu
from torch.nn import functional as F

from cnnvis_helpers import (
    activations,
    controls,
    device,
    diorama,
    figures,
    filters,
    hooks,
    images,
    seeding,
    zoo,
)
from cnnvis_helpers.checks import lecture01 as checks
from cnnvis_helpers.claims import claim

MODEL = "diorama/alexnet"  # any name of zoo.names(), such as "photos/alexnet" or "imagenet/resnet18"
WEIGHTS = True  # False gives random weights, without a download

generator = seeding.seed_all(0)
where = device.pick()
net = zoo.load(MODEL, weights=WEIGHTS, device=where)
sample = diorama.sample(128)  # test images with their labels; they come with the package
photographs = {
    name: photo.image for name, photo in images.samples().items()
}  # from scikit-image, scikit-learn
picture = sample.images[22] if MODEL.startswith("diorama/") else photographs["chelsea"]  # (3, H, W)
# picture = images.load("my_photo.jpg")
first = filters.first_convolution(net.model)
print(f"{net.name}: its first layer is {first!r}, its input {net.input_size} × {net.input_size} pixels")

# %% [markdown]
# Sections 1, 2, 5 and 6 look at *your* network, the one called `MODEL`. Sections 3, 4, 7 and 8 compare networks that
# were trained with a fault on purpose; they always use the Diorama family.
#
# ## 1 · The first layer by hand
#
# An image is three grey pictures: $x_1, x_2, x_3$, its red, green and blue. Filter $i$ of the first layer holds one
# small *kernel* $w_{c,i}$ for each of them, and one number $b_i$, the bias. Each kernel slides over its own grey picture;
# the three results are added:
#
# $$z_i \;=\; b_i + \sum_{c=1}^{3} x_c \star w_{c,i}, \qquad
# (x \star w)(u, v) = \sum_{m,n} x(s u + m,\; s v + n)\; w(m, n).$$
#
# Here $u, v$ count positions in the output, $m, n$ positions in the kernel, and $s$ is the stride. Mathematicians call
# $\star$ a cross-correlation, because the kernel is not flipped; deep learning calls it a convolution. A kernel answers
# most where the image looks like the kernel: it is a template. Then the ReLU keeps what is positive, $\max(z_i, 0)$.

# %%
layer = hooks.find(net.model, first)
w = filters.weights(net.model, first)  # (filters, 3, k, k)
x = net.prepare(picture)  # (1, 3, s, s), normalised

with torch.no_grad():
    i = int(layer(x)[0].std((1, 2)).argmax())  # the filter that finds most in this picture
    channel = [
        F.conv2d(
            x[:, c : c + 1], layer.weight[i : i + 1, c : c + 1], stride=layer.stride, padding=layer.padding
        )
        for c in range(3)
    ]  # three maps (1, 1, H', W'), one for each colour
    z = sum(channel) + (0 if layer.bias is None else layer.bias[i])
    by_torch = layer(x)[:, i : i + 1]

error = float((z - by_torch).abs().max() / by_torch.abs().max())
print(f"filter {i}: the sum over the channels equals conv2d: {error < 1e-4}")
count, channels = w.shape[:2]
print(
    f"{first} holds {count} filters × {channels} channels = {count * channels} kernels of {w.shape[2]} × {w.shape[3]}"
)
print("AlexNet's first layer: 96 filters × 3 channels = 288 kernels of 11 × 11")

# %%
results = [m[0, 0] for m in channel] + [z[0, 0]]
reach = float(torch.stack(results).abs().quantile(0.99))
limits = (-reach, reach)
kernels = filters.grey_slices(w[i : i + 1])[0]  # (3, k, k)
panels = [
    *net.denormalise(x)[0].clamp(0, 1).cpu(),
    net.denormalise(x)[0].clamp(0, 1).cpu(),
    *kernels,
    filters.to_colour(w[i : i + 1])[0],
    *(figures.colourise(m, True, limits) for m in results),
]
fig, axes = figures.image_grid(
    panels,
    titles=["red", "green", "blue", "all three"] + [""] * 8,
    columns=4,
    rows=["image", "kernel", "result"],
    crisp=True,
    caption=f"Filter {i} of {first}. Each kernel slides over its own colour; the last column is the image, the "
    "filter in colour and the sum. Results: red is positive, blue negative, white zero.",
)
figures.show(fig, f"Three colour channels, the three kernels of filter {i}, their three results and the sum.")

# %% [markdown]
# **What to notice.** A kernel in one row is grey: light is a positive weight, dark a negative one, mid-grey zero. Only
# together do the three make a coloured template. This filter's three kernels agree, so their results add up. In a filter with
# opposite kernels for two colours they cancel at grey edges, and what is left are colour edges. The line along the upper edge of
# the results is no edge of the picture: there the layer pads the image with zeros.
#
# Does the order of the channels matter? Give the filters the blue channel where they expect red, and ask how far the answer
# moves, as a share of its length. For scale: a grey picture would not change at all, another image changes everything.

# %%
with torch.no_grad():
    right, swapped = layer(x), layer(x.flip(1))
change = float((right - swapped).norm() / right.norm())
with torch.no_grad():
    another = layer(net.prepare(sample.images[23]))
print(f"swapping red and blue changes the first layer's output by {change:.0%} of its length")
print(f"another image instead: by {float((right - another).norm() / right.norm()):.0%}")

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · A convolution layer without `conv2d`
#
# Write the layer with plain loops or with `unfold`. `x` is one image (C, H, W), `w` the filters (N, C, k, k), `b` the
# biases (N,). Put `padding` zeros on every side first; neighbouring windows start `stride` pixels apart.


# %% tags=["exercise"]
def convolution(x, w, b, stride, padding):
    """(C, H, W), (N, C, k, k), (N,) → (N, H', W')."""
    ### BEGIN SOLUTION
    x = F.pad(x, (padding, padding, padding, padding))
    k = w.shape[-1]
    windows = x.unfold(1, k, stride).unfold(2, k, stride)  # (C, H', W', k, k)
    return torch.einsum("chwmn,icmn->ihw", windows, w) + b[:, None, None]
    ### END SOLUTION


# %% tags=["check"]
checks.check_convolution(convolution)

# %% [markdown]
# ## 2 · Filters as pictures
#
# A first-layer filter looks at pixels, so its weights can be shown as a small picture in colour. One number scales each
# filter so that its largest weight is at the end of the range; a weight of zero is mid-grey.

# %%
smooth = filters.smoothness(w)
fig, axes = figures.filter_grid(
    filters.to_colour(w[:96]),
    caption=f"The filters of {first}, each on its own scale; mid-grey is a weight of zero.",
)
figures.show(fig, f"The first {min(len(w), 96)} filters of {first} in colour.")
null = filters.smoothness(torch.randn(w.shape, generator=generator))
print(
    f"median smoothness of {first}: {smooth.median():.2f} (white noise: {null.median():z.2f}; section 3 explains the measure)"
)

# %% [markdown]
# **What to notice.** In a trained network you meet three families again and again: *oriented edges* and gratings,
# mostly grey; *colour blobs*, such as green or purple; and *colour edges*. Krizhevsky et al. (2012) show the same
# families in AlexNet, Figure 3, and nobody put them there.
#
# ### Two worlds, the same families
#
# Are these filters a habit of Diorama, which is drawn with a program? `photos/alexnet` has never seen a drawing: it learnt
# 99 categories from 6,607 photographs of Caltech-101, and it too comes with the course. Put the two side by side.

# %%
worlds = {"drawings": "diorama/alexnet", "photographs": "photos/alexnet"}
seen = {world: filters.weights(zoo.load(name).model, "conv1") for world, name in worlds.items()}
fig, axes = figures.panels(
    1,
    2,
    height=420,
    width_ratios=[6, 8],
    caption="First-layer filters of two networks, each filter on its own scale; noisy ones are framed.",
)
for ax, (world, bank) in zip(axes, seen.items(), strict=True):
    title = f"{worlds[world]}, from {world}"
    figures.filter_grid(
        filters.to_colour(bank), len(bank) // 8, marked=filters.is_noisy(bank), title=title, axes=ax
    )
figures.show(fig, "First-layer filters learnt from drawings and from photographs, side by side.")

# %% [markdown]
# To say *how* alike they are, look for each filter of the photo network the Diorama filter that resembles it most, in any
# position of a turn, and take the correlation. As in section 5, the best of many partners is large even by chance. So there are
# two nulls: Diorama's filters with scrambled phases, which are as smooth and as colourful but have no shape, and the filters of
# the untrained Diorama network.


# %%
def nearest(bank, others):
    """For each filter of `bank` the best correlation with any of `others`, turned by any multiple of 15°."""
    similarity, _ = filters.rotation_similarity(torch.cat([bank, others]))
    return similarity[: len(bank), len(bank) :].amax(1)


untrained = filters.weights(zoo.load("diorama/alexnet-untrained").model, "conv1")
scrambled = filters.surrogates(seen["drawings"], torch.Generator().manual_seed(0))
for world, bank in seen.items():
    fine = filters.centre_frequency(bank)
    print(
        f"{world:12} {int(filters.is_noisy(bank).sum())} of {len(bank)} noisy, smoothness {filters.smoothness(bank).median():.2f}, "
        f"colourfulness {filters.colourfulness(bank).median():.2f}, frequency {fine.quantile(0.1):.2f} to {fine.quantile(0.9):.2f}"
    )
print(
    f"a photo filter's best partner: {nearest(seen['photographs'], seen['drawings']).median():.2f} among Diorama's filters, "
    f"{nearest(seen['photographs'], scrambled).median():.2f} among scrambled ones, "
    f"{nearest(seen['photographs'], untrained).median():.2f} among untrained ones"
)

# %% [markdown]
# **What to notice.** Two worlds, one set of families: oriented edges and bars, plain colours, colour edges, a checkerboard or two.
# The photo network's plain colours are flatter, and Diorama's bars sharper. A photo filter's best partner among Diorama's filters
# is clearly closer than smoothness and colour alone would make it, and far closer than an untrained filter. So the families
# come from what edges and colours *are*, more than from who drew them. What else these networks learnt from their worlds is for the later lectures.
#
# ### The second layer says less
#
# A filter of the second layer has one kernel for each *filter of the first*: 48 in our AlexNet, not three. There is no
# colour that would show 48 channels, so you get 48 slices a filter: red is positive, blue negative.

# %%
second = next(
    name
    for name in filters.convolutions(net.model)
    if name != first and min(filters.weights(net.model, name).shape[2:]) >= 3
)
w2 = filters.weights(net.model, second)
shown = w2[:10, :16]
fig, axes = figures.grey_grid(
    shown,
    rows=[f"filter {j}" for j in range(len(shown))],
    label="weight",
    largest=48,
    caption=f"Ten filters of {second}, a row each: their slices for the first {shown.shape[1]} of "
    f"{w2.shape[1]} input channels. White is a weight of zero.",
)
figures.show(fig, f"Ten filters of {second} as rows of slices, positive weights red, negative blue.")


# %%
def strongest_share(w):
    """Mean over filters of the share of a filter's energy that its strongest slice holds."""
    energy = w.square().sum((2, 3))  # (filters, channels)
    return float((energy.amax(1) / energy.sum(1)).mean())


noise = torch.randn(w2.shape, generator=generator)
print(f"{second}: the strongest of {w2.shape[1]} slices holds {strongest_share(w2):.0%} of a filter's energy")
print(f"white noise of the same shape: {strongest_share(noise):.0%};  even shares: {1 / w2.shape[1]:.0%}")

# %% [markdown]
# **What to notice.** No slice tells you what a filter of the second layer looks for. First, a slice is a template for
# *another filter's output*: to read it you must know that filter. Second, the slices work together, since a filter's
# energy is spread over many of them. Third, their order is arbitrary: renumber the first layer's filters and the
# slices change places while the network computes the same. Lectures 02 and 04 show deep filters by what they
# *answer to*, which is the way out.
#
# One thing can still be asked of the second layer: is it noisy? CS231n says of AlexNet's that it is not as
# interpretable, but "still smooth, well-formed, and absent of noisy patterns".

# %%
base = zoo.load("diorama/alexnet", device=where)
w2_base = filters.weights(base.model, "conv2")
noisy2 = int(filters.is_noisy(w2_base).sum())
free = int(filters.is_noisy(filters.weights(zoo.load("diorama/alexnet-nodecay").model, "conv2")).sum())
print(f"conv2 of diorama/alexnet: median smoothness {filters.smoothness(w2_base).median():.2f}")
print(f"noisy: {noisy2} of {len(w2_base)}; trained without weight decay: {free} of {len(w2_base)}")
claim(
    "01-second-layer-smooth",
    statement="Second-layer filters of a well-trained network are hard to read, but smooth and free of noise.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"{noisy2} of {len(w2_base)} conv2 filters are noisy; median smoothness "
    f"{filters.smoothness(w2_base).median():.2f} (white noise 0); without weight decay {free} are noisy",
    verdict="reproduced" if noisy2 <= 0.1 * len(w2_base) else "contradicted",
)

# %% [markdown]
# Not here: about four in ten are noisy, although the network is right on 98 % of the test images. Regularisation has a part in
# it: without weight decay nearly all of them are. Section 3 takes this apart.
#
# ### Fully connected layers
#
# A fully connected layer is a matrix. The last one has a row for each class, and drawn as a picture it looks like noise:
# neighbouring columns have nothing to do with each other. Do not look at it; *compare rows*. Two classes whose rows point
# the same way are classes that the network raises and lowers together. First subtract the mean row, which a softmax does not
# see; then the similarity of rows $a$ and $b$ is their cosine, $a \cdot b \,/\, |a||b|$.

# %%
last = [name for name, module in net.model.named_modules() if isinstance(module, torch.nn.Linear)][-1]
matrix = filters.weights(net.model, last)  # (classes, units)
fig, axes = figures.grey_grid(
    matrix[None, :16, :128],
    largest=900,
    caption=f"The first 16 rows and 128 columns of {last}: one row a class, one column a unit of the layer before.",
)
figures.show(fig, f"The weight matrix of {last} drawn as a picture; it looks like noise.")


def nearest_rows(matrix):
    """The pair of rows with the largest cosine, and that cosine."""
    rows = F.normalize(matrix[:16] - matrix.mean(0), dim=1)
    cosine = (rows @ rows.T).fill_diagonal_(-1)
    return divmod(int(cosine.argmax()), len(cosine)), float(cosine.max())


(a, b), cosine = nearest_rows(matrix)
print(f"nearest rows: {net.classes[a]} and {net.classes[b]}, cosine {cosine:.2f}")
chance = []
for _ in range(200):
    mixed = torch.stack([row[torch.randperm(len(row), generator=generator)] for row in matrix])
    chance.append(nearest_rows(mixed)[1])
print(f"null, every row's weights shuffled: {np.quantile(chance, 0.95):.2f} is exceeded in 5 % of 200 trials")


# %% [markdown]
# **What to notice.** The picture is useless and the number is not: it names two classes that look alike. A drawing of
# weights helps only where neighbours on the page are neighbours in the world.
#
# Leaf through all layers yourself. (On a page without a running kernel, the figures above are what you would see.)

# %%
browsed = {"your network": net, "untrained": zoo.load("diorama/alexnet-untrained", device=where)}
controls.filter_browser(browsed)

# %% [markdown]
# ## 3 · Smooth or noisy?
#
# CS231n teaches: "well-trained networks usually display nice and smooth filters without any noisy patterns. Noisy
# patterns can be an indicator of a network that hasn't been trained for long enough, or possibly a very low
# regularization strength that may have led to overfitting". A caption in the same notes adds a third suspect, an "improperly set learning rate". To test
# such sentences you need a number for "noisy".
#
# **The measure.** In a smooth filter, a weight tells you its neighbour; in noise it does not. Shift the filter by one
# place in direction $d$ and compare each weight $w(p)$ with $w(p+d)$, over all positions $p$ and all channels:
#
# $$r(d) \;=\; 1 - \frac{\sum_p \big(w(p) - w(p+d)\big)^2}{\sum_p \big(w(p)^2 + w(p+d)^2\big)}.$$
#
# If the neighbours are equal, $r = 1$. If they are independent, the differences are as large as the weights and $r = 0$ on
# average. A fine grating changes fast across its stripes, and is smooth all the same: along its stripes. So we try four
# directions and keep the best $r$ (the cell below prints three of them). Keeping the best of four is optimistic, even for noise; that optimism is known and
# taken off. The result is the filter's **smoothness**: 0 for white noise of any size, 1 for a flat filter.
#
# **The threshold.** Add noise to a perfectly smooth filter until the noise has half of the energy, and its smoothness is
# 0.5. So a filter below 0.5 is called *noisy*: about half of it, or more, is pixel noise.


# %%
def agreement(w, down, right):
    """r(d) for the shift d = (down, right), both at least 0; (filters,)."""
    height, width = w.shape[2:]
    here, there = w[:, :, : height - down, : width - right], w[:, :, down:, right:]
    return 1 - (here - there).square().sum((1, 2, 3)) / (here.square() + there.square()).sum((1, 2, 3))


j = int(filters.smoothness(w).argmax())
for name, example in {
    "smoothest filter": w[j : j + 1],
    "white noise": torch.randn(1, *w.shape[1:], generator=generator),
}.items():
    r = [float(agreement(example, *d)) for d in [(0, 1), (1, 0), (1, 1)]]
    print(f"{name:16}  r right {r[0]:z5.2f}, down {r[1]:z5.2f}, diagonal {r[2]:z5.2f}")
    print(f"{'':16}  smoothness {float(filters.smoothness(example)):z.2f}")

# %% [markdown]
# Now the family. All have the same layers and the same training set; each differs from the base as stated:
#
# - **trained** is the base: weight decay on every weight, three times as much on the first layer;
# - **stopped early** is the base after the first of its 16 epochs;
# - **no weight decay** is the base without that regularisation;
# - **loud start** has no weight decay either, and its first layer began with ten times larger random weights;
# - **high learning rate** is the base with steps ten times larger;
# - **untrained** is the base before its first step. Its accuracy is chance, 1 in 16.

# %%
FAMILY = {
    "trained": "diorama/alexnet",
    "stopped early": "diorama/alexnet-short",
    "no weight decay": "diorama/alexnet-nodecay",
    "loud start": "diorama/alexnet-loudstart",
    "high learning rate": "diorama/alexnet-highlr",
    "untrained": "diorama/alexnet-untrained",
}
family = {label: zoo.load(name, device=where) for label, name in FAMILY.items()}
conv1 = {label: filters.weights(member.model, "conv1") for label, member in family.items()}

fig, axes = figures.panels(
    3,
    2,
    height=640,
    caption="The first 24 filters of each network, each filter on its own scale; noisy ones are framed.",
)
for ax, (label, bank) in zip(axes.flat, conv1.items(), strict=False):
    figures.filter_grid(
        filters.to_colour(bank[:24]), 8, marked=filters.is_noisy(bank[:24]), title=label, axes=ax
    )
figures.show(
    fig, "First-layer filters of six networks, from well trained to untrained; noisy ones are framed."
)

# %%
smoothnesses = {label: filters.smoothness(bank).numpy() for label, bank in conv1.items()}
smoothnesses = {label: s[~np.isnan(s)] for label, s in smoothnesses.items()}  # a filter of zeros has none
zero = {label: 48 - len(s) for label, s in smoothnesses.items()}
noisy = {label: int(filters.is_noisy(bank).sum()) for label, bank in conv1.items()}
accuracy = {}
for label, name in FAMILY.items():
    facts = zoo.describe(name)["accuracy"]  # None before training
    accuracy[label] = facts["test"] if facts else 1 / len(diorama.CLASSES)
    print(
        f"{label:20} accuracy {accuracy[label]:4.0%}   smoothness {np.median(smoothnesses[label]):z5.2f}"
        f"   noisy {noisy[label]:2}   zero {zero[label]:2}   of 48"
    )

fig, axes = figures.bars(
    [np.median(s) for s in smoothnesses.values()],
    list(smoothnesses),
    errors=np.stack(
        [
            [np.median(s) - np.quantile(s, 0.25), np.quantile(s, 0.75) - np.median(s)]
            for s in smoothnesses.values()
        ]
    ).T,
    value_label="smoothness of conv1 (median and quartiles)",
    reference={"noisy below": 0.5},
    number="{:z.2f}",
    caption="White noise has smoothness 0 by construction.",
)
figures.show(fig, "Median smoothness of the first layer for six networks.")

# %% [markdown]
# **What to notice.** The loud start has noise in half of its filters, and is right on 96 % of the images. Without weight decay
# alone, the filters stay nearly as smooth as the base's. The one framed filter of the base is a false alarm: a spot one pixel
# wide has unlike neighbours too. The high learning rate leaves no noise either. It leaves *nothing*: three quarters of its
# filters are exactly zero. Such a filter died (section 7), so no gradient reached it any more, and weight decay shrank it until
# it was smaller than the smallest number that the file can hold.
#
#
#
# **Where does the noise come from?** A weight starts as a random number. Training adds structure; it does not clean up. If
# nothing pulls a weight towards zero, the random start stays. Test it: compare each filter with *its own start*. The null
# is the start of another filter.


# %%
def remembered(name, layer):
    """Mean cosine of a layer's filters with their own start, and with another filter's start; zero filters left out."""
    end = filters.weights(zoo.load(name).model, layer).flatten(1)
    start = F.normalize(filters.weights(zoo.load(name, weights=False).model, layer).flatten(1), dim=1)
    alive = end.norm(dim=1) > 0
    end = F.normalize(end, dim=1)
    return float((end * start).sum(1)[alive].mean()), float((end * start.roll(1, 0)).sum(1)[alive].mean())


memory = {label: remembered(name, "conv1") for label, name in FAMILY.items() if label != "untrained"}
for label, (own, other) in memory.items():
    print(
        f"conv1 {label:20} cosine with its own start {own:z5.2f}, with another filter's start {other:z5.2f}"
    )
for label in ("trained", "no weight decay"):
    own, other = remembered(FAMILY[label], "conv2")
    print(
        f"conv2 {label:20} cosine with its own start {own:z5.2f}, with another filter's start {other:z5.2f}"
    )

# %% [markdown]
# **What to notice.** After the loud start a filter still resembles *its own* start with a cosine of about 0.75, and another
# filter's not at all: the noise that you see is the noise that it began with. The quiet start was ten times smaller, so what
# training added drowned it, with weight decay or without. The second layer began four times louder than the first (random
# weights of size 0.04 against 0.01), and remembers it: weight decay weakens the memory and does not wipe it out. Loudness may
# have a second effect, too: before a batch normalisation, larger weights move less, relative to their size. These runs cannot
# separate the two.
#
#
#
# And through training: is noise the mark of a network that has *not been trained for long enough*?

# %%
steps = zoo.checkpoints("diorama/alexnet")
trail = {name.partition("@")[2] or "end": zoo.load(name, device=where) for name in steps}
medians, shares = [], []
for member in trail.values():
    bank = filters.weights(member.model, "conv1")
    medians.append(float(filters.smoothness(bank).median()))
    shares.append(float(filters.is_noisy(bank).float().mean()))
fig, axes = figures.curves(
    None,
    {"median smoothness": medians, "share of noisy filters": shares},
    x_ticks=list(trail),
    x_label="training step (not to scale)",
    y_limits=(0, 1),
    caption="The first layer of diorama/alexnet through training.",
)
figures.show(fig, "Smoothness of the first layer rises and the share of noisy filters falls with training.")
print("step     " + "".join(f"{step:>7}" for step in trail))
print("noisy    " + "".join(f"{share:7.0%}" for share in shares))


# %%
def noisier(label, than="trained"):
    """Whether a network's filters are less smooth than another's, beyond chance (Mann and Whitney)."""
    test = mannwhitneyu(smoothnesses[label], smoothnesses[than], alternative="less")
    return bool(test.pvalue < 0.01 and noisy[label] > noisy[than])


def against(label, than="trained"):
    return (
        f"{label}: {noisy[label]} of 48 filters noisy, smoothness {np.median(smoothnesses[label]):z.2f}; "
        f"{than}: {noisy[than]}, {np.median(smoothnesses[than]):z.2f}"
    )


claim(
    "01-smooth-when-trained",
    statement="A well-trained network has smooth first-layer filters without noisy patterns.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"{noisy['trained']} of 48 filters noisy, {noisy['untrained']} of 48 before training",
    verdict="reproduced" if noisy["trained"] <= 0.1 * 48 and noisy["untrained"] > 40 else "contradicted",
)

# %%
by_step = dict(zip(trail, shares, strict=True))
early = [step for step in trail if step.isdigit() and 0 < int(step) < 500]  # at most a tenth of the training
claim(
    "01-noise-from-stopping-early",
    statement="A network that was not trained for long enough has noisier filters.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=", ".join(f"{by_step[step]:.0%} of the filters noisy after {step} steps" for step in early)
    + f", {by_step['end']:.0%} at the end; after one epoch of 16, smoothness {np.median(smoothnesses['stopped early']):.2f} "
    f"against {np.median(smoothnesses['trained']):.2f}",
    verdict="reproduced"
    if max(by_step[step] for step in early) > 0.5 > 5 * by_step["end"]
    else "contradicted",
)

# %%
doubt = mannwhitneyu(smoothnesses["no weight decay"], smoothnesses["trained"], alternative="less").pvalue
claim(
    "01-noise-from-low-regularisation",
    statement="With too little regularisation, first-layer filters become noisy.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=against("no weight decay")
    + f"; less smooth (p = {doubt:.1g}), but not noisy. In conv2 {free} of 80 filters are "
    f"noisy without weight decay, {noisy2} with",
    verdict="reproduced" if noisier("no weight decay") else "contradicted",
)

# %%
claim(
    "01-noise-from-high-rate",
    statement="A network with an improperly set (here: too high) learning rate has noisier first-layer filters.",
    source="CS231n, Babysitting the learning process",
    measured=against("high learning rate"),
    verdict="reproduced" if noisier("high learning rate") else "contradicted",
)

# %%
claim(
    "01-noise-is-the-start",
    statement="Noise in a trained filter is what is left of its random start.",
    source="this course",
    measured=f"cosine with its own start {memory['loud start'][0]:.2f} after a loud start (another filter's start "
    f"{memory['loud start'][1]:.2f}), {memory['no weight decay'][0]:z.2f} after a quiet one; noisy filters "
    f"{noisy['loud start']} and {noisy['no weight decay']} of 48",
    verdict="reproduced"
    if memory["loud start"][0] > 0.5 and noisier("loud start", "no weight decay")
    else "contradicted",
)

# %% [markdown]
# CS231n speaks of what noise *may indicate*; these claims turn that round and ask what a fault leaves. And each is one
# training run. It can show that a fault leaves noise, or that it need not; it cannot show that noise
# always means a fault. Nor does a threshold replace the eye: after one epoch all but one filter lie above the line, and you can
# still see their speckles; only the number says by how much they are behind (0.71 against 0.94).

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Smoothness in two directions
#
# Write a simpler measure: $r(d)$ for one step to the right and for one step down, both sums taken over all channels before
# dividing, and the larger of the two. Leave out the correction for the best of several.


# %% tags=["exercise"]
def smoothness(w):
    """Filters (N, C, kH, kW) → the larger of r(right) and r(down), (N,)."""

    ### BEGIN SOLUTION
    def r(a, b):
        return 1 - (a - b).square().sum((1, 2, 3)) / (a.square() + b.square()).sum((1, 2, 3))

    return torch.maximum(r(w[..., :-1], w[..., 1:]), r(w[..., :-1, :], w[..., 1:, :]))
    ### END SOLUTION


# %% tags=["check"]
checks.check_smoothness(smoothness)

# %% [markdown]
# ## 4 · Two streams
#
# In 2012 AlexNet did not fit on one graphics card, so it was split over two: half of the filters on each, and most layers
# saw only the filters on their own card. Today this is called a *grouped convolution*. Krizhevsky et al. (2012) report a
# surprise: "The kernels on GPU 1 are largely color-agnostic, while the kernels on GPU 2 are largely color-specific. This
# kind of specialization occurs during every run". CS231n adds that one stream has the high-frequency grey features, and
# the other the low-frequency colour features.
#
# `diorama/alexnet-grouped` has two streams: the first and the second half of its conv1. Measure each filter's
# **colourfulness**, the share of its energy outside the grey axis: at every position the three weights
# $(w_1, w_2, w_3)$ are a vector; its part along $(1,1,1)$ is grey, the rest is colour. 0 is a grey filter, 1 a pure
# contrast of colours; independent noise has 2/3. And measure its **centre frequency** in cycles per pixel: 1 over the
# wavelength of its typical pattern.

# %%
grouped = filters.weights(zoo.load("diorama/alexnet-grouped").model, "conv1")
ungrouped = filters.weights(base.model, "conv1")
stream = torch.arange(len(grouped)) < len(grouped) // 2  # True: the first stream
colour = filters.colourfulness(grouped)
order = torch.cat([mask.nonzero()[:, 0][colour[mask].argsort()] for mask in (stream, ~stream)])
fig, axes = figures.image_grid(
    filters.to_colour(grouped[order]),
    columns=12,
    rows=["stream 1", "", "stream 2", ""],
    numbers=[f"{value:.2f}" for value in colour[order].tolist()],
    crisp=True,
    scale=7,
    caption="conv1 of diorama/alexnet-grouped, each stream sorted by colourfulness, the number below each filter.",
)
figures.show(fig, "The filters of the two streams, each sorted from grey to colourful.")

# %% [markdown]
# A difference between two halves is not yet a finding: *any* two halves differ. So ask how often a **random split** of
# the same filters differs as much. This is a permutation test; the share of splits that differ at least as much is its
# p-value. As a second null, the same test on the halves of a network that has only one stream.


# %%
def split_test(values, mask, generator, draws=10_000):
    """Difference of the means of two halves, and the share of random halves that differ as much."""

    def difference(mask):
        return (values[mask].mean() - values[~mask].mean()).abs()

    observed = difference(mask)
    chance = torch.stack(
        [difference(mask[torch.randperm(len(mask), generator=generator)]) for _ in range(draws)]
    )
    return float(observed), float((1 + (chance >= observed - 1e-7).sum()) / (1 + draws))


def p_text(p):
    return "p < 0.001" if p < 0.001 else f"p = {p:.1g}"


split = {}
for network, bank in {"two streams": grouped, "one stream": ungrouped}.items():
    for quality, measure in {
        "colourfulness": filters.colourfulness,
        "frequency": filters.centre_frequency,
    }.items():
        values = measure(bank)
        difference, p = split_test(values, stream, generator)
        split[network, quality] = p, values[stream].mean(), values[~stream].mean()
        print(
            f"{network}, {quality:13}: halves {values[stream].mean():.2f} and {values[~stream].mean():.2f}, {p_text(p)}"
        )

# %%
p, one, two = split["two streams", "colourfulness"]
claim(
    "01-two-streams-colour",
    statement="Of two separate streams, one becomes greyer and the other more colourful.",
    source="Krizhevsky et al. 2012",
    measured=f"mean colourfulness {one:.2f} and {two:.2f}, {p_text(p)} over random splits (one run)",
    verdict="reproduced" if p < 0.01 else "contradicted",
)

# %%
p_frequency, *frequency = split["two streams", "frequency"]
same_way = (one < two) == (frequency[0] > frequency[1])
claim(
    "01-two-streams-frequency",
    statement="One stream has high-frequency grey features, the other low-frequency colour features.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"centre frequency {frequency[0]:.2f} and {frequency[1]:.2f} cycles a pixel, {p_text(p_frequency)}",
    verdict="reproduced" if p_frequency < 0.01 and p < 0.01 and bool(same_way) else "contradicted",
)

# %% [markdown]
# **What to notice.** The streams went different ways, and as in 2012: stream 1 is greyer and finer, stream 2 more colourful and
# coarser. Random splits of the same filters hardly ever differ as much, and the halves of the network with one stream differ no
# more than chance allows. Nothing in the task asks for it. A plausible reason: until conv3 the streams exchange nothing, so each
# must be useful alone, and sharing the work beats doing it twice. The split is a tendency: each stream has filters of the other
# kind. And one run cannot speak for "every run".
#
# ## 5 · The same filter, turned
#
# Look at the filters of section 2 again. Many seem to be copies of one another at another angle. Chollet (2016) says of
# the filters of VGG-16 that "a lot of these filters are identical, but rotated by some non-random factor (typically 90
# degrees)". He looked at pictures of what deep filters answer to; you test the sentence on the first layer's weights.
#
# For each pair of filters, turn one of them in steps of 15° and keep the best correlation, positive or negative, inside the
# inscribed disc. Each filter's best partner is its *twin*. But beware of a trap: the best of many partners and many
# angles is large even for filters that have nothing in common. So you need a null that is as smooth as the filters
# are. **Phase surrogates** are that: filters with the same spectrum, so the same wavelengths and colours, whose phases
# were drawn at random (Prichard & Theiler 1994). Whatever similarity they show comes from smoothness and chance.


# %%
def twins(w, angles=24):
    """Each filter's best correlation with any other, who that is, and the turn in degrees."""
    similarity, angle = filters.rotation_similarity(w, angles)
    best, partner = similarity.nan_to_num(-1).max(1)
    return best, partner, angle.gather(1, partner[:, None])[:, 0]


bank = w[:64]
best, partner, turn = twins(bank)
similarity, angle = filters.rotation_similarity(bank)
pairs, left = [], similarity.nan_to_num(-1).triu(1)
for _ in range(8):  # the most similar pair, then the most similar among the others, and so on
    a, b = divmod(int(left.argmax()), len(left))
    pairs.append((a, b))
    left[[a, b]], left[:, [a, b]] = -1, -1
rows = [
    torch.stack([bank[a] for a, _ in pairs]),
    torch.cat([filters.rotate(bank[a : a + 1], float(angle[a, b])) for a, b in pairs]),
    torch.stack([bank[b] for _, b in pairs]),
]
fig, axes = figures.image_grid(
    filters.to_colour(torch.cat(rows)),
    [f"{float(angle[a, b]):.0f}°, {float(similarity[a, b]):.2f}" for a, b in pairs] + [""] * 16,
    8,
    rows=["filter", "turned", "its twin"],
    crisp=True,
    scale=9,
    caption="The most similar pairs: the turn, and the correlation after it. A twin may be the negative.",
)
figures.show(
    fig, "Eight pairs of filters: a filter, the same filter turned, and the filter that it then resembles."
)

# %%
chance = [twins(filters.surrogates(bank, generator)) for _ in range(20)]
chance_best, chance_turn = torch.cat([c[0] for c in chance]), torch.cat([c[2] for c in chance])
level = float(chance_best.quantile(0.95))
share = float((best > level).float().mean())


def quarter(turn):
    """Share of the turns that are within 15° of a quarter turn, 90° or 270°."""
    return float(((turn % 180 - 90).abs() <= 15).float().mean())


plain = twins(bank, 1)[0].median()  # without turning
plain_chance = torch.cat([twins(filters.surrogates(bank, generator), 1)[0] for _ in range(20)]).median()
added, added_chance = float(best.median() - plain), float(chance_best.median() - plain_chance)
added_z = float(best.median().atanh() - plain.atanh())  # Fisher's scale: near 1, a small step is a large one
chance_z = float(chance_best.median().atanh() - plain_chance.atanh())
print(f"correlation with the twin:    median {best.median():.2f};  surrogates {chance_best.median():.2f}")
print(f"without turning:              median {plain:.2f};  surrogates {plain_chance:.2f}")
print(f"turning adds, on Fisher's z scale: {added_z:.2f};  surrogates {chance_z:.2f}")
print(f"filters with a twin above {level:.2f}: {share:.0%};  surrogates 5 %")
print(
    f"turns near a quarter turn:    {quarter(turn):.0%};  surrogates {quarter(chance_turn):.0%}, all angles alike 25 %"
)

# %%
claim(
    "01-same-filter-rotated",
    statement="Many filters are identical but for a rotation.",
    source="Chollet 2016, of what VGG-16's filters answer to",
    measured=f"{share:.0%} of {len(bank)} {first} filters have a turned twin above {level:.2f}, but only 5 % of phase "
    f"surrogates; yet turning adds as much likeness to the surrogates ({added_chance:.2f}) as to the filters ({added:.2f})",
    verdict="reproduced"
    if share >= 0.33 and added > added_chance and added_z > chance_z
    else "contradicted"
    if share < 0.33 or (added < added_chance and added_z < chance_z)
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** Two *unrelated* smooth patterns already reach nearly 0.7 when you may choose partner and angle: most of the
# likeness that the eye sees is smoothness. The rest is real, since more than half of the filters have a twin beyond what 5 % of
# the surrogates reach. But turning raises both likenesses by about as much, and which rises more depends on the scale. So
# rotation is not shown to be what twins have in common. Quarter turns are a little more frequent than among the
# surrogates; 48 filters are too few to say more.
#
# ## 6 · What the filters do to one image
#
# Weights are what the network *could* do; activations are what it does with your image. Here is each layer behind
# its ReLU: for each, the twelve channels with the highest mean.

# %%
maps = [
    name
    for name in hooks.rectified_maps(net.model, x)
    if "Pool" not in type(hooks.find(net.model, name)).__name__
]
layers = [maps[k] for k in np.unique(np.linspace(0, len(maps) - 1, 6).round().astype(int))]  # at most six
answer = hooks.activations(net.model, x, layers)
panels, names = [], []
for name in layers:
    a = answer[name][0].cpu()  # (C, H, W)
    for c in a.mean((1, 2)).argsort(descending=True)[:12]:
        top = float(a[c].quantile(0.995)) or 1.0  # a few peaks may burn out, so that the rest can be seen
        panels.append(figures.enlarge(figures.colourise(a[c], limits=(0, top)), (64, 64)))
fig, axes = figures.image_grid(
    panels,
    columns=12,
    rows=layers,
    crisp=True,
    gap=4,
    caption="Dark is zero; each map has its own scale. Bottom rows: fewer positions, each seeing more of the image.",
)
figures.show(fig, f"Activations of {len(layers)} layers for one image, twelve channels a layer.")

# %% [markdown]
# **What to notice.** The first rows still look like the image: every edge is there. Further down the maps get coarser,
# emptier and harder to recognise: a few bright spots on black.
#
# Two numbers say how empty, and how concentrated. **Sparsity** is the share of exact zeros. **Locality** asks whether
# the activity gathers in one place. Take the map's values as mass $m(p)$ at positions $p$; their centre of mass is $\bar p$:
#
# $$\text{locality} = 1 - \frac{\sum_p m(p)\,|p - \bar p|^2 / \sum_p m(p)}{\text{the same for a uniform map}},
# \qquad \text{uniform } H \times W \text{ map: } \frac{H^2 - 1 + W^2 - 1}{12}.$$
#
# 1 is a single spot, 0 is as spread out as a uniform map, and less than 0 has its mass at opposite borders. Sparsity does not care *where* the zeros are, locality does; but
# a map with three active positions is local by accident. So the null for locality is the same map **shuffled**: the
# same values, at random positions.


# %%
def profile(model, x, layers, border=0):
    """Sparsity, locality and locality of the shuffled maps, a row for each layer; without `border` outer rows, columns."""
    found = hooks.activations(model, x, layers)
    inner = slice(border, -border or None)
    return np.array(
        [
            (
                activations.sparsity(a),
                activations.locality(a),
                activations.locality(activations.shuffled(a, generator)),
            )
            for a in (found[name][:, :, inner, inner].cpu() for name in layers)
        ]
    )  # (layers, 3)


table = profile(net.model, net.prepare(sample.images[:64]), layers)
fig, axes = figures.curves(
    None,
    {"sparsity": table[:, 0], "locality": table[:, 1], "locality, shuffled": table[:, 2]},
    x_ticks=layers,
    y_limits=(0, 1),
    caption="Mean over 64 test images and all channels that are active at all.",
)
figures.show(fig, "Sparsity and locality by layer, with the locality of shuffled maps.")
for name, row in zip(layers, table, strict=True):
    print(f"{name:12} zeros {row[0]:4.0%}   locality {row[1]:.2f}   shuffled {row[2]:.2f}")

# %% [markdown]
# **What to notice.** Deep layers are emptier: two thirds of zeros up to relu3, three quarters and more behind it. Locality
# does not simply grow with depth. It is lowest in relu2. And in the deep layers, a good part of it is an accident: a map with
# few active positions is local wherever they lie, so the shuffled maps have some too. What stands above that null in relu4
# and relu5 is less than what relu1 has.

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · Locality of one map
#
# Write locality for one map `m` (H, W) with non-negative values that are not all zero.


# %% tags=["exercise"]
def locality(m):
    """1 - spread / spread of a uniform map, for one map (H, W)."""
    ### BEGIN SOLUTION
    height, width = m.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    share = m / m.sum()
    cy, cx = (share * y).sum(), (share * x).sum()
    spread = (share * ((y - cy) ** 2 + (x - cx) ** 2)).sum()
    return 1 - spread / ((height**2 - 1 + width**2 - 1) / 12)
    ### END SOLUTION


# %% tags=["check"]
checks.check_locality(locality)

# %% [markdown]
# Now move through everything: any image, any layer, any channel, and a photograph of your own.

# %%
pictures = {f"{k}: {diorama.CLASSES[label]}": sample.images[k] for k, label in enumerate(sample.labels[:16])}
pictures = pictures | photographs if MODEL.startswith("diorama/") else photographs | pictures
controls.explorer(net, list(pictures.values()), titles=list(pictures))

# %% [markdown]
# ### Through training
#
# CS231n again: "the activations usually start out looking relatively blobby and dense, but as the training progresses the
# activations usually become more sparse and localized". The family has the base network at several steps of its training.

# %%
shown_steps = [list(trail)[k] for k in np.linspace(0, len(trail) - 1, 4).round().astype(int)]
panels = []
for step in shown_steps:
    a = hooks.activations(trail[step].model, trail[step].prepare(picture), ["relu2"])["relu2"][0].cpu()
    for m in a[:12]:
        top = float(m.quantile(0.995)) or 1.0
        panels.append(figures.enlarge(figures.colourise(m, limits=(0, top)), (64, 64)))
fig, axes = figures.image_grid(
    panels,
    columns=12,
    rows=[f"step {step}" if step != "end" else step for step in shown_steps],
    crisp=True,
    gap=4,
    caption="The first twelve channels of relu2 for one image, at four steps of training; each map has its own scale.",
)
figures.show(fig, "Activations of relu2 for one image at four steps of training.")

# %%
RELUS = ["relu1", "relu2", "relu3", "relu4", "relu5"]
batch = base.prepare(sample.images[:32])
history = np.stack([profile(member.model, batch[:32], RELUS) for member in trail.values()])
fig, axes = figures.panels(
    1,
    2,
    height=300,
    caption="diorama/alexnet through training, 32 test images. Right: locality minus that of the shuffled maps. The "
    "vertical axes do not begin at zero.",
)
for ax, values, label in zip(
    axes,
    [history[..., 0], history[..., 1] - history[..., 2]],
    ["sparsity", "locality above shuffled"],
    strict=True,
):
    figures.curves(
        None,
        dict(zip(RELUS, values.T, strict=True)),
        x_ticks=list(trail),
        x_label="step (not to scale)",
        y_label=label,
        axes=ax,
    )
figures.show(fig, "Sparsity and locality of the five convolution layers through training.")
for label, values in {
    "sparsity": history[..., 0],
    "locality above shuffled": history[..., 1] - history[..., 2],
}.items():
    print(
        f"{label:24} first step → end:  "
        + "   ".join(f"{r} {v[0]:.2f} → {v[-1]:.2f}" for r, v in zip(RELUS, values.T, strict=True))
    )

# %%
sparser = int((history[-1, :, 0] > history[0, :, 0] + 0.02).sum())
claim(
    "01-activations-become-sparse",
    statement="Activations start dense and become sparser as training goes on.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"sparser at the end in {sparser} of 5 layers; relu5 {history[0, 4, 0]:.0%} → {history[-1, 4, 0]:.0%} zeros",
    verdict="reproduced" if sparser >= 4 else "contradicted",
)

# %%
inside = np.stack([profile(trail[step].model, batch[:32], RELUS, border=2) for step in ("0", "end")])
above, above_inside = (h[..., 1] - h[..., 2] for h in (history, inside))
more_local, more_inside = (int((h[-1] > h[0] + 0.02).sum()) for h in (above, above_inside))
print("locality above shuffled without the two outer rows and columns, first step → end:")
print("   ".join(f"{r} {v[0]:.2f} → {v[-1]:.2f}" for r, v in zip(RELUS, above_inside.T, strict=True)))
claim(
    "01-activations-become-local",
    statement="Activations start blobby and become more localised as training goes on.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"locality above shuffled maps rises in {more_local} of 5 layers; in {more_inside} of 5 when the two outer rows "
    "and columns, which see the zero padding, are left out",
    verdict="reproduced"
    if min(more_local, more_inside) >= 3
    else "contradicted"
    if max(more_local, more_inside) <= 1
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** "Dense → sparse" holds in every layer: random weights leave half of the values at zero, since a sum of
# random signs is negative half of the time, and training empties the maps from there. "Blobby → localised" depends on how you
# ask. Over whole maps, locality rises above the shuffled maps' in relu1 only. Part of that is zero padding: look at the bright
# frames of relu2. Without the outer two rows and columns it rises in more layers. And our number asks for *one* place: a map with
# three small spots is not local by it, though CS231n may well call it localised.
#
# Drag the slider through training; on a static page, the two figures above stand for it.

# %%
controls.training_slider(trail, picture, "relu2")

# %% [markdown]
# ## 7 · Dead filters
#
# If a step of training pushes a unit so far that its ReLU gives zero for *every* image, its gradient is zero too, and no
# later step changes the unit itself (only the layers before it could revive it): it is **dead**. CS231n: maps that are "all zero for many different inputs … can
# indicate dead filters, and can be a symptom of high learning rates".
#
# One image is not enough to call a unit dead: in the fully connected layers most units are silent on any one image. So stream the whole test set
# through the network, keep one number for each unit, the count of the images on which it was active at all, and never
# more than one batch in memory.

# %%
test = diorama.load("test", labels=False)  # 2,000 images; drawn once, then kept in a cache


def batches(net, size=250):
    for start in range(0, len(test), size):
        yield net.prepare(test[start : start + size].images)


UNITS = [*RELUS, "relu6", "relu7"]
watched = {label: family[label] for label in ["trained", "high learning rate"]}
shares = {
    label: activations.active_share(member.model, batches(member), UNITS) for label, member in watched.items()
}
dead = {
    label: {name: int((s == 0).sum()) for name, s in by_layer.items()} for label, by_layer in shares.items()
}
size = {name: len(s) for name, s in shares["trained"].items()}

fig, axes = figures.bars(
    [[by_layer[name] / size[name] for name in UNITS] for by_layer in dead.values()],
    UNITS,
    groups=list(dead),
    value_label="share of dead units",
    limits=(0, 1),
    number="{:.2f}",
    caption=f"Dead: zero at every position for all {len(test):,} test images.",
)
figures.show(fig, "Share of dead units by layer in the healthy and in the high-learning-rate network.")
for name in UNITS:
    print(
        f"{name}: of {size[name]:3} units dead: "
        + ", ".join(f"{dead[label][name]:3} {label}" for label in dead)
    )

# %%
total = {label: sum(by_layer.values()) for label, by_layer in dead.items()}
units = sum(size.values())
claim(
    "01-dead-units-high-rate",
    statement="A high learning rate leaves dead filters.",
    source="CS231n, Understanding and visualizing CNNs",
    measured=f"{total['high learning rate']} of {units} units dead over {len(test):,} test images, "
    f"{total['trained']} in the same network with a rate ten times lower",
    verdict="reproduced" if total["high learning rate"] > 2 * total["trained"] + 10 else "contradicted",
)

# %% [markdown]
# **What to notice.** Three quarters of the first layer and nine tenths of the last hidden one are dead, in a network that is still
# right on 89 % of the images: no accuracy tells you that it uses a quarter of its first layer. The healthy network has no dead
# unit anywhere. A likely cause: during training, batch normalisation (folded into the shipped weights) adds a learnt offset to
# each unit, and one large step can throw it so low that no image brings the unit above zero.
#
#
#
# *Dead* is a statement about these images. Ask how it depends on their number: with fewer images, more units look dead.

# %%
for n in (1, 2, 5, 10, 100):
    few = activations.dead_units(base.model, [base.prepare(test[:n].images)], ["relu7"])["relu7"]
    print(
        f"{n:5} images: {int(few.sum()):3} of {size['relu7']} units of relu7 look dead in the healthy network"
    )
print(f"{len(test):5} images: {dead['trained']['relu7']:3}")

# %% [markdown] tags=["exercise"]
# ### Exercise 4 · A detector for streams
#
# The argument `batches` is an iterable of activations (N, C, H, W), a batch at a time. Say which channels are never above zero:
# return a tensor of True and False, (C,). Go through the
# batches once, and do not keep them. (Activations may be negative here: some layers have no ReLU.)


# %% tags=["exercise"]
def dead_channels(batches):
    """Batches of activations (N, C, H, W) → True for the channels that are above zero nowhere, (C,)."""
    ### BEGIN SOLUTION
    alive = False
    for a in batches:
        alive = alive | (a > 0).flatten(2).any(2).any(0)
    return ~alive
    ### END SOLUTION


# %% tags=["check"]
checks.check_dead_channels(dead_channels)

# %% [markdown]
# ## 8 · Look, find the fault, mend it
#
# In 2013 Zeiler and Fergus looked at AlexNet with these tools and found two faults in its first layer, 11 × 11 windows
# with stride 4. Its filters were "a mix of extremely high and low frequency information, with little coverage of the mid
# frequencies", and the second layer showed "aliasing artifacts caused by the large stride". They made the window 7 × 7 and
# the stride 2; the features became more distinctive, with fewer dead ones, and the error on ImageNet fell. It is the
# best advertisement for looking.
#
# Play it through. `diorama/alexnet-stride4` has AlexNet's first layer; the base has 9 × 9 with stride 2. So that the later maps
# keep their size, pool1 has stride 1 there and stride 2 in the base. Everything else is the same: both reach 24 × 24 positions
# behind pool1, but the base filters at 48 × 48 and takes maxima first.
#
# **Look.**

# %%
coarse = zoo.load("diorama/alexnet-stride4", device=where)
stems = {"11 × 11, stride 4": coarse, "9 × 9, stride 2": base}
fig, axes = figures.panels(
    1, 2, height=390, caption="First-layer filters, each on its own scale; noisy ones are framed."
)
for ax, (label, member) in zip(axes, stems.items(), strict=True):
    bank = filters.weights(member.model, "conv1")
    figures.filter_grid(filters.to_colour(bank), 8, marked=filters.is_noisy(bank), title=label, axes=ax)
figures.show(fig, "The first-layer filters of the network with stride 4 and of the one with stride 2.")

# %%
for label, member in stems.items():
    bank = filters.weights(member.model, "conv1")
    frequency = filters.centre_frequency(bank)
    print(
        f"{label:18} {int(filters.is_noisy(bank).sum()):2} of 48 noisy, median smoothness {filters.smoothness(bank).median():z.2f}, "
        f"frequency {frequency.quantile(0.1):.2f} to {frequency.quantile(0.9):.2f} cycles a pixel"
    )

# %% [markdown]
# **Find the fault.** A stride of $s$ looks at every $s$-th pixel only. By the sampling theorem, a grid with that spacing
# carries patterns of up to $1/(2s)$ cycles per pixel across and down: 1/8 for stride 4. A finer pattern does not vanish. It comes
# back as another one, within that bound, that is not in the image: *aliasing*. You see it with a target of rings that get finer outwards.

# %%
axis = torch.arange(96) - 47.5
square = axis[:, None] ** 2 + axis[None] ** 2
disc = torch.sigmoid((45 - square.sqrt()) / 1.5)
target = 0.5 + 0.5 * disc * torch.cos(0.017 * square)  # up to 0.25 cycles per pixel, at the rim
panels = [target, target[::4, ::4], target[::2, ::2], torch.full_like(target, 1.0)]
panels = [figures.enlarge(figures.as_uint8(panel), (288, 288)) for panel in panels]
for member in stems.values():
    bank = filters.weights(member.model, "conv1")
    rings = member.prepare(target.expand(3, 96, 96))
    c = int(
        F.conv2d(rings.cpu(), bank).var((0, 2, 3)).argmax()
    )  # the filter that answers most, at every pixel
    z = hooks.activations(member.model, rings, ["conv1"])["conv1"][0, c].cpu()
    panels.append(figures.enlarge(figures.colourise(z - z.median(), diverging=True), (288, 288)))
fig, axes = figures.image_grid(
    panels,
    ["the target", "every 4th pixel", "every 2nd pixel", "", "conv1, stride 4", "conv1, stride 2"],
    3,
    caption="Above: rings that get finer outwards, and what is left of them at every 4th and every 2nd pixel. Below: the "
    "filter of each network that answers most to them (red positive, blue negative).",
)
figures.show(
    fig, "A target of ever finer rings, sampled with stride 4 and 2, and the answers of two first layers."
)

# %% [markdown]
# **What to notice.** At every 4th pixel there are new rings at the left, right, upper and lower rim, around centres that the
# target does not have. At every 2nd pixel there are none; only the rim, at the limit itself, is jagged. And the networks do the
# same: the two filters below answer to fine diagonal stripes. With stride 2 its map shows the stripes. With stride 4 it shows two small sets of *rings* where the target has stripes,
# and the layers above cannot tell them from real ones.
#
# How much of that happens on real input? Filter the test images at *every* pixel, take the power spectrum of the
# responses, and ask which share of the power lies beyond what the stride can carry. The table crosses both filter banks with
# both strides: the diagonal is what happens, the rest is what would.

# %%
pixels = base.prepare(sample.images[:32]).cpu()
folded = {}
for label, member in stems.items():
    bank = filters.weights(member.model, "conv1")
    folded[label] = [float(filters.aliasing(bank, pixels, s).nanmean()) for s in (4, 2)]
    print(
        f"filters of {label:18} share of power folded by stride 4: {folded[label][0]:.1%}, by stride 2: {folded[label][1]:.1%}"
    )

# %%
coarse_share, fine_share = folded["11 × 11, stride 4"][0], folded["9 × 9, stride 2"][1]
claim(
    "01-stride-aliasing",
    statement="A first layer with stride 4 causes aliasing, which stride 2 largely removes.",
    source="Zeiler & Fergus 2014",
    measured=f"{coarse_share:.0%} of the response power is folded with 11 × 11 / 4, {fine_share:.0%} with 9 × 9 / 2",
    verdict="reproduced" if coarse_share > 2 * fine_share else "contradicted",
)

# %% [markdown]
# **Mend it, and see the gain.** Smaller window, smaller stride, everything else unchanged. Two numbers are compared on the
# same images, so compare them image by image: draw the test images anew at random, with repetition, many times, and look
# how much the *difference* of the accuracies varies. That is the paired bootstrap. For each accuracy alone, Wilson's
# interval says which true accuracies are compatible with the one measured.


# %%
right = {}
for label, member in stems.items():
    with hooks.frozen(member.model), torch.no_grad():
        said = torch.cat([member.model(part).argmax(1).cpu() for part in batches(member)])
    right[label] = (said == test.labels).numpy()
    wilson = binomtest(int(right[label].sum()), len(test)).proportion_ci(method="wilson")
    print(f"{label:18} {right[label].mean():.1%} right, 95 % interval {wilson.low:.1%} to {wilson.high:.1%}")

difference = right["9 × 9, stride 2"].astype(float) - right["11 × 11, stride 4"]
draws = np.random.default_rng(0).integers(len(test), size=(2000, len(test)))
low, high = np.quantile(difference[draws].mean(1), [0.025, 0.975])
gain = 100 * difference.mean()
print(f"gain {gain:.1f} points, 95 % interval {100 * low:.1f} to {100 * high:.1f}")

# %%
claim(
    "01-stride-accuracy",
    statement="A smaller first stride and window raises the accuracy.",
    source="Zeiler & Fergus 2014",
    measured=f"+{gain:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f}) on {len(test):,} test images; one run each",
    verdict="reproduced" if low > 0 else "contradicted" if high < 0 else "cannot be tested here",
)

# %%
likeness, excess = {}, {}  # to the nearest filter, without turning; and above that of phase surrogates
for label, member in stems.items():
    bank = filters.weights(member.model, "conv1")
    null = torch.cat([twins(filters.surrogates(bank, generator), 1)[0] for _ in range(20)]).median()
    likeness[label] = float(twins(bank, 1)[0].median())
    excess[label] = likeness[label] - float(null)
(coarse_label, fine_label) = stems
claim(
    "01-stride-distinctive",
    statement="A smaller first stride and window gives more distinctive features.",
    source="Zeiler & Fergus 2014",
    measured=f"median likeness of a filter to its nearest {likeness[coarse_label]:.2f} → {likeness[fine_label]:.2f}; above phase "
    f"surrogates {excess[coarse_label]:.2f} → {excess[fine_label]:.2f}",
    verdict="cannot be tested here"
    if abs(excess[fine_label] - excess[coarse_label]) < 0.1
    else "reproduced"
    if excess[fine_label] < excess[coarse_label]
    else "contradicted",
)

# %%
dead_coarse = activations.dead_units(coarse.model, batches(coarse), UNITS)
lost = sum(int(units.sum()) for units in dead_coarse.values())
claim(
    "01-stride-dead",
    statement="A smaller first stride and window gives fewer dead features.",
    source="Zeiler & Fergus 2014",
    measured=f"dead units {lost} → {total['trained']} of {units}: too few to tell",
    verdict="reproduced" if lost >= total["trained"] + 5 else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** The gain came, and its interval excludes zero: 1.6 points. Aliasing fell from 15 % of the response power to 2 %,
# and it is the stride and not the window: the 9 × 9 filters would fold 16 % at stride 4, the 11 × 11 filters 1 % at stride 2. That
# makes aliasing a candidate for the reason, not the proof: window and stride changed at once, and so did the place where maxima
# are taken. The filters alone do not give the fault away: both banks are smooth, and neither is clearly more distinctive. Where
# Zeiler and Fergus saw a fault in the filters, here you had to look at what a stride does. One run each: the interval covers the
# choice of test images, not of seeds.
#
# ## Check yourself
#
# **1.** The AlexNet paper gives the input as 224 × 224 and the first layer as 96 filters of 11 × 11 with stride 4, without
# padding. How large is the output?
#
# <details><summary>Answer</summary>
#
# $(224 - 11)/4 + 1 = 54.25$, which is no whole number: without padding this does not fit. With 227 × 227
# pixels it is $(227 - 11)/4 + 1 = 55$, the size that the paper's figure shows. (So does a padding of 2, rounded down.)
# </details>
#
# **2.** A colleague shows you filters of conv3 as grey slices, sees noise, and wants to train longer. What do you say?
#
# <details><summary>Answer</summary>
#
# Slices of deep layers are small (3 × 3), on a scale of their own, and in an arbitrary order: they look like noise to the
# eye in good networks as well. Measure instead: compare the smoothness with that of white noise of the same shape, and with
# an earlier checkpoint. And look at the first layer, where noise can be seen.
# </details>
#
# **3.** A unit is zero on all of your 100 test images. Is it dead? And why can a map of 4 × 4 positions be "local" without
# meaning anything?
#
# <details><summary>Answer</summary>
#
# Not yet: section 7 shows how the count falls with the number of images.
# You can only say that at most about 3 in 100 images activate it (95 % confidence: $0.97^{100} \approx 0.05$). A map with
# one active position of 16 has locality 1 wherever that position is, so compare with the shuffled map, which has it too.
# </details>
#
# ## Summary
#
# - A convolution layer sums one cross-correlation for each input channel; our first layer has 3 × 48 kernels, AlexNet's 288.
# - First-layer filters can be read because they look at pixels. Deeper weights cannot, but they can be measured.
# - "Noisy" is a number: how well a weight predicts its neighbour, 0 for white noise.
# - Every such number needs a null beside it: white noise, random splits, phase surrogates, shuffled maps, another stride.
# - Activations are read with two numbers, sparsity and locality; dead units need many images and a stream.
# - Looking finds design faults, but not always where you look first; an interval says whether mending them helped.
#
# **Claims tested here:** smooth filters when trained; noise from stopping early, from low regularisation, from a high learning
# rate; smooth second layer; two streams, by colour and by frequency; rotated copies; sparser and more local with training;
# dead units from high rates; aliasing, distinctiveness and accuracy with a smaller stride. The verdicts stand below the cells, and
# together in [lecture 00](00_start_here.ipynb).
#
# ## Further reading
#
# - A. Krizhevsky, I. Sutskever, G. Hinton, *ImageNet classification with deep convolutional neural networks*, NeurIPS 2012.
#   Figure 3 shows the first layer and its two streams.
# - M. Zeiler, R. Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014. Section 4.1 is the story of
#   section 8.
# - J. Yosinski, J. Clune, A. Nguyen, T. Fuchs, H. Lipson, *Understanding neural networks through deep visualization*, 2015.
#   Their toolbox shows live activations, as the explorer does.
# - Stanford CS231n, course notes: *Understanding and visualizing CNNs*, and *Neural networks 3: learning and evaluation*.
# - F. Chollet, *How convolutional neural networks see the world*, The Keras Blog, 2016.
# - D. Prichard, J. Theiler, *Generating surrogate data for time series with several simultaneously measured variables*, Physical
#   Review Letters 73, 1994.
