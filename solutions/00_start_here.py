# %% [markdown]
# # 00 · Start here
#
# **The question: how will you know that what you see is true?**
#
# A picture of what a network "looks at" is easy to make and easy to believe. This course makes many such pictures, and
# beside each it puts a number that says whether the picture tells the truth, and the same number for a method that
# knows nothing. To do that, it needs images in which the truth of every pixel is known. So it brings its own world.
#
# After this lecture you can
#
# - read the six kinds of labels that every pixel of the *Diorama* images carries,
# - name the networks that come with the course and say how good they are,
# - tell a result from a *null*, and a difference from noise,
# - run every lecture on another network, on your own photograph, on your own model.
#
# **You need** Python and a first course in deep learning: what a convolution, a ReLU, a loss and a gradient are.
# **Time:** 30 minutes.

# %% tags=["setup"]
import numpy as np
import torch

from cnnvis_helpers import (
    claims,
    controls,
    device,
    diorama,
    figures,
    images,
    seeding,
    selftest,
    synthesis,
    zoo,
)
from cnnvis_helpers.checks import lecture00 as checks

MODEL = "diorama/alexnet"  # any name of zoo.names(), such as "photos/alexnet" or "imagenet/resnet18"
WEIGHTS = True  # False gives random weights, without a download

seeding.seed_all(0)
where = device.pick()
net = zoo.load(MODEL, weights=WEIGHTS, device=where)
sample = diorama.sample()  # test images with every label; they come with the package
print(f"{len(sample)} images, {len(net.classes)} classes: ready")

# %% [markdown]
# ## 1 · Does everything work?
#
# The next cell tries what the lectures need. Each line says `ok`, or what is wrong and what to do about it.

# %%
all_is_well = selftest.run()

# %% [markdown]
# ## 2 · The course
#
# | № | Lecture | The question |
# |:--|:--|:--|
# | 00 | **Start here** | How will you know that what you see is true? |
# | 01 | [Weights and activations](01_weights_and_activations.ipynb) | What can you read off the filters, and off what they do to one image? |
# | 02 | [Maximal patches, codes and t-SNE](02_patches_codes_tsne.ipynb) | Which images does a unit like best? |
# | 03 | [Occlusion and saliency](03_occlusion_and_saliency.ipynb) | Which pixels made the decision? |
# | 04 | [Deconvnet and guided backpropagation](04_deconvnet_and_guided_backprop.ipynb) | What does projecting back to the image show? |
# | 05 | [Inversion and DeepDream](05_inversion_and_deepdream.ipynb) | What does the network imagine? |
# | 06 | [Fooling images](06_fooling_images.ipynb) | How little does it take to change its mind? |
# | 07 | [Network dissection](07_network_dissection.ipynb) | Which units detect which concepts? |
# | 08 | [Learning or memorising](08_learning_or_memorising.ipynb) | When does a network learn, when does it store? |
# | 09 | [Generators](09_generators.ipynb) | Can a second network draw what the first one wants? |
# | 10 | [Texture and style](10_texture_and_style.ipynb) | Which layers carry what? |
# | 11 | [What do they really know?](11_what_do_they_know.ipynb) | Where is it right, and are you better? |
#
# Every lecture has the same form: an idea, the heart of the method in a few lines of code, a picture, and **a number
# under the picture** with its null beside it. Each ends with exercises that check themselves.

# %% [markdown]
# ## 3 · Diorama, a world whose truth is known
#
# Diorama is *drawn*, not collected: 96 × 96 pixels, one main object of 16 classes in one of 11 scenes. A program
# decides where the cat sits, what its fur looks like, what hides its tail; and the call that paints a shape writes its
# labels too. So the labels cannot be wrong.

# %%
titles = [diorama.CLASSES[i] for i in sample.labels[:32]]
fig, axes = figures.image_grid(
    sample.images[:32],
    titles=titles,
    columns=8,
    caption="Two test images of each class, as the network sees them.",
)
figures.show(
    fig, "Diorama: two test images for each of the 16 classes, in varied scenes.", most_bytes=700_000
)

# %% [markdown]
# **What to notice.** The object is not always in the middle, not always whole, and not the only thing. A bus can stand
# in a room, a lamp on a beach. Colours vary freely: there are purple birds and dotted fish. All of this is on purpose: each regularity
# that a data set has is a short cut that a network can take, and lecture 03 shows one taking it.
#
# ### Six labels a pixel
#
# A pixel can say which **scene** it belongs to, which **object** it is part of, which **part** of the object, which
# **material** and which **texture** it has, and which **colour** it shows. This follows *Broden*, the data set of
# Network Dissection (Bau et al. 2017), which collects 1,197 such concepts from photographs; Diorama is a small Broden.

# %%
example = diorama.render("test", 22)
fig, axes = figures.label_maps(
    example, caption="One test image, its six label maps and its main object alone (pale grey: no label)."
)
figures.show(fig, "A test image with its scene, object, part, material, texture and colour maps.")

# %%
for category in diorama.CATEGORIES:
    labelled = np.mean(
        [name != "" for name in np.array(diorama.names(category))[sample.maps[category][:200]].ravel()]
    )
    count = len([name for name in diorama.names(category) if name])
    print(f"{category:9} {count:3} names, {100 * labelled:5.1f} % of the pixels have one")

# %% [markdown]
# **What to notice.** Scene, object and colour cover everything, material nearly everything; parts and textures cover only
# some pixels. That
# matters later: when a unit of the network fires on stripes, only images that *have* a texture label can tell.
#
# ### Draw your own
#
# An image depends only on its split, its number and a few *knobs*. Turn one knob and everything else stays as it is:
# the same scene, the same clutter, the same light. That makes a controlled experiment out of a single call.

# %%
knobs = {
    "as it comes": diorama.Knobs(),
    "smaller": diorama.Knobs(size=0.4),
    "half hidden": diorama.Knobs(occluded=0.45),
    "in the kitchen": diorama.Knobs(scene="kitchen"),
    "facing right": diorama.Knobs(facing="right"),
    "gone": diorama.Knobs(absent=True),
}
variants = [diorama.render("test", 38, knob) for knob in knobs.values()]
turned = diorama.collate(variants).images
said = [
    f"{net.classes[int(p.argmax())][:18]} {float(p.max()):.2f}" for p in net.probabilities(turned)
]  # the most probable class
fig, axes = figures.image_grid(
    turned,
    titles=list(knobs),
    numbers=said,
    columns=6,
    caption="Test image 38 with one knob turned at a time; below, what the network says and how probable it finds it.",
)
figures.show(
    fig, "The same image with one knob turned at a time, and the network's answers.", most_bytes=400_000
)

# %% [markdown]
# **What to notice.** Nothing moves but what the knob turns: the light and the noise stay everywhere, the room too, except where
# the knob asks for another scene. And the last picture is a warning: ask a classifier about a picture without a main object, and
# it names one all the same.

# %% [markdown]
# Now turn the knobs yourself. The bars show what the network says, live.

# %%
controls.studio(net if MODEL.startswith("diorama/") else zoo.load("diorama/alexnet"))

# %% [markdown]
# ## 4 · Is it a good test? First ask what knows nothing
#
# A number means little alone. "97 % right" is worthless when a colour histogram reaches 96 %. So ask, for every
# number, what something *that does not know* would get: that is its **null**. Here are three.
#
# Take features $f(x)$ of each image, fit a logistic regression on half of the sample, and measure its accuracy on the
# other half. Chance is $1/16 = 6.25\,\%$. The features are: the colour histogram (which knows colours, no shapes), a
# 12 × 12 thumbnail (which knows the layout), and the 256 numbers of layer `fc7` of the embedded network, before its training
# and after. The untrained network is the fairest null: it has the same layers, but has seen nothing.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnvis_helpers import hooks

diorama_net = zoo.load("diorama/alexnet", device=where)
cells = (sample.pixels.astype(int) * 6 // 256) @ np.array([36, 6, 1])  # a 6×6×6 colour cube
histograms = np.sqrt([np.bincount(cell.ravel(), minlength=216) for cell in cells])
thumbnails = torch.nn.functional.adaptive_avg_pool2d(sample.images, 12).flatten(1).numpy()
codes = {}
for name in ("diorama/alexnet-untrained", "diorama/alexnet"):
    network = zoo.load(name, device=where)
    codes[name] = (
        hooks.activations(network.model, network.prepare(sample.images), ["relu7"])["relu7"].cpu().numpy()
    )

half = len(sample) // 2
labels = sample.labels.numpy()
scores = {}
for name, features in [
    ("colour histogram", histograms),
    ("12 × 12 thumbnail", thumbnails),
    ("fc7, untrained", codes["diorama/alexnet-untrained"]),
    ("fc7, trained", codes["diorama/alexnet"]),
]:
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    scores[name] = reader.fit(features[:half], labels[:half]).score(features[half:], labels[half:])
fig, axes = figures.bars(
    list(scores.values()),
    list(scores),
    value_label="accuracy on the other half of the sample",
    number="{:.2f}",
    limits=(0, 1),
    reference={"chance": 1 / 16},
    caption="What a linear reader gets out of colours, out of layout, and out of a network's code.",
)
figures.show(
    fig, "Accuracy of a linear classifier: low on histograms, thumbnails and untrained codes, high on fc7."
)

# %%
print(
    ", ".join(
        f"{name} {score:.2f}" if score > 0.5 else f"{name} {score:.1f}" for name, score in scores.items()
    )
    + "; chance 0.06"
)

# %% [markdown]
# **What to notice.** Colours and layout are worth something, since a fish is under water more often than a cat is, but not
# much. (With
# 3,000 images to learn from, histograms stay below 30 %; the tests of the data set hold that.) What the network knows
# is something else.

# %% [markdown]
# ## 5 · The networks
#
# The course ships a family of small networks, trained on 20,000 Diorama images by `data_scripts/train_models.py`. The
# first is the healthy AlexNet. The other AlexNets are changed *on purpose*, most of them for the worse: a lecture that says
# "noisy filters mean trouble" must show you a network in trouble. One was never trained at all: it is the null of the whole
# course. The last three are healthy networks of other architectures.
#
# An accuracy is measured on a limited number of images, so it comes with an interval. For $k$ right answers out of
# $n$, the **Wilson interval** with $z = 1.96$ contains the true accuracy about 95 times out of 100:
#
# $$\frac{\hat p + z^2/2n \pm z \sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}, \qquad \hat p = k/n .$$

# %%
import itertools

from scipy.stats import binomtest

test = diorama.load("test", labels=False)  # 2,000 images; drawn once, then kept in a cache


def right_answers(network, batch):
    """True where the network's first choice is the label."""
    return (network.probabilities(batch.images).argmax(1) == batch.labels).numpy()


family = [name for name in zoo.EMBEDDED if name.startswith("diorama/") and len(zoo.classes_of(name)) == 16]
right = {name: right_answers(zoo.load(name, device=where), test) for name in family}
rows = []
for name in family:
    interval = binomtest(int(right[name].sum()), len(test)).proportion_ci(method="wilson")
    rows.append((name.removeprefix("diorama/"), right[name].mean(), interval.low, interval.high))
names, means, lows, highs = map(list, zip(*rows, strict=True))
fig, axes = figures.bars(
    means,
    names,
    errors=np.array([np.subtract(means, lows), np.subtract(highs, means)]),
    value_label="accuracy on the 2,000 test images, with 95 % Wilson interval",
    number="{:.2f}",
    limits=(0, 1),
    reference={"chance": 1 / 16},
    caption="The embedded networks that name objects. Faulty ones are faulty on purpose.",
)
figures.show(fig, "Test accuracy of every embedded network with its interval, and chance.")

# %%
for name, mean in zip(names, means, strict=True):
    print(f"{name:18} {100 * mean:3.0f} %   {zoo.describe('diorama/' + name)['about']}")

# %% [markdown]
# Where is the healthy network wrong? Sort the test images by how much of the object is hidden.

# %%
hidden = test.attributes["occluded"]
edges = [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.55]
middles, shares, below, above = [], [], [], []
for start, end in itertools.pairwise(edges):
    inside = (hidden >= start) & (hidden < end)
    answers = right["diorama/alexnet"][inside]
    interval = binomtest(int(answers.sum()), len(answers)).proportion_ci(method="wilson")
    middles.append(100 * hidden[inside].mean())
    shares.append(100 * answers.mean())
    below.append(100 * interval.low)
    above.append(100 * interval.high)
fig, axes = figures.curves(
    middles,
    {"diorama/alexnet": shares},
    bands={"diorama/alexnet": (below, above)},
    x_label="share of the object that is hidden (%)",
    y_label="accuracy (%)",
    y_limits=(50, 100),
    caption="Accuracy on the test split by hidden share (axis from 50 %); the band is the 95 % Wilson interval.",
)
figures.show(fig, "Accuracy falls slowly as more of the object is hidden.")

# %%
clear = hidden < 0.1
base = right["diorama/alexnet"]
print(
    f"less than 10 % hidden: {100 * base[clear].mean():.0f} %, more: {100 * base[~clear].mean():.0f} %, chance: 6 %"
)

# %% [markdown]
# **What to notice.** The untrained network is at chance: a null should be. So is the one that has learnt random labels by
# heart: it has every training image right, and knows nothing. The band is wide where there are few images.
# And where the object is clear, few mistakes are left, so a senseless visualisation there cannot be excused by a wrong
# answer. Whether the network is right *for the right reason* is another question: lecture 03 asks it.

# %% [markdown]
# ## 6 · Networks that have seen photographs
#
# Diorama gives the truth; it does not give cats. So three more networks come with the course. They learnt 99 categories from
# 6,607 photographs of Caltech-101 (Li, Andreetto, Ranzato, Perona; CC BY 4.0), from nothing, at 96 × 96 pixels:
#
# - `photos/alexnet`, built like Diorama's but wider;
# - `photos/resnet`, a residual network that keeps its batch norm;
# - `photos/alexnet-robust`, the first one after further training on photographs that were changed on purpose, each colour
#   value by up to 4/255, so as to fool it (*adversarial training*; Madry et al. 2018, Wong et al. 2020).
#
# They never met the 1,200 *test* photographs. A fifth of all photographs show aeroplanes or motorbikes, so beside the plain accuracy
# stands the **balanced** one, the mean over the categories. The third number is the accuracy *under attack*: ten steps of
# *projected gradient* move each test photograph, within 4/255 a value, to where the network's loss is largest.

# %%
scores = {name: zoo.describe(name)["accuracy"] for name in zoo.names() if name.startswith("photos/")}
print(f"{'':24}{'accuracy':>26}{'balanced':>10}{'under attack':>14}")
for name, score in scores.items():
    if score is None:  # never trained
        continue
    interval = binomtest(round(score["test"] * score["images"]), score["images"]).proportion_ci(
        method="wilson"
    )
    print(
        f"{name:24}{score['test']:8.1%} ({interval.low:.1%} to {interval.high:.1%}){score['balanced']:10.1%}"
        f"{score['projected_gradient']:14.1%}"
    )
print("always the largest category, aeroplanes: 10.2 %, balanced 1.0 %")

# %% [markdown]
# **What to notice.** Three quarters, from a few thousand photographs and a few minutes of training: honest networks, not large ones.
# The balanced number is lower, since a category with thirty photographs is learnt less well than one with eight hundred; the worst are never
# named at all. And the attack, a change too small to see, takes two thirds of the standard network's right answers away, and six in seven
# of the ResNet's. The robust network pays two points on clean photographs and keeps most of its answers.
#
# ### What do they say of a photograph?
#
# These six photographs come inside scikit-image and scikit-learn, with their own licences. They are ordinary pictures, and nobody
# chose them for these networks. Before you read the answers: there is no category for a house cat, for an astronaut, for a
# rocket. There is one for cups, and one for pagodas.

# %%
photographs = images.samples()
photo_nets = {name: zoo.load(name, device=where) for name in scores if "untrained" not in name}
readers = [photo_nets["photos/alexnet"], photo_nets["photos/alexnet-robust"]]
answers = {}
for name, photograph in photographs.items():
    lines = []
    for reader in readers:
        p = reader.probabilities(photograph.image)[0]
        lines += [f"{reader.classes[k]} {float(p[k]):.2f}" for k in p.argsort(descending=True)[:2].tolist()]
    answers[name] = "\n".join(lines)
fig, axes = figures.image_grid(
    [images.fit(photograph.image, 288) for photograph in photographs.values()],
    titles=list(photographs),
    numbers=list(answers.values()),
    columns=6,
    caption="Below each photograph the two most probable categories with their probabilities: first by photos/alexnet, then by "
    "photos/alexnet-robust.",
)
figures.show(fig, "Six photographs and what two networks say of them.", most_bytes=500_000)
for name, photograph in photographs.items():
    print(f"{name:10} {photograph.licence:14} {photograph.source}")

# %% [markdown]
# **What to notice.** The cat's face becomes a cougar's, the nearest thing on offer. The cup of coffee, seen from above, is a yin and yang
# sign to the standard network: round, dark and light; only the robust one says cup. The rocket has a mast, so it is a ketch. The dahlia is a
# strawberry to the one and a nautilus to the other, although there is a category of sunflowers; the Chinese tower is a helicopter or an aeroplane, although
# there are pagodas. And the astronaut is
# nothing they know; they answer all the same. The probabilities are low here, mostly below a third, but nothing in the answer says "none of these".
#
# ### What would they like to see?
#
# Turn the question round. Start from grey noise and change the *image*, step by step, so that the network's score for one
# category rises: a **class image** (Simonyan et al. 2014). Lecture 05 takes the method apart; here is what comes out, by the
# same recipe for both networks. To judge pictures you need a judge who had no part in them: `photos/resnet`, trained on its own, says what it sees.

# %% tags=["nbval-ignore-output"]
wanted = ["bonsai", "butterfly", "dalmatian", "elephant", "panda", "strawberry"]  # these will be shown
wanted += [
    "chair",
    "flamingo",
    "ketch",
    "Leopards",
    "lobster",
    "pizza",
    "starfish",
    "sunflower",
    "umbrella",
    "watch",
]
chosen = [photo_nets["photos/alexnet"].classes.index(name) for name in wanted]
drawn = {
    name: synthesis.class_images(
        photo_nets[name].model, chosen, normalise=reader.normalise, size=reader.input_size, progress=True
    ).cpu()
    for name, reader in photo_nets.items()
    if name != "photos/resnet"
}

# %%
judge = photo_nets["photos/resnet"]
verdicts, recognised = [], {}
for name, made in drawn.items():
    p = judge.probabilities(made)
    verdicts += [f"{judge.classes[int(q.argmax())]} {float(q.max()):.1f}" for q in p[:6]]
    recognised[name] = int((p.argmax(1) == torch.tensor(chosen)).sum())
    print(f"{name:22} the judge recognises more than ten of {len(chosen)}: {recognised[name] > 10}")
noise = judge.probabilities(torch.rand(len(chosen), 3, 96, 96, generator=torch.Generator().manual_seed(0)))
print(f"noise                  the judge recognises {int((noise.argmax(1) == torch.tensor(chosen)).sum())}")
fig, axes = figures.image_grid(
    [image for made in drawn.values() for image in made[:6]],
    titles=wanted[:6] + [""] * 6,
    numbers=verdicts,
    columns=6,
    rows=["standard", "robust"],
    caption="Class images of photos/alexnet and of photos/alexnet-robust, 200 steps each; below, what photos/resnet says. "
    f"Of all {len(chosen)} categories it recognises {' and '.join(map(str, recognised.values()))}.",
)
figures.show(
    fig, "Class images of six categories by the standard and the robust network.", most_bytes=500_000
)

# %% [markdown]
# **What to notice.** You would have named most of them: spots and a dog's head, a butterfly's wings, the crown of a small tree on its
# stand. The standard network's images are covered by a fine ripple. It raises the score, and no photograph has it; an attack uses the same
# ripple. The robust network was trained until such ripples no longer helped, so it must use shapes and surfaces, and so do its images. (A class
# image shows what *raises* a score. It does not show all that the network knows.)

# %% [markdown]
# ## 7 · Another network, another image
#
# Every lecture starts with a set-up cell like the one above. Change one name in it and run the lecture again:
#
# - `MODEL = "photos/alexnet"`, for the photo networks of section 6;
# - `MODEL = "imagenet/resnet18"`, or `alexnet`, `vgg16`, `googlenet`, `densenet121`: any classifier of torchvision with
#   its ImageNet weights. The first use downloads them; later uses find them in torchvision's cache.
# - your own photograph: `images.load("holiday.jpg")`, or the upload button of the controls;
# - your own model: `zoo.Network("mine", model, classes, 224, mean, std)` has all that the lectures use.
#
# Here is a torchvision network with random weights, so that nothing is downloaded now.

# %%
other = zoo.load("imagenet/resnet18", weights=False)
own = zoo.Network(
    "mine",
    torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)),
    ["no", "yes"],
    32,
    (0.5,) * 3,
    (0.25,) * 3,
)
for network in (diorama_net, other, own):
    probabilities = network.probabilities(sample.images[:1])
    print(f"{network.name:18} input {network.input_size:3} px, {probabilities.shape[1]:4} classes")

# %% [markdown]
# ## 8 · Exercises
#
# Write the body of each function; the cell after it checks your work. A check takes your function, compares it with
# an independent solution, and says what is wrong. Until you begin, it says `not attempted yet`.
#
# These three functions are used in every later lecture.

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · Intersection over union
#
# How well do two masks $A$ and $B$ agree? $\mathrm{IoU} = |A \cap B| / |A \cup B|$, from 0 to 1. Over a **data set** it
# is *one* fraction, $\sum_i |A_i \cap B_i| / \sum_i |A_i \cup B_i|$, and not the mean of the images' fractions. Two empty masks have nothing to agree on: return 0.


# %% tags=["exercise"]
def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    """IoU of two sets of masks over the whole data set.

    a, b: (N, H, W) bool. Returns one number in [0, 1]; 0 when both are empty everywhere.
    """
    ### BEGIN SOLUTION
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0
    ### END SOLUTION


# %% tags=["check"]
checks.check_iou(iou)

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · The pointing game
#
# A heat map *points* at its highest value (the first in reading order, where several are equal). The **pointing game** (Zhang et al. 2016) counts how often that place lies on the
# object. It will score every attribution method of lecture 03, and here it scores the laziest one: a map that always
# points at the centre.


# %% tags=["exercise"]
def pointing_accuracy(heat: torch.Tensor, instance: torch.Tensor) -> float:
    """Share of the images whose highest heat lies on the object.

    heat: (N, H, W) float. instance: (N, H, W) bool, True on the object. Returns a number in [0, 1].
    """
    ### BEGIN SOLUTION
    highest = heat.flatten(1).argmax(1)  # (N,) position in the flattened map
    return float(instance.flatten(1)[torch.arange(len(heat)), highest].float().mean())
    ### END SOLUTION


# %% tags=["check"]
checks.check_pointing_accuracy(pointing_accuracy)

# %% [markdown]
# With a map that always points at the centre, the function gives the null of the pointing game on this data set:

# %%
masks = torch.from_numpy(sample.instance)
centre = torch.zeros(masks.shape)
centre[:, 48, 48] = 1
print(f"always pointing at the centre: {checks.reference_pointing_accuracy(centre, masks):.2f}")

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · The interval of an accuracy
#
# Write Wilson's interval of section 5. Why not simply $\hat p \pm z\sqrt{\hat p(1-\hat p)/n}$? Try $k = n$.


# %% tags=["exercise"]
def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Lower and upper end of Wilson's interval for k right answers out of n."""
    ### BEGIN SOLUTION
    p = k / n
    middle = p + z**2 / (2 * n)
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    ### END SOLUTION


# %% tags=["check"]
checks.check_wilson_interval(wilson_interval)

# %% [markdown]
# ## 9 · Check yourself
#
# <details><summary>A method finds the object in 60 % of the images, the centre of the image lies on it in 35 %. How good is
# the method?</summary>
#
# Better than the null, but most of its score is the null's. Compare it with 35 %, not with 0 %.
# </details>
#
# <details><summary>Why are the 16 classes drawn in all colours?</summary>
#
# If buses were always red, "red" would do for "bus", and a network that knows only colours would pass. The histogram
# null shows how much colour gives away.
# </details>
#
# <details><summary>Network A is right on 96.6 % of 2,000 images, network B on 97.0 %. Is B better?</summary>
#
# You cannot say: the difference is 0.4 points, and its standard error, taking the two as independent, is about 0.6. On the *same*
# images a paired comparison tells more: count only the images on which they differ.
# </details>

# %% [markdown]
# ## 10 · The claim ledger
#
# The papers, lecture notes and courses that this course builds on make claims. Each lecture tests those it mentions,
# on these networks, and records what came out. An honest *contradicted* is worth more than a forced *reproduced*.

# %%
claims.table()

# %% [markdown]
# ## 11 · Words
#
# | Term | 中文 | Meaning here |
# |:--|:--|:--|
# | activation, feature map | 激活, 特征图 | what a unit or channel computes for one image |
# | attribution, saliency map | 归因, 显著图 | how much each pixel mattered for an output |
# | channel | 通道 | one map of a layer; all its positions share their weights |
# | class model | 类别模型 | an image made to maximise a class score |
# | code | 编码 | a layer's output, as a description of the image |
# | convolution kernel, filter | 卷积核, 滤波器 | the weights of one channel |
# | critical sample | 关键样本 | an image with a neighbour that the network calls something else |
# | dead unit | 死亡单元 | a unit that is never active on the data |
# | deconvnet | 反卷积网络 | Zeiler and Fergus' projection back to the image |
# | decoder, generator | 解码器, 生成器 | a network that draws images from codes |
# | fooling image, adversarial example | 欺骗图像, 对抗样本 | an image made to be misclassified |
# | guided backpropagation | 导向反向传播 | a gradient that passes only positive signals at each ReLU |
# | ground truth | 真实标注 | the labels, which Diorama knows for every pixel |
# | Gram matrix | 格拉姆矩阵 | how strongly each two channels of a layer fire together, places forgotten |
# | heat map | 热力图 | a map of numbers shown as colours |
# | hidden layer | 隐藏层 | a layer between input and output |
# | intersection over union | 交并比 | how well two masks agree, 0 to 1 |
# | keypoint, PCK | 关键点, 关键点正确率 | a named place of an object; the share of these found in another image |
# | inversion | 反演 | finding an image with a given code |
# | network dissection | 网络解剖 | matching units with labelled concepts |
# | null | 零假设基线 | the score of something that knows nothing |
# | occlusion | 遮挡 | hiding a part of the image |
# | overfitting | 过拟合 | good on the training images, bad on others |
# | pooling | 池化 | keeping the largest (or mean) value of a window |
# | receptive field | 感受野 | the part of the image that a unit can see |
# | regularisation | 正则化 | whatever keeps the weights, or an image, simple |
# | robust network | 鲁棒网络 | one trained to withstand small changes of the image |
# | sparse | 稀疏 | mostly zeros |
# | stride | 步幅 | how far a filter moves from one position to the next |
# | style, texture | 风格, 纹理 | what of an image remains when places are forgotten |
# | unit | 单元 | one channel, or one neuron of a fully connected layer |
# | weight decay | 权重衰减 | pulling the weights towards zero while training |

# %% [markdown]
# ## Summary
#
# - Diorama knows the truth of every pixel; its knobs make controlled experiments.
# - A number needs a null, an interval, and the number of images it comes from.
# - The embedded networks need no download; one name changes them for torchvision's, or yours.
#
# **Further reading.** D. Bau et al., *Network Dissection*, CVPR 2017 (labels for every pixel). J. Zhang et al., *Top-down
# neural attention by excitation backprop*, ECCV 2016 (the pointing game). L. Brown, T. Cai, A. DasGupta, *Interval
# estimation for a binomial proportion*, Statistical Science 2001 (why Wilson). B. Berlin, P. Kay, *Basic Color Terms*, 1969 (the
# eleven colour names).
#
# **Next:** [01 · Weights and activations](01_weights_and_activations.ipynb).
