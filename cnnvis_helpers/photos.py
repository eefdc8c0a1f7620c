"""Caltech-101 as the `photos` networks know it: its classes, where it comes from and its licence.

- `CLASSES`: the 99 categories, in the order of the networks' outputs
- `SOURCE`, `LICENCE`: of the photographs, none of which come with the package

The categories are Caltech-101's own, by their own names, without the two that show faces.
"""

SOURCE = "Caltech-101, F.-F. Li, M. Andreetto, M. Ranzato, P. Perona; data.caltech.edu/records/mzrjq-6wc02"
LICENCE = "CC BY 4.0"

_NAMES = """
    Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai brain
    brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body
    cougar_face crab crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly
    electric_guitar elephant emu euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone
    grand_piano hawksbill headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp
    laptop llama lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda
    pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion sea_horse
    snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella
    watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang
"""
CLASSES: tuple[str, ...] = tuple(_NAMES.split())
