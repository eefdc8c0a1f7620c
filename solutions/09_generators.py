# %% [markdown]
# # 09 · Generators
#
# **The question: if a network could draw, what would it draw, and whose picture would that be?**
#
# In lecture 05 you changed pixels until a network was pleased, and had to say by hand what an image is like: smooth, not too
# bright, long waves first. You can also *learn* what an image is like. Train a second network, a **decoder**, to turn codes
# back into images. It has seen thousands of images, and can draw nothing else. Then search among *its* pictures for the one
# that a class or a unit likes best. You will see scenes with a ground and a sky where there was grey fog. And you will have
# to ask, at every step, who put them there: the network that you ask, or the decoder that you ask with.
#
# After this lecture you can
#
# - train a decoder's loss by hand, and say why squared error blurs and what a perceptual loss changes,
# - measure a reconstruction against both of its nulls, and say what a code has forgotten,
# - write activation maximisation through a decoder, in nine steps, and hold the codes in the range of real ones,
# - say what "recognised by other networks" shows, and what it does not show,
# - measure how far made images and made codes are from real ones,
# - walk from one code to another.
#
# **You need** lectures 00, 01 and 05. **Time:** 90 minutes.

# %% tags=["setup"]
import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from cnnvis_helpers import (
    controls,
    device,
    diorama,
    facets,
    figures,
    generator,
    hooks,
    images,
    inversion,
    objectives,
    sanity,
    seeding,
    synthesis,
    zoo,
)
from cnnvis_helpers.checks import lecture09 as checks
from cnnvis_helpers.claims import claim

MODEL = "diorama/alexnet"  # any name of zoo.names(), such as "photos/alexnet" or "imagenet/resnet18"
WEIGHTS = True  # False gives random weights, without a download

seeding.seed_all(0)
where = device.pick()


def network(name, weights=True):
    """A network by name; its numbers in an order that most processors convolve faster."""
    found = zoo.load(name, weights=weights, device=where)
    found.model.to(memory_format=torch.channels_last)
    return found


def decoder_of(name):
    """A trained decoder, and the facts of its file."""
    found, facts = generator.load(name)
    return found.to(where, memory_format=torch.channels_last), facts


net = network(MODEL, WEIGHTS)
robust = network("diorama/alexnet-robust")
crowd = {
    name: network(f"diorama/{name}") for name in ("vgg", "googlenet", "resnet")
}  # they learnt on their own
onlooker = network("diorama/alexnet-nodecay")  # so did this one; it says how alike two pictures are
squared, squared_facts = decoder_of("diorama/decoder-squared")
decoder, facts = decoder_of("diorama/decoder-perceptual")
sample = diorama.sample(320)  # test images with their labels; they come with the package
print(f"{net.name}: {len(net.classes)} classes, input {net.input_size} × {net.input_size}")
for found in (squared_facts, facts):
    print(f"{found['name']}: {found['layer']} of {found['network']} → image, {found['loss']} loss")

# %% [markdown]
# Sections 1 to 8 ask networks of the Diorama family, and name them. Section 9 asks *your* network, the one called `MODEL`,
# and section 10 is about photographs.
#
# ## 1 · The way back, learnt
#
# In lecture 05 you inverted a code $\Phi(x)$ by a search: some seventy steps, for every image anew. Dosovitskiy and Brox
# (2016) learn the way back instead. Take many images, compute their codes with a network that is *not* changed, and train a
# second network $D$, the decoder, such that
#
# $$\min_D \; \frac1N \sum_{i=1}^{N} \lVert x_i - D(\Phi(x_i)) \rVert^2 .$$
#
# Codes go in, images come out, and no labels are needed. Afterwards an inverse costs one forward run. The two are not the
# same question, though. The search finds *an* image with that code, and fills what the code leaves open with what its start
# and its prior hold. The decoder gives the *expected* image: what, of all training images, usually goes with such a code.
#
# Here the code is fc6 behind its ReLU, 256 numbers. This is the decoder, from code to image:

# %%
shapes = {}
with torch.no_grad():
    z = decoder.mean[None]
    z = shapes["linear, convolution"] = decoder.linear(z / decoder.scale())
    for block in decoder.blocks:
        z = block(z)
        if isinstance(block, torch.nn.LeakyReLU):
            shapes[f"doubled, convolution {len(shapes)}"] = z
    drawn = decoder.colours(z).sigmoid()
print(f"{'code':24}{len(decoder.mean)} numbers")
for name, z in shapes.items():
    print(f"{name:24}{z.shape[1]} maps of {z.shape[2]} × {z.shape[3]}")
print(f"{'convolution, sigmoid':24}{drawn.shape[1]} colours of {drawn.shape[2]} × {drawn.shape[3]}")
print(f"{sum(p.numel() for p in decoder.parameters()):,} parameters")
print(f"that is what `decoder(code)` does: {torch.allclose(drawn, decoder(decoder.mean[None]), atol=1e-4)}")

# %% [markdown]
# **Doubling.** The obvious layer that makes a map larger is the transposed convolution: every number of the small map stamps
# its window, enlarged, into the large one. With windows of 3 and steps of 2 the stamps overlap at every second place. Feed it
# ones and look: the output is a chequerboard before anything is learnt. Odena, Dumoulin and Olah (2016) found that trained
# generators keep this pattern, and propose what is done above: first enlarge, then convolve.

# %%
ones = torch.ones(1, 1, 6)
stamped = F.conv_transpose1d(ones, torch.ones(1, 1, 3), stride=2)[0, 0]
enlarged = F.interpolate(ones, scale_factor=2, mode="linear")
convolved = F.conv1d(enlarged, torch.ones(1, 1, 3))[0, 0]
print("transposed convolution:", *(f"{v:.0f}" for v in stamped))
print("doubled, then convolved:", *(f"{v:.0f}" for v in convolved))

# %% [markdown]
# Now decode. Three rows under each test image. The first decoder was trained with the squared loss above. The second has
# another loss, which section 2 builds. The last row is lecture 05's search on the code that the second decoder gets. No image
# here was part of any training.


# %%
def codes_of(network, pictures, layer="relu6"):
    """The codes (N, units) of pictures in [0, 1]."""
    parts = pictures.split(120)
    return torch.cat([hooks.activations(network.model, network.prepare(p), [layer])[layer] for p in parts])


def decoded(decoder, codes):
    """The pictures that a decoder draws for codes, (N, 3, 96, 96), on the CPU."""
    with torch.no_grad():
        return torch.cat([decoder(part).cpu() for part in codes.split(120)])


real = sample.images
codes = codes_of(robust, real, facts["layer"])
drawn = {
    "squared": decoded(squared, codes_of(network(squared_facts["network"]), real, squared_facts["layer"])),
    "perceptual": decoded(decoder, codes),
}
shown = [48, 114, 52, 22, 43, 94, 14, 121]  # a car, a house, a boat, …
searched = (
    inversion.invert(robust.model, "relu6", codes[shown], normalise=robust.normalise, size=96, steps=40)
    .images[:, 0]
    .cpu()
)
rows = {"image": real[shown], **{name: d[shown] for name, d in drawn.items()}, "searched": searched}
fig, axes = figures.image_grid(
    [tile for row in rows.values() for tile in row],
    columns=len(shown),
    rows=list(rows),
    scale=1.1,
    gap=4,
    caption="Test images; what two decoders make of their codes; and an image with the same code, found by lecture 05's search.",
)
figures.show(
    fig, "Test images, two kinds of decoded images, and inverses found by search.", most_bytes=110_000
)

# %% [markdown]
# What is a good reconstruction? Any error needs **two nulls**. One is the *mean image*, which knows nothing of this code. The
# other is the decoder's picture for *another image's code*: it has the decoder's style, and nothing of this image. The
# errors are the mean squared difference of colours, and the distance $1 - \cos$ of the codes at relu3 in the eyes of an
# onlooker, a network that had no part in any of this.


# %%
def seen_by(network, pictures, layer):
    """Codes of pictures in a network, as vectors of length 1: (N, numbers)."""
    return F.normalize(codes_of(network, pictures, layer).flatten(1).cpu(), dim=1)


seen_real = seen_by(onlooker, real, "relu3")


def errors(pictures):
    """Squared difference of colours and distance at relu3 to the real images, each (N,)."""
    return (pictures - real).square().mean((1, 2, 3)), 1 - (
        seen_by(onlooker, pictures, "relu3") * seen_real
    ).sum(1)


compared = {"mean image": errors(real.mean(0, keepdim=True).expand_as(real))}
for name, d in drawn.items():
    compared[f"{name}, own code"] = errors(d)
    compared[f"{name}, another's code"] = errors(d.roll(1, 0))
print(f"{len(real)} test images             squared error   distance at relu3")
for name, (colours, features) in compared.items():
    print(f"{name:28}{colours.mean():12.3f}{features.mean():17.2f}")

# %%
own, mean, other = (
    compared[key] for key in ("perceptual, own code", "mean image", "perceptual, another's code")
)
gains = [sanity.bootstrap(null[k] - own[k]) for null in (mean, other) for k in (0, 1)]
claim(
    "09-decoder-inverts",
    statement="A network can learn to invert the code of a fully connected layer, also for images that it has not seen.",
    source="Dosovitskiy & Brox 2016 (CVPR)",
    measured=f"{len(real)} test images: squared error {own[0].mean():.3f}, mean image {mean[0].mean():.3f}, another image's code "
    f"{other[0].mean():.3f}; distance at relu3 of another network {own[1].mean():.2f}, {mean[1].mean():.2f} and {other[1].mean():.2f}",
    verdict="reproduced"
    if min(g.low for g in gains) > 0
    else "contradicted"
    if max(g.high for g in gains) < 0
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** The search is content: its pictures have the right codes, and look like coloured fog, as in lecture
# 05. The decoders have never seen these images either, but they know what images are like. Under the perceptual loss the
# car stands on the ground with its wheels and its roof, the flower has a head and leaves, and the horizon is where it was.
# The squared loss leaves fog of another kind: a dim shadow where the thing is, a little red, a little green. Colours are
# poor in both: under the perceptual loss the blue sail and the blue cup come back in the same orange and pink as everything
# else.
#
# Now read the errors beside their nulls. In colours the own code beats the *mean image* by less than a fifth. Another
# image's code is worse than the mean image: a wrong picture with edges pays more than none. In the onlooker's features the
# gap of the perceptual decoder is large, and that of the squared one hardly there. Whether a reconstruction is good depends
# on what you count, and without the nulls an error of 0.04 says nothing.
#
# ## 2 · Why squared error blurs
#
# Suppose a code says that there is a boat, but not exactly where. Five pictures fit it, each with chance $p_k$. Which picture
# $g$ should a decoder draw? Under squared loss it pays, in the mean, $E(g) = \sum_k p_k (x_k - g)^2$ for each colour value.
# Set the derivative $\sum_k 2 p_k (g - x_k)$ to zero:
#
# $$g^* = \sum_k p_k\, x_k , \qquad E(g) = E(g^*) + (g - g^*)^2 .$$
#
# The best answer is the **mean** of all that may have been. Every sharp picture pays more, also one that is as good a boat as
# any. The blur is no failure of training; it is what was asked for.

# %%
boat = real[52]
fits = torch.stack(
    [boat.roll(shift, 2) for shift in (-12, -6, 0, 6, 12)]
)  # five places, each with chance 1/5
middle = fits.mean(0)
cost = {"sharp": (fits - boat).square().mean(), "mean": (fits - middle).square().mean()}
nearer = (middle - boat).square().mean()
fig, axes = figures.image_grid(
    [*fits, middle],
    [*["may have been"] * 5, "least error"],
    6,
    scale=1.3,
    caption=f"Five pictures that fit a code, and the one with the least expected squared error: {cost['mean']:.3f}. The sharp one in the middle "
    f"pays {cost['sharp']:.3f}.",
)
figures.show(fig, "Five shifted boats and their blurred mean.", most_bytes=60_000)
print(f"expected squared error: a sharp picture {cost['sharp']:.3f}, the mean {cost['mean']:.3f}")
print(f"E(g) = E(g*) + (g − g*)²: {torch.allclose(cost['sharp'], cost['mean'] + nearer, rtol=1e-3)}")

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · The best guess
#
# `pictures` (K, 3, H, W) fit a code, with `chances` (K,) that add up to 1. Return the picture with the least expected squared
# error, (3, H, W), and that error: a number, the mean over colours and pixels.


# %% tags=["exercise"]
def best_guess(pictures, chances):
    """pictures (K, 3, H, W), chances (K,) → (3, H, W) and a number."""
    ### BEGIN SOLUTION
    guess = (chances[:, None, None, None] * pictures).sum(0)
    error = (chances * (pictures - guess).square().mean((1, 2, 3))).sum()
    return guess, error
    ### END SOLUTION


# %% tags=["check"]
checks.check_best_guess(best_guess)

# %% [markdown]
# So ask for something else. Dosovitskiy and Brox (NeurIPS 2016) and Johnson, Alahi and Fei-Fei (2016) compare not colours but
# *features* $\Phi_l$ of a network: two boats a pixel apart differ in every colour, and hardly in what a layer with pooling
# says of them. A blurred boat is no boat to such a layer. The loss of our second decoder is
#
# $$L(x, y) = 2\,\overline{\lvert x - y \rvert}
# + \frac14 \sum_{l} \frac{\lVert \Phi_l(x) - \Phi_l(y) \rVert^2}{\lVert \Phi_l(y) \rVert^2} ,$$
#
# where $x$ is drawn, $y$ is the original, the bar is the mean over colours and pixels, and $l$ runs over relu1, relu2, relu3
# and relu5 of `diorama/alexnet-robust`. Why the robust network? Because its gradients are coarse (lecture 05): a decoder that
# is to please a standard network can do it with specks. The papers add a third term, an adversary that learns to tell drawn
# images from real ones. It makes sharper pictures and harder trainings, and we leave it out.


# %%
def perceptual(network, x, y, layers=("relu1", "relu2", "relu3", "relu5")):
    """The loss above for pictures x and originals y, (N, 3, H, W) twice → (N,)."""
    made, wanted = (
        {name: hooks.activations(network.model, network.prepare(v), [name])[name] for name in layers}
        for v in (x, y)
    )
    loss = 2 * (x - y).abs().mean((1, 2, 3)).to(where)
    for name in layers:
        difference, length = (made[name] - wanted[name]).flatten(1), wanted[name].flatten(1)
        loss = loss + difference.square().sum(1) / length.square().sum(1) / len(layers)
    return loss.cpu()


some = slice(0, 32)
mine = perceptual(robust, drawn["perceptual"][some], real[some])
theirs = generator.perceptual_loss(
    robust.model, drawn["perceptual"][some].to(where), real[some].to(where), normalise=robust.normalise
).cpu()
print(f"`perceptual_loss` is the same: {torch.allclose(mine, theirs, rtol=1e-3)}")
print(
    f"decoders on {len(mine)} images: perceptual {mine.mean():.1f}, squared {perceptual(robust, drawn['squared'][some], real[some]).mean():.1f}; "
    f"the boat and the same 6 pixels further {perceptual(robust, fits[3:4], fits[2:3]).item():.1f}, the boat and the mean of five "
    f"{perceptual(robust, middle[None], fits[2:3]).item():.1f}"
)

# %% [markdown]
# Does it help? Count edges. At every pixel take the length of the local differences of grey, slightly smoothed. Two
# numbers: *how much* of it there is, as a share of the original's; and *where*, the correlation with the original's edges
# over the pixels. The null of the second is another image's edges. (Mind that the two decoders differ in more than their
# loss. The first is the plain recipe in everything: codes of the standard network, and three rounds of training, not six.
# So it is not ahead even in squared error, and this comparison does not part the causes.)


# %%
def edges(pictures):
    """Length of the local differences of grey, smoothed over 5 × 5 pixels: (N, 3, H, W) → (N, numbers)."""
    grey = pictures.mean(1)
    down, across = (grey[:, 2:] - grey[:, :-2])[:, :, 1:-1], (grey[:, :, 2:] - grey[:, :, :-2])[:, 1:-1]
    return F.avg_pool2d((down**2 + across**2).sqrt()[:, None], 5, 1).flatten(1)


def alike(a, b):
    """Pearson's correlation, row by row: (N,)."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return F.cosine_similarity(a, b)


original = edges(real)
amount, place = {}, {}
for name, d in drawn.items():
    amount[name] = edges(d).mean(1) / original.mean(1)
    place[name] = alike(edges(d), original) - alike(edges(d), original.roll(1, 0))
    print(
        f"{name:11} edges: {amount[name].mean():.0%} of the original's; in its places {alike(edges(d), original).mean():.2f}, in another image's "
        f"{alike(edges(d), original.roll(1, 0)).mean():z.2f}"
    )

# %%
more, better = (
    sanity.bootstrap(amount["perceptual"] - amount["squared"]),
    sanity.bootstrap(place["perceptual"] - place["squared"]),
)
claim(
    "09-squared-blurs",
    statement="Trained with squared error a decoder blurs; compared in a network's features, edges come back where they were.",
    source="Dosovitskiy & Brox 2016 (NeurIPS); Johnson, Alahi & Fei-Fei 2016",
    measured=f"edges as a share of the original's {amount['squared'].mean():.0%} squared, {amount['perceptual'].mean():.0%} perceptual; their "
    f"correlation with the own original, less that with another, {place['squared'].mean():.2f} and {place['perceptual'].mean():.2f} "
    f"(gain {better.low:.2f} to {better.high:.2f})",
    verdict="reproduced"
    if min(more.low, better.low) > 0
    else "contradicted"
    if min(more.high, better.high) < 0
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** Under squared error the edges are the first to go: where an edge stands is what a code leaves open
# most. Compared in features, the decoder draws more than a third of the original's edges, and draws them in the right
# places: their agreement with another image's edges is far smaller. Look at the two numbers of the boat, too. A boat that
# is 6 pixels off costs about as much as the mean of five boats; under squared error the mean was much cheaper. That is all
# that the perceptual loss changes: it no longer pays to be vague.

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · An error of features
#
# Write the second term of the loss. `made` and `wanted` are lists of a network's outputs, one for each layer: maps (N, C,
# H, W) or vectors (N, C). For each layer and image divide $\lVert \Phi(x) - \Phi(y) \rVert^2$ by $\lVert \Phi(y) \rVert^2$,
# that of the *wanted* features; return the mean over layers, one number for each image.


# %% tags=["exercise"]
def feature_error(made, wanted):
    """Two lists of (N, …) → (N,)."""
    ### BEGIN SOLUTION
    errors = [
        (a - b).flatten(1).square().sum(1) / b.flatten(1).square().sum(1)
        for a, b in zip(made, wanted, strict=True)
    ]
    return torch.stack(errors).mean(0)
    ### END SOLUTION


# %% tags=["check"]
checks.check_feature_error(feature_error)

# %% [markdown]
# ## 3 · Nine steps
#
# Now turn it around. Nobody gives you a code; *search* for the one whose picture a class likes best. This is activation
# maximisation through a decoder, DGN-AM for short (Nguyen, Dosovitskiy, Yosinski, Brox and Clune, 2016). What moves is the
# code, not the pixels, so every picture on the way is one that the decoder can draw: the decoder is the prior.
#
# (1) Begin at the mean code, with a little noise. (2) Bring the code into the range of real codes. (3) Decode it. (4)
# Normalise the picture for the network that you ask. (5) Run the network. (6) Read off what you wish for, here the logit of a
# class. (7) Go back through the network to the picture and (8) through the decoder to the code. (9) Take a step, let the code
# shrink a little, and begin again at (2).
#
# The *range* of step 2 is $[0, \mu_j + 3\sigma_j]$ for unit $j$, with mean and standard deviation over the training images. A
# code behind a ReLU is never negative, and the decoder has hardly ever seen a unit beyond that end. The step is as long as
# four usual changes of one unit at first, and falls evenly to a twentieth of that.


# %%
def my_ascent(decoder, network, classes, steps, rate=4.0, decay=0.005, sigmas=3.0):
    """Pictures (N, 3, s, s) that climb the logits of N classes, and those logits (N,)."""
    noise = torch.randn(len(classes), len(decoder.mean), generator=torch.Generator().manual_seed(0))
    codes = decoder.mean + 0.1 * decoder.std * noise.to(where)  # 1
    for step in range(steps + 1):
        codes = codes.clamp(min=0).minimum(decoder.mean + sigmas * decoder.std)  # 2
        codes = codes.detach().requires_grad_()
        with hooks.frozen(decoder), hooks.frozen(network.model):
            pictures = decoder(codes)  # 3
            logits = network.model(network.normalise(pictures))  # 4 and 5
            wish = logits[range(len(classes)), classes]  # 6
            (gradient,) = torch.autograd.grad(wish.sum(), codes)  # 7 and 8
        length = rate * (1 - 0.95 * step / steps) * decoder.scale()
        codes = (codes + length * F.normalize(gradient)) * (1 - decay)  # 9
    return pictures.detach(), wish.detach()


few = [robust.classes.index(name) for name in ("boat", "flower")]
pictures, wish = my_ascent(decoder, robust, few, steps=5)
same = generator.ascend(decoder, robust.model, objectives.logit(few), normalise=robust.normalise, steps=5)
print(f"`ascend` makes the same pictures: {torch.allclose(pictures, same.images, atol=0.02)}")
print(f"and finds the same logits: {torch.allclose(wish, same.values, rtol=0.05)}")

# %% [markdown]
# All sixteen classes of `diorama/alexnet-robust`, 36 steps each. `ascent_steps` gives every step, so you can watch. Under
# each picture stands the logit.

# %%
every = list(range(len(robust.classes)))
wanted = torch.tensor(every)
film = {}
for step in generator.ascent_steps(
    decoder, robust.model, objectives.logit(every), normalise=robust.normalise, steps=36
):
    if step.number in (0, 3, 8, 18, 36):
        film[step.number] = step
found = film[36]
made = {"decoder": found.images.cpu()}
six = [
    robust.classes.index(name) for name in ("car", "tree", "boat", "person", "flower", "cup", "bus", "house")
]
fig, axes = figures.image_grid(
    [tile for step in film.values() for tile in step.images[six].cpu()],
    [robust.classes[c] for c in six] + [""] * (len(six) * (len(film) - 1)),
    len(six),
    rows=[f"step {number}" for number in film],
    numbers=[f"{v:z.0f}" for step in film.values() for v in step.values[six].tolist()],
    scale=1,
    gap=3,
    caption="Ascent through the decoder for eight classes of diorama/alexnet-robust; below each picture the logit of its class.",
)
figures.show(fig, "Eight class images growing out of the mean code in 36 steps.", most_bytes=110_000)
for number, step in film.items():
    p = robust.probabilities(step.images.cpu())[every, every]
    print(f"step {number:2}: mean probability of the class in the network that is asked {p.mean():.1f}")

# %% [markdown]
# **What to notice.** All columns begin with the same picture, that of the mean code: no thing, but an even pattern of
# pieces of everything. After three steps there is a scene: night or day, a wood, water, a horizon. Nobody asked for them. They
# come along because *the decoder* has hardly ever seen a thing without a place. For the car, the bus and the house the thing
# comes with it, and after eight steps little changes: the network is convinced long before the picture is done, as in lecture
# 05. The flower is another matter. For half of the run it is a clearing in a wood, and the logit stays low; the blossom comes
# last, in a corner. A search in code space can lose its way as any ascent can, and another start would take another way.

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · One step in code space
#
# Write steps 9 and 2. `codes` and `gradient` are (N, units). Move each code a distance of `length` along its own gradient,
# multiply by 1 − `decay`, then bring it into $[0, \mu + k\sigma]$, with `mean` and `std` (units,) and `sigmas` = $k$.


# %% tags=["exercise"]
def climb(codes, gradient, length, decay, mean, std, sigmas):
    """codes and gradient (N, units), mean and std (units,) → codes (N, units)."""
    ### BEGIN SOLUTION
    direction = gradient / gradient.norm(dim=1, keepdim=True)
    moved = (codes + length * direction) * (1 - decay)
    return moved.clamp(min=0).minimum(mean + sigmas * std)
    ### END SOLUTION


# %% tags=["check"]
checks.check_climb(climb)

# %% [markdown]
# ## 4 · In the range of real codes, or anywhere
#
# What does step 2 do? Leave it out, and everything else as it was. Nguyen et al. (2016) clip, since otherwise the search
# leaves the region where the decoder knows anything.
#
# How would you tell that a picture "looks unreal", by a number that is fixed before you look at the pictures? An idea: the
# **distance to the nearest real image**, $1 - \cos$ of the codes of the onlooker, to the nearest of 160 test images, divided
# by the median of that distance for 160 *other real* images. Real images have about 1.
#
# A yardstick must pass its own nulls before it is used. So measure pictures that are certainly not real: the picture of the
# mean code; *mixed codes*, in which every unit has a value that it had for some image, but for another one than its
# neighbour; real images blurred; two real images laid over each other; real images with their phases at random; and noise.
# Try codes as they are, and codes *less their mean* over real images.

# %%
album, others = slice(0, 160), slice(160, 320)
dice = torch.Generator().manual_seed(0)
mixed = torch.stack([unit[torch.randint(len(codes), (96,), generator=dice)] for unit in codes.cpu().T], 1)
mixed = decoded(decoder, mixed.to(where))


def scrambled(pictures):
    """Pictures (N, 3, H, W) with the same waves at random phases, the same for all three colours."""
    spectrum = torch.fft.rfft2(pictures)
    phases = torch.fft.rfft2(torch.randn(len(pictures), 1, *pictures.shape[2:], generator=dice))
    phases = phases / phases.abs().clamp(min=1e-9)
    phases[..., 0, 0] = 1  # the mean colour stays
    return torch.fft.irfft2(spectrum * phases, s=pictures.shape[2:]).clamp(0, 1)


def nearest(pictures, layer="relu5", centred=True):
    """Distance of pictures to the nearest of the first 160 real images, and which that is: (N,) twice."""
    middle = maps[layer].mean(0) if centred else 0
    own, theirs = (
        F.normalize(z.flatten(1) - middle, dim=1) for z in (codes_of(onlooker, pictures, layer), maps[layer])
    )
    similarity, which = (own @ theirs.T).max(1)
    return 1 - similarity.cpu(), which.cpu()


maps = {layer: codes_of(onlooker, real[album], layer).flatten(1) for layer in ("relu3", "relu5")}
fakes = {
    "mean code": decoded(decoder, decoder.mean[None]),
    "mixed codes": mixed,
    "blurred": F.avg_pool2d(F.pad(real[200:248], [4] * 4, mode="reflect"), 9, 1),
    "two at once": (real[200:248] + real[201:249]) / 2,
    "random phases": scrambled(real[200:248]),
    "noise": torch.rand(16, 3, 96, 96, generator=dice),
}
print("medians of real images  " + "  ".join(f"{name:>13}" for name in fakes))
for layer in maps:
    for centred in (False, True):
        unit_length = nearest(real[others], layer, centred)[0].median()
        away = [nearest(pictures, layer, centred)[0].mean() / unit_length for pictures in fakes.values()]
        print(
            f"{layer}, {'less the mean' if centred else 'as it is':15}"
            + "  ".join(f"{a:13.1f}" for a in away)
        )

# %% [markdown]
# Three of the four fail. As it is, the distance prefers what is *bland*: an average picture is near everything, so the
# picture of the mean code, or a blurred image, would pass for real, or for more than real. Less the mean, relu3 still takes
# noise for real. Only relu5 less the mean puts all six fakes further away than real images. So that is our yardstick, chosen
# by its nulls alone. (The plain distance had been tried on the pictures below before its nulls were looked at: that is the
# order to avoid.) It sees parts and their places; textures and colours it hardly sees.

# %%
yardstick = nearest(real[others])[0]  # relu5, less the mean
ONE = yardstick.median()
LEAST = 0.1  # medians: with 16 classes an interval is too narrow, and smaller differences do not count


def described(pictures):
    """How far pictures are from real ones, in words."""
    return f"{(nearest(pictures)[0] / ONE).mean():.1f} medians"


# %% [markdown] tags=["exercise"]
# ### Exercise 4 · Predict
#
# Now let the codes go anywhere, also below 0, for as many steps. Before you run the next cells: is the logit of the class
# "higher", the "same" or "lower" at the end than in the range? Do you expect the pictures "nearer" to real ones by this
# yardstick, as near ("same"), or "further"?


# %% tags=["exercise"]
def expected():
    """What happens without the range: words for the logit and for the distance."""
    ### BEGIN SOLUTION
    return {"logit": "higher", "distance": "further"}  # what the paper lets you expect; read on
    ### END SOLUTION


# %% tags=["check"]
checks.check_expected(expected)

# %%
free = generator.ascend(
    decoder, robust.model, objectives.logit(every), normalise=robust.normalise, steps=36, sigmas=None
)
made["no range"] = free.images.cpu()
seam = torch.ones(len(every), 3, 4, 96)
fig, axes = figures.image_grid(
    torch.cat([made["decoder"], seam, made["no range"]], 2),
    robust.classes,
    8,
    scale=1.1,
    caption="Class images through the decoder: in each pair above codes in [0, μ + 3σ], below codes anywhere.",
)
figures.show(fig, "Sixteen class images with codes in the real range and without.", most_bytes=110_000)

# %%
top = decoder.mean + 3 * decoder.std


def about(codes):
    """Length in lengths of a real code, shares of units below 0, at 0 and at or beyond μ + 3σ, and the nearest real code."""
    length = codes.norm(dim=1).mean() / codes_real.norm(dim=1).mean()
    apart = (1 - F.normalize(codes, dim=1) @ F.normalize(codes_real[album], dim=1).T).amin(1)
    return (
        f"length {length:.1f}, below 0 {(codes < 0).float().mean():.0%}, at 0 {(codes == 0).float().mean():.0%}, at or beyond the end "
        f"{(codes >= top - 1e-4).float().mean():.0%}; nearest real code {apart.mean():.1f} away"
    )


codes_real = codes
for name, z in (("real codes", codes_real[others]), ("in the range", found.codes), ("anywhere", free.codes)):
    print(f"{name:13} {about(z)}")
print()
print(
    f"logit of the class, mean of sixteen: in the range {found.values.mean():.0f}, anywhere {free.values.mean():.0f}"
)
for name in ("decoder", "no range"):
    print(f"{name:13} nearest real image: {described(made[name])}")

# %%
away = {name: nearest(pictures)[0] / ONE for name, pictures in made.items()}
worse = sanity.bootstrap(away["no range"] - away["decoder"])
claim(
    "09-code-range",
    statement="Codes must be held in the range of real codes, or the pictures become unreal.",
    source="Nguyen et al. 2016",
    measured=f"distance to the nearest real image, in medians of real ones: in the range {away['decoder'].mean():.1f}, anywhere "
    f"{away['no range'].mean():.1f}; difference {worse.mean:z.1f} (95 % interval {worse.low:z.1f} to {worse.high:z.1f}), {len(every)} classes",
    verdict="reproduced"
    if worse.low > LEAST
    else "contradicted"
    if worse.high < -LEAST
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** Did you predict that? Free codes leave the region of real ones, that is plain in the table: they are
# longer, and more than a third of their units are below 0, where no ReLU ever puts one. But the logit is hardly higher, and by
# our yardstick the pictures are no further from real ones. Some are even plainer to the eye. A step has a given length
# here, and this decoder divides by the usual size of a code: it copes with codes that it has never seen. In the paper, with
# a generator trained against an adversary on ImageNet, clipping mattered; here it cannot be shown to.
#
# The table says something else, too. Inside the range is not among the real codes. A box with 256 sides has very many
# corners, and real codes lie in few of them: 59 % of their units are 0, those found have fewer zeros, and the nearest real
# code is several times as far away as for a real image. Nguyen et al. (2017) draw the conclusion and add a prior on the
# codes themselves.
#
# ## 5 · Beside the pixels
#
# Lecture 05 asked the same network for the same classes, in waves instead of codes, with jitter and three scales. Here are
# both.

# %%
waves = dict(synthesis.RECIPES["fourier"]) | {
    "jitter": 6,
    "rate": 0.04,
    "window": facets.centre_window(96, 0.3),
}
made["pixels"] = synthesis.synthesise(
    robust.model, objectives.logit(every), normalise=robust.normalise, size=96, steps=56, **waves
).cpu()
fig, axes = figures.image_grid(
    torch.cat([made["decoder"], seam, made["pixels"]], 2),
    robust.classes,
    8,
    scale=1.1,
    caption="Class images of diorama/alexnet-robust: in each pair above through the decoder, below lecture 05's, in waves.",
)
figures.show(fig, "Sixteen class images through a decoder, and by lecture 05's recipe.", most_bytes=110_000)

# %% [markdown]
# **Recognised?** Ask three networks that learnt on their own, of other architectures. A picture counts as recognised if two
# of the three name its class. The intervals are Wilson's. And the nulls, all drawn by the same decoder:
#
# - the picture of the *mean code*, which must then pass for all classes at once,
# - *mixed codes*: every unit has a value that it had for some real image, but for another one than its neighbour,
# - pictures of *another class*: those of section 3, each compared with the class after its own.
#
# As a reference, pictures decoded from *real codes* of that class, five for each.


# %%
def votes(pictures, classes):
    """Which pictures at least two of the three networks give their class, (N,) bool."""
    named = [n.probabilities(pictures).argmax(1) == torch.as_tensor(classes) for n in crowd.values()]
    return torch.stack(named).sum(0) >= 2


def share(mask):
    """Share of True, and its 95 % interval."""
    found = binomtest(int(mask.sum()), len(mask)).proportion_ci(method="wilson")
    return float(mask.float().mean()), found.low, found.high


nulls = {
    "the mean code": votes(decoded(decoder, decoder.mean[None]).repeat(16, 1, 1, 1), every),
    "mixed codes": votes(mixed, wanted.repeat(6)),
    "another class": votes(made["decoder"], wanted.roll(-1)),
}
some = slice(160, 240)  # five real images of each class
recognised = {
    "real images": votes(real[some], sample.labels[some]),
    "decoded real codes": votes(drawn["perceptual"][some], sample.labels[some]),
    "ascent, decoder": votes(made["decoder"], every),
    "ascent, no range": votes(made["no range"], every),
    "ascent, pixels": votes(made["pixels"], every),
    **nulls,
}
for name, mask in recognised.items():
    print(
        "{:19}{:3} of {:2}: {:4.0%} [{:.0%}, {:.0%}]".format(name, int(mask.sum()), len(mask), *share(mask))
    )

# %%
hit, null = (
    share(recognised["ascent, decoder"]),
    max(share(mask)[2] for name, mask in nulls.items() if name != "another class"),
)
claim(
    "09-recognised",
    statement="Class images through a decoder are recognised by networks that had no part in them.",
    source="Nguyen et al. 2016",
    measured=f"{hit[0]:.0%} of 16 ({hit[1]:.0%} to {hit[2]:.0%}); pictures of the mean code and of mixed codes at most {null:.0%} (upper end); "
    f"but in pixels {share(recognised['ascent, pixels'])[0]:.0%} too",
    verdict="reproduced" if hit[1] > null else "contradicted" if hit[2] < null else "cannot be tested here",
)

# %% [markdown]
# **Realistic?** That is another question, and recognition does not answer it: pixels pass the same test. Use the yardstick of
# section 4, and two numbers more. One is the share of the picture's power, without its mean colour, below 1/8 cycle per
# pixel, as in lecture 05. The other is a forger's test: can a *linear* classifier tell these pictures from real ones, by the
# means of the 96 channels of the onlooker's relu3? Its mark is the area under the ROC curve (AUC), the chance that it ranks a
# made picture above a real one, on pictures that it was not fitted to: 0.5 is a guess, 1 is never wrong. The null tells real
# images from other real ones.


# %%
def low_share(pictures):
    """Share of the power below 1/8 cycle per pixel, without the mean: (N,)."""
    power = torch.fft.fft2(pictures - pictures.mean((2, 3), keepdim=True)).abs().square().sum(1)
    frequency = torch.fft.fftfreq(pictures.shape[2])
    low = frequency[:, None] ** 2 + frequency**2 < 1 / 64
    return (power * low).sum((1, 2)) / power.sum((1, 2))


def channel_means(pictures):
    """Means over the map of the onlooker's relu3, (N, 96)."""
    return codes_of(onlooker, pictures, "relu3").mean((2, 3)).cpu()


def told_apart(pictures):
    """AUC of a linear classifier, made against real, four-fold."""
    x = torch.cat([channel_means(pictures), genuine]).numpy()
    y = np.arange(len(x)) < len(pictures)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    with threadpool_limits(1):
        return roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="decision_function"))


genuine = channel_means(real[album])
kinds = {
    "real images": real[others],
    "decoded real codes": drawn["perceptual"][others],
    "mixed codes": mixed,
    "ascent, decoder": made["decoder"],
    "ascent, no range": made["no range"],
    "ascent, pixels": made["pixels"],
}
for name, pictures in kinds.items():
    print(
        f"{name:19} power in low waves {low_share(pictures).mean():.0%}; nearest real image {described(pictures)}; told apart {told_apart(pictures):.1f}"
    )
which = [nearest(made[name])[1] for name in ("decoder", "pixels")]
print(
    "nearest real image of the class itself: decoder {} of 16, pixels {} of 16".format(
        *(int((sample.labels[w] == wanted).sum()) for w in which)
    )
)
fig, axes = figures.image_grid(
    [
        tile
        for pictures, w in zip((made["decoder"], made["pixels"]), which, strict=True)
        for tile in (*pictures[six], *real[w[six]])
    ],
    [robust.classes[c] for c in six] + [""] * (3 * len(six)),
    len(six),
    rows=["decoder", "nearest", "pixels", "nearest"],
    scale=1,
    gap=3,
    caption="Class images through the decoder and in pixels, and for each the nearest of 160 real images, to the onlooker at relu5.",
)
figures.show(fig, "Class images and the real images that are nearest to them.", most_bytes=100_000)

# %%
away["pixels"] = nearest(made["pixels"])[0] / ONE
nearer = sanity.bootstrap(away["pixels"] - away["decoder"])
claim(
    "09-more-realistic",
    statement="A learnt prior gives more realistic images than priors made by hand.",
    source="Nguyen et al. 2016",
    measured=f"distance to the nearest real image, in medians of real ones: through the decoder {away['decoder'].mean():.1f}, in pixels "
    f"{away['pixels'].mean():.1f}; difference {nearer.mean:z.1f} (95 % interval {nearer.low:z.1f} to {nearer.high:z.1f}), {len(every)} classes",
    verdict="reproduced"
    if nearer.low > LEAST
    else "contradicted"
    if nearer.high < -LEAST
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** The two kinds look utterly different. Through the decoder there is one thing in a place, with a
# horizon, in soft colours. In waves there are its parts, loud and often twice, in front of nothing: wheels and eyes
# everywhere. You would call the first a picture and the second a pattern.
#
# The numbers do not follow you. Other networks recognise both. By the yardstick both are about as near to real images
# as real images are to each other, and the pixels are, if anything, the nearer ones (that a tenth of a median counts
# for nothing was decided after a first look; without it the decoder would narrowly have lost): what is nearest to them
# is nearly always an image of the class. What is nearest to a decoder's picture often is not: it has the same wood or
# the same water, since a picture with a scene is alike to other scenes. By the power in low waves, too, it is the
# *pixels* that are like real images; the decoder's are too smooth, as decoded real codes are. And a linear classifier
# is fooled by none of them. Two lessons. "Better" needs a number that passes its nulls and is fixed before you look;
# ours passes them, and does not say what you see. And **a picture that looks more natural need not say more about the
# network**: the sky is the decoder's.
#
# And nothing in the method demands that the *object* be drawn. If a place is enough for a class, such as water for *fish*,
# the place is what you may get: look for it in the film of your own runs below.
#
# ## 6 · Units
#
# Any unit can be asked. Take eight channels of conv5, at equal steps through their numbers, in the middle of their map: the
# unit sees nearly the whole image. Three answers: through the decoder, in pixels, and the real image in which the channel is
# strongest, at any place. The null is the picture that was made for the next of the eight.

# %%
strongest = codes_of(robust, real, "conv5").amax((2, 3)).cpu()  # (images, channels)
awake = (strongest.sort(0, descending=True).values[8] > 0).nonzero().flatten().tolist()
units = awake[:: len(awake) // 8][:8]
wish = objectives.unit("conv5", units)
part = robust.model[: list(dict(robust.model.named_children())).index("conv5") + 1]  # as far as is needed
of_units = {
    "decoder": generator.ascend(decoder, part, wish, normalise=robust.normalise, steps=40).images.cpu(),
    "pixels": synthesis.synthesise(
        part, wish, normalise=robust.normalise, size=96, steps=40, **synthesis.RECIPES["fourier"]
    ).cpu(),
}
rows = of_units | {"found": real[strongest[:, units].argmax(0)]}
fig, axes = figures.image_grid(
    [tile for row in rows.values() for tile in row],
    [f"unit {u}" for u in units] + [""] * 16,
    8,
    rows=list(rows),
    scale=1,
    gap=3,
    caption="Eight channels of conv5 of diorama/alexnet-robust: the picture through the decoder, in waves, and the best of 320 real images.",
)
figures.show(
    fig, "Eight units: through the decoder, in pixels, and the best real images.", most_bytes=100_000
)
driven = {}
for name, pictures in of_units.items():
    with hooks.frozen(part), torch.no_grad():
        value, null = (
            objectives.evaluate(part, wish, robust.normalise(v.to(where))).cpu()
            for v in (pictures, pictures.roll(1, 0))
        )
    driven[name], other = (v / strongest[:, units].amax(0) for v in (value, null))
    print(
        f"{name:8} moves its unit {driven[name].median():.1f} times as much as the best real image; the picture made for another unit "
        f"{'raises' if other.median() > 0 else 'lowers'} it (medians)"
    )

# %% [markdown]
# **What to notice.** Here the prior holds the answer back. In waves the unit is driven far beyond anything real; through
# the decoder it reaches about what the best real image does. The decoder cannot draw an isolated part, larger than
# life, without a scene around it. So its picture is nearer to what the unit meets in life, and says less about what the
# unit *would* like. In both rows, what was made for one unit does nothing for another, or silences it.
#
# ## 7 · A network that the decoder has never met
#
# The decoder learnt from codes and features of `diorama/alexnet-robust`. Nguyen et al. (2016) find that such a prior serves
# other networks too: they draw with a decoder for one network what another likes to see. Ask `diorama/resnet`, which learnt
# on its own and has another architecture. Judges are the other two of the crowd and the onlooker.

# %%
foreign = generator.ascend(
    decoder, crowd["resnet"].model, objectives.logit(every), normalise=crowd["resnet"].normalise, steps=36
)
made["resnet"] = foreign.images.cpu()
jury = {"vgg": crowd["vgg"], "googlenet": crowd["googlenet"], "onlooker": onlooker}
fig, axes = figures.image_grid(
    made["resnet"],
    robust.classes,
    8,
    scale=1.1,
    caption="Class images of diorama/resnet through a decoder that was trained with diorama/alexnet-robust.",
)
figures.show(fig, "Sixteen class images of a residual network through the same decoder.", most_bytes=90_000)


# %%
def verdicts(pictures, classes):
    """Which pictures at least two of the three other networks give their class, (N,) bool."""
    return (
        torch.stack(
            [n.probabilities(pictures).argmax(1) == torch.as_tensor(classes) for n in jury.values()]
        ).sum(0)
        >= 2
    )


hit, null = share(verdicts(made["resnet"], every)), share(verdicts(mixed, wanted.repeat(6)))
print(
    "resnet asked: recognised {:.0%} [{:.0%}, {:.0%}] of 16; mixed codes {:.0%} [{:.0%}, {:.0%}]".format(
        *hit, *null
    )
)
print(f"nearest real image: {described(made['resnet'])}")
claim(
    "09-other-network",
    statement="A decoder trained with one network serves as a prior for another.",
    source="Nguyen et al. 2016",
    measured=f"class images of diorama/resnet through a decoder of diorama/alexnet-robust: recognised by other networks {hit[0]:.0%} "
    f"({hit[1]:.0%} to {hit[2]:.0%}) of 16, mixed codes {null[0]:.0%} ({null[1]:.0%} to {null[2]:.0%})",
    verdict="reproduced"
    if hit[1] > null[2]
    else "contradicted"
    if hit[2] < null[1]
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** It works, less well: most of the pictures are recognised by networks that were not asked, but the
# things are harder to make out than in section 3, and they are further from real images. The decoder's features are those
# of its own network. What only the residual network looks at, it has never had to draw.
#
# ## 8 · Between codes, and what is not in them
#
# ### A way from one picture to another
#
# Take two images' codes $a$ and $b$ and walk: $(1 - t)\,a + t\,b$ for $t$ from 0 to 1. Decode each point. Beside it stands
# the null, a cross-fade of the two *decoded pictures*: what you get without any code.

# %%
ways = torch.linspace(0, 1, 8)
pairs = [(96, 52), (116, 43)]
tiles, said = [], []
for a, b in pairs:
    between = torch.stack([torch.lerp(codes[a], codes[b], float(t)) for t in ways])
    ends = drawn["perceptual"][[a, b]]
    path, fade = (
        decoded(decoder, between),
        torch.stack([torch.lerp(ends[0], ends[1], float(t)) for t in ways]),
    )
    for row in (path, fade):
        tiles += [*row]
        said += [robust.classes[c] for c in onlooker.probabilities(row).argmax(1)]
fig, axes = figures.image_grid(
    tiles,
    columns=len(ways),
    rows=["codes", "cross-fade"] * len(pairs),
    numbers=said,
    scale=1,
    gap=3,
    caption="From one image's code to another's, decoded, and below it the cross-fade of the two ends; with what diorama/alexnet-nodecay says.",
)
figures.show(fig, "Two ways between codes, decoded, and two cross-fades.", most_bytes=100_000)


# %% [markdown]
# An overlay pays with contrast: where one picture has an edge and the other has none, half of it is left. So count edges, as
# in section 2, half way between 160 pairs: as a share of the mean of their two ends.

# %%
first, second = torch.arange(160), (torch.arange(160) + 7) % 160
ends = drawn["perceptual"]
half = decoded(decoder, (codes[first] + codes[second]) / 2)
overlay = (ends[first] + ends[second]) / 2
both = (edges(ends[first]).mean(1) + edges(ends[second]).mean(1)) / 2
kept = {name: edges(p).mean(1) / both for name, p in (("decoded middle", half), ("cross-fade", overlay))}
for name, k in kept.items():
    print(f"{name:15} edges: {k.mean():.0%} of the ends'")
print(
    f"the decoded middle and the cross-fade of a pair correlate with {alike(half.flatten(1), overlay.flatten(1)).mean():.1f}"
)
gap = sanity.bootstrap(kept["decoded middle"] - kept["cross-fade"])
claim(
    "09-between-codes",
    statement="Half way between two codes lies a picture of its own, not an overlay of two.",
    source="Dosovitskiy & Brox 2016 (CVPR)",
    measured=f"edges as a share of the ends': decoded middle {kept['decoded middle'].mean():.0%}, cross-fade {kept['cross-fade'].mean():.0%}; "
    f"difference {gap.mean:.0%} (95 % interval {gap.low:.0%} to {gap.high:.0%}), {len(half)} pairs",
    verdict="reproduced" if gap.low > 0 else "contradicted" if gap.high < 0 else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** Along the codes the roof of the car draws itself up and becomes a sail, the wheels become the
# hull, and the ground becomes water. In the cross-fade both are there at once, each at half its strength: a flower
# shines through a boat. The number says the same of all pairs: half way between two codes nearly all of the contrast of
# edges is there, in the overlay a fifth is gone. But do not overrate it. First the distance of section 4 was asked, and
# by that the middle is no nearer to real images than the overlay; edges came second. A decoder with such a style draws
# edges for *any* code, and the two middles are still very much alike.
#
# ### Colour
#
# Look again at the first figure: places are right, colours are not. Has the *code* forgotten them, or can the *decoder* not
# draw them? Dosovitskiy and Brox (CVPR 2016) were surprised by how much colour is left in the top layers of AlexNet.
# These networks, however, were trained with images whose colours were changed a little each time, and sometimes greyed.
#
# Predict numbers that you know of each image from its code, by ridge regression (a linear fit with a penalty, chosen by
# cross-validation), ten-fold. $R^2$ is the share of the variance that is predicted on images not fitted; 0 is what the mean
# gets. The null: the same with the numbers dealt out among the images at random. For the decoder: how much of the same number
# is right in its *picture*, after the best linear fit, the squared correlation.

# %%
inside = torch.from_numpy(sample.instance)[:, None].float()


def facts_of(pictures):
    """Numbers of each picture, name → (N,): brightness and two colour balances of all, and of the object's place."""
    numbers = {}
    for name, weight in (("picture", torch.ones_like(inside)), ("object", inside)):
        red, green, blue = ((pictures * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1)).T
        numbers[f"{name}: brightness"] = (red + green + blue) / 3
        numbers[f"{name}: red − blue"] = red - blue
        numbers[f"{name}: green − others"] = green - (red + blue) / 2
    return numbers


box = torch.from_numpy(sample.attributes["box"]).float()
truth = {
    "object: across": box[:, [0, 2]].mean(1),
    "object: down": box[:, [1, 3]].mean(1),
    "object: size": torch.from_numpy(sample.attributes["size"]).float().sqrt(),
    **facts_of(real),
}
of_picture = facts_of(drawn["perceptual"])


def predicted(codes, target):
    """Ten-fold predictions of a number (N,) from codes (N, units) by ridge regression."""
    folds = KFold(10, shuffle=True, random_state=0)
    model = RidgeCV([10.0**k for k in range(-1, 6)])
    with threadpool_limits(1):
        return torch.from_numpy(
            cross_val_predict(model, codes.double().numpy(), target.double().numpy(), cv=folds)
        )


def explained(predictions, target):
    """R² and its 95 % bootstrap interval over images."""
    draws = torch.randint(len(target), (1000, len(target)), generator=torch.Generator().manual_seed(0))
    draws[0] = torch.arange(len(target))  # the first is no draw, but all images
    y, missed = target[draws].double(), (target - predictions)[draws].double()
    r2 = 1 - missed.square().sum(1) / (y - y.mean(1, keepdim=True)).square().sum(1)
    return float(r2[0]), float(r2[1:].quantile(0.025)), float(r2[1:].quantile(0.975))


z = codes.cpu()
rows = {}
for name, target in truth.items():
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(1))
    rows[name] = {
        "in the code": explained(predicted(z, target), target),
        "shuffled": explained(predicted(z, target[order]), target[order]),
    }
    if name in of_picture:  # the best linear fit, with two numbers for all images
        slope = torch.from_numpy(np.polyfit(of_picture[name], target, 1))
        rows[name]["in the picture"] = explained(slope[0] * of_picture[name] + slope[1], target)
print(f"{'R²':26}in the code       shuffled         in the picture")
for name, row in rows.items():
    print(f"{name:25}" + "   ".join("{:z4.1f} [{:z.1f}, {:z.1f}]".format(*r2) for r2 in row.values()))

# %%
best = {
    name: max((row[k] for k in row if k != "shuffled"), key=lambda r2: r2[0]) for name, row in rows.items()
}
places, colours = (
    [best[name] for name in best if any(word in name for word in words)]
    for words in (("across", "down"), ("red", "green"))
)
claim(
    "09-colours-kept",
    statement="The code of a fully connected layer keeps colours and rough places.",
    source="Dosovitskiy & Brox 2016 (CVPR)",
    measured="R², the better of two readings: places "
    + ", ".join(f"{r2[0]:.1f}" for r2 in places)
    + "; colour balances "
    + ", ".join(f"{r2[0]:.1f}" for r2 in colours)
    + f"; shuffled at most {max(row['shuffled'][0] for row in rows.values()):.1f}",
    verdict="reproduced"
    if min(r2[1] for r2 in places + colours) > 0.5
    else "contradicted"
    if max(r2[2] for r2 in colours) < 0.25
    else "cannot be tested here",
)

# %% [markdown]
# **What to notice.** From 256 numbers a linear fit reads where the object is; its size less well; the colour balances
# hardly at all. The picture has a little more of brightness and of red against blue than the fit finds: the decoder has
# seen 20,000 images and need not be linear, the fit has seen 288. So a linear reading is a *lower* bound on what the code
# keeps, and the picture is another. Of the object's own colour neither finds much.
#
# That is not what the paper saw in AlexNet, whose top layers keep colours well. Here training has made them nearly useless:
# the things of Diorama come in any colour, and each image was recoloured anew every time. What a code forgets is no law of
# depth. It is what the task has taught it to ignore. Section 10 is the counter-test: a strawberry *is* red.
#
# ## 9 · Your network
#
# The decoder is a prior that you can lend to any network: here is yours, six of its classes, 30 steps each. (A network of
# photographs gets the decoder of section 10; where it wants larger images, the decoder's picture is enlarged on the way.)

# %%
photo, photo_robust = network("photos/alexnet"), network("photos/alexnet-robust")
photo_judge = network("photos/resnet")
photo_decoder, photo_facts = decoder_of("photos/decoder-perceptual")
lent = decoder if MODEL.startswith("diorama/") else photo_decoder


def enlarge_and_normalise(pictures):
    """Pictures of a decoder as your network takes them."""
    if pictures.shape[-1] != net.input_size:
        pictures = F.interpolate(pictures, net.input_size, mode="bilinear")
    return net.normalise(pictures)


yours = [round(k) for k in torch.linspace(0, len(net.classes) - 1, 6).tolist()]
mine = generator.ascend(lent, net.model, objectives.logit(yours), normalise=enlarge_and_normalise, steps=30)
fig, axes = figures.image_grid(
    mine.images.cpu(),
    [net.classes[c].replace("_", " ") for c in yours],
    6,
    scale=1.4,
    caption=f"Six classes of {net.name} through a decoder that has never met it.",
)
figures.show(fig, "Six class images of your network through a decoder.", most_bytes=50_000)
before, after = (
    net.probabilities(p)[range(6), yours].mean()
    for p in (decoded(lent, lent.mean.repeat(6, 1)), mine.images.cpu())
)
print(f"{net.name}: mean probability of the class {before:.1f} for the mean code, {after:.1f} after 30 steps")

# %% [markdown]
# ## 10 · Photographs
#
# Everything above was drawn by a program, and a decoder of 0.9 million numbers may learn such a world. What of photographs?
# `photos/decoder-perceptual` was trained in the same way on 6,207 photographs of 99 categories, with the codes and features
# of `photos/alexnet-robust`. First the photographs that come with scikit-image and scikit-learn, then what the training
# measured on photographs of the test split, with both nulls.

# %%
shots = torch.stack([images.fit(p.image, 96) for p in images.samples().values()])
back = decoded(photo_decoder, codes_of(photo_robust, shots, photo_facts["layer"]))
fig, axes = figures.image_grid(
    torch.cat([shots, back]),
    columns=len(shots),
    rows=["photograph", "decoded"],
    scale=1.2,
    caption="Photographs, and what the decoder makes of their codes.",
)
figures.show(fig, "Photographs and decoded photographs.", most_bytes=60_000)
held = photo_facts["heldout"]
print(f"{held['images']} test photographs   squared error   features")
for key, name in (("own", "own code"), ("mean_image", "mean image"), ("other", "another's code")):
    print(f"{name:20}{held[key]['squared']:16.3f}{held[key]['features']:13.2f}")

# %%
wished = ["panda", "pizza", "sunflower", "Leopards", "strawberry", "umbrella"]
numbers = [photo.classes.index(name) for name in wished]
rows = {
    "decoder": generator.ascend(
        photo_decoder,
        photo_robust.model,
        objectives.logit(numbers),
        normalise=photo_robust.normalise,
        steps=36,
    ).images.cpu(),
    "pixels": synthesis.synthesise(
        photo_robust.model,
        objectives.logit(numbers),
        normalise=photo_robust.normalise,
        size=96,
        steps=44,
        **synthesis.RECIPES["fourier"],
    ).cpu(),
}
fig, axes = figures.image_grid(
    torch.cat(list(rows.values())),
    [name.replace("_", " ") for name in wished] + [""] * len(wished),
    len(wished),
    rows=list(rows),
    scale=1.25,
    caption="Class images of photos/alexnet-robust: through the decoder, and in waves by lecture 05's recipe.",
)
figures.show(
    fig, "Six class images of a photo network, through the decoder and in pixels.", most_bytes=80_000
)
for name, pictures in rows.items():
    p = photo_judge.probabilities(pictures)
    hits = int((p.argmax(1) == torch.tensor(numbers)).sum())
    print(
        f"{name:8} photos/resnet names {hits} of {len(wished)}; mean probability of the class {p[range(6), numbers].mean():.1f}; "
        f"power in low waves {low_share(pictures).mean():.0%}, photographs {low_share(shots).mean():.0%}"
    )

# %% [markdown]
# **What to notice.** In colours photographs go better than dioramas: the own code has less than half of the error of the
# mean image. The dahlia is orange on black, the rocket stands in a night sky, the panda is black and white, the strawberry
# red and the umbrella blue. In a world where colour goes with the thing, the code has kept it, and the decoder knows it.
# Shapes go worse. There are 6,207 photographs where there were 20,000 dioramas, and they vary more: of a cat's face nothing
# is left but its place. An even wave lies over many pictures, with about as many crests as the maps have columns that the
# decoder begins with, 6 × 6. Doubling smoothly avoids the chequerboard of pixels; it does not avoid this trace of the
# coarsest grid.
#
# Now the judge. The pixels, which you may like less, are recognised by it more. A prior is worth as much as the images that
# it has learnt from. Nguyen et al. (2016) had 1.2 million, a larger generator and an adversary, and their pictures are
# famous for a reason. Six classes show that it can be done here, not how often.
#
# ## 11 · Your own
#
# *Between*: choose two images, and move the slider from one code to the other. *Ascent*: choose a network, a class, how far
# codes may go, and where to begin, at the mean code or at an image's. *Start* draws before your eyes, *Stop* ends it, and the
# slider *Film* plays the run. Try to begin at a house and end at a boat; and let the codes go anywhere. (On a page without a
# running kernel, the figures above are what you would see.)

# %%
controls.mixer(
    decoder,
    robust,
    real[:16],
    titles=[robust.classes[c] for c in sample.labels[:16]],
    judges=[onlooker, crowd["resnet"]],
)

# %%
asked = [robust, crowd["resnet"], *([net] if MODEL.startswith("diorama/") else [])]
controls.climber(decoder, asked, judge=onlooker, starts={"a house": codes[114], "a flower": codes[43]})

# %% [markdown]
# ## Check yourself
#
# **1.** A decoder reaches a squared error of 0.04 on new images, and its pictures look like fog. A colleague concludes that
# the code has lost everything. What do you ask first?
#
# <details><summary>Answer</summary>
#
# What the nulls reach: the mean image, and the picture for another image's code. And what the loss was. Under squared error
# fog is the best answer to any doubt, so fog shows that the code leaves *something* open, not that nothing is left. Decode
# with another loss, or read facts from the code.
# </details>
#
# **2.** Someone shows you pictures made through a generator: "this is what the neuron sees". What in the picture may come
# from where?
#
# <details><summary>Answer</summary>
#
# What the neuron asked for is only what raises it; the rest (ground, sky, light, what usually goes with it) comes from the
# decoder, which cannot draw anything else. Ask for the same neuron in pixels, for another neuron through the same decoder,
# and for the decoder's mean picture. What they share is not the neuron's.
# </details>
#
# **3.** You invent a number for "looks real", and your method wins by it. What must you still show?
#
# <details><summary>Answer</summary>
#
# That pictures which are certainly not real lose by it: averages, blur, mixed codes, noise. A distance to the nearest real
# image prefers what is bland, unless the mean is taken away. And fix the number before you look at the pictures that are to
# win.
# </details>
#
# ## Summary
#
# - A decoder learns the way from codes back to images. It shows what usually goes with a code; a search shows one image that
#   has it.
# - Squared error asks for the mean of all that may have been, which is a blur. Compared in a network's features, edges come
#   back.
# - An error of a reconstruction means something beside two nulls: the mean image, and another image's code.
# - Activation maximisation through a decoder moves the code, not the pixels: nine steps.
# - Recognised is not realistic. Networks that had no part name pictures in pixels as readily.
# - A yardstick must pass its own nulls before it judges anything.
# - What a code forgets depends on the task: on Diorama places stay and colours go, of photographs colours stay too.
#
# **Claims tested here:** decoders invert; squared error blurs; the range of codes; class images are recognised; learnt priors
# are more realistic; another network; between codes; colours. The verdicts stand below the cells, and together in [lecture
# 00](00_start_here.ipynb).
#
# ## Further reading
#
# - A. Dosovitskiy, T. Brox, *Inverting visual representations with convolutional networks*, CVPR 2016. Sections 1 and 8.
# - A. Dosovitskiy, T. Brox, *Generating images with perceptual similarity metrics based on deep networks*, NeurIPS 2016.
#   Section 2, with an adversary.
# - J. Johnson, A. Alahi, L. Fei-Fei, *Perceptual losses for real-time style transfer and super-resolution*, ECCV 2016.
# - A. Nguyen, A. Dosovitskiy, J. Yosinski, T. Brox, J. Clune, *Synthesizing the preferred inputs for neurons in neural networks
#   via deep generator networks*, NeurIPS 2016. Sections 3 to 7.
# - A. Nguyen, J. Clune, Y. Bengio, A. Dosovitskiy, J. Yosinski, *Plug & play generative networks: conditional iterative
#   generation of images in latent space*, CVPR 2017. What comes next: sample codes, with a prior on them too.
# - A. Mahendran, A. Vedaldi, *Understanding deep image representations by inverting them*, CVPR 2015. The search.
# - A. Odena, V. Dumoulin, C. Olah, *Deconvolution and checkerboard artifacts*, Distill 2016.
