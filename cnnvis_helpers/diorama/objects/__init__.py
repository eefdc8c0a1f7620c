"""The catalogue of objects: one drawing function for each of the 16 classes.

- `OBJECTS`: class name → `Kind` (how to draw it, its width over height, its scenes, how it stands), in the
  order of `vocabulary.CLASSES`
- `Kind`, `Pen`, `fitted`: what a kind is, what it is drawn with (from `pen`)

Parts and keypoints of each (a kind can have more: a stripe, a collar, a chimney):

- car (`vehicles`): wheel, car body, car cabin, car window, vehicle door, headlight, bumper
  keypoints: wheel ×2, headlight
- bus (`vehicles`): wheel, bus body, bus window, vehicle door, headlight, bumper
  keypoints: wheel ×2, headlight
- house (`things`): house wall, roof, house door, house window, window frame, chimney
  keypoints: roof top, door
- tree (`plants`): trunk, crown or leaf
  keypoints: crown top, foot
- boat (`craft`): hull, mast, sail or boat cabin and chimney
  keypoints: bow, mast top
- person (`living`): human head, hair, eye, torso, arm, human leg, shoe
  keypoints: head, hand ×2, foot ×2, eye ×2
- cat (`pets`): cat head, ear, eye, nose, furry body, furry leg, furry tail
  keypoints: eye ×2, ear ×2, nose, tail tip
- dog (`pets`): dog head, snout, ear, eye, nose, furry body, furry leg, furry tail
  keypoints: eye, ear, nose, tail tip
- bird (`living`): bird head, beak, eye, bird body, bird wing, bird tail, bird foot (unless flying)
  keypoints: beak, eye, tail, wing tip
- fish (`living`): fish head, eye, fish body, fish tail, fin
  keypoints: eye, mouth, tail
- plane (`craft`): fuselage, plane wing, plane tail, plane window, engine
  keypoints: nose, tail, wing tip
- flower (`plants`): stem, leaf, petal, flower centre
  keypoints: flower centre
- chair (`things`): seat, chair back, chair leg, armrest
  keypoints: seat, back top
- lamp (`things`): lamp shade, lamp pole, lamp base
  keypoints: shade, base
- cup (`things`): cup body, cup rim, drink, handle
  keypoints: handle, rim
- bicycle (`vehicles`): wheel, bicycle frame, saddle, handlebar, headlight
  keypoints: wheel ×2, headlight, saddle, handlebar

To add a kind, write `@fitted def kite(pen: Pen) -> None` in one of the files, and one row below.

    >>> pen = Pen(canvas, foot=(96, 160), height=80)
    >>> OBJECTS["cat"].draw(pen)
"""

from __future__ import annotations

from . import craft, living, pets, plants, things, vehicles
from .pen import Kind, Pen, fitted

__all__ = ["OBJECTS", "Kind", "Pen", "fitted"]

OBJECTS: dict[str, Kind] = {
    "car": Kind(vehicles.car, 2.4, ("street", "night city", "desert", "meadow", "beach", "mountain")),
    "bus": Kind(vehicles.bus, 2.5, ("street", "night city", "desert", "mountain")),
    "house": Kind(things.house, 1.45, ("meadow", "mountain", "forest", "street", "beach", "desert")),
    "tree": Kind(plants.tree, 0.77, ("meadow", "mountain", "forest", "beach", "street")),
    "boat": Kind(craft.boat, 1.2, ("sea", "sea", "beach"), stands="afloat"),
    "person": Kind(
        living.person,
        0.53,
        ("street", "beach", "meadow", "living room", "kitchen", "night city", "forest", "mountain", "desert"),
    ),
    "cat": Kind(pets.cat, 1.0, ("living room", "kitchen", "meadow", "street", "forest")),
    "dog": Kind(pets.dog, 1.3, ("living room", "meadow", "beach", "street", "forest", "mountain", "kitchen")),
    "bird": Kind(living.bird, 1.35, ("sea", "forest", "meadow", "mountain", "beach", "street")),
    "fish": Kind(living.fish, 1.5, ("underwater", "underwater", "sea", "kitchen"), stands="water"),
    "plane": Kind(
        craft.plane,
        2.08,
        ("street", "mountain", "sea", "desert", "beach", "meadow", "night city"),
        stands="air",
    ),
    "flower": Kind(plants.flower, 0.63, ("meadow", "living room", "kitchen", "forest", "mountain", "desert")),
    "chair": Kind(things.chair, 0.75, ("living room", "kitchen", "beach", "street", "meadow")),
    "lamp": Kind(things.lamp, 0.55, ("living room", "kitchen", "living room", "night city")),
    "cup": Kind(things.cup, 1.06, ("kitchen", "living room", "beach")),
    "bicycle": Kind(vehicles.bicycle, 1.6, ("street", "meadow", "forest", "beach", "night city")),
}
