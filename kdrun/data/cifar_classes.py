"""The names of CIFAR-100's classes, in the order of their labels, and which superclass each is of (Krizhevsky, 2009)."""

from __future__ import annotations

__all__ = ["FINE", "SUPERCLASSES", "SUPERCLASS_OF"]

_MEMBERS = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

SUPERCLASSES = tuple(_MEMBERS)
"""The 20 superclasses, in the order of their labels."""

FINE = tuple(sorted(name for members in _MEMBERS.values() for name in members.split()))
"""The 100 classes, in the order of their labels, which is that of the alphabet."""

SUPERCLASS_OF = tuple(
    next(place for place, members in enumerate(_MEMBERS.values()) if name in members.split()) for name in FINE
)
"""The superclass of each class."""
