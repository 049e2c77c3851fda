"""Which action comes next, and its integers: at random, and rather what this walk has not done yet.

A bug that shows with one action and one of its choices (a clone that is larger than its source) is met by a short walk
only if the walk does not draw the same ones again while others wait.
"""

import random
from collections import Counter
from typing import Any

from walk.choices import ACTIONS
from walk.world import World

# How much more or less often an action is drawn in one sequence than by its weight, at random: sequences that do all there
# is are all alike, and what has to be done several times in a row happens in none (swarm testing, Groce et al. 2012).
SWARM = (0.0, 0.5, 1.0, 1.0, 3.0)
# What an action takes is used by its remainders: of a choice between two, three or four things, and of what is left then.
MODULI = (2, 3, 4, 5, 7)
# How many integers are compared for one: more would make all walks alike.
TRIES = 5


class Drawing:
    """The draws of one sequence. The counts are the world's: they go on over its sequences."""

    def __init__(self, world: World, seed: str) -> None:
        self._world, self._random = world, random.Random(seed)
        self._weights = {name: each.weight * self._random.choice(SWARM) for name, each in ACTIONS.items()}

    def draw(self) -> dict[str, Any]:
        """An action that has something to pick from, and its integers. Where no weight allows any, all are allowed."""
        able = [name for name, each in ACTIONS.items() if each.needs(self._world)]
        chances = [self._weights[name] / (1 + self._world.drawn[name]) for name in able]
        name = self._random.choices(able, chances if any(chances) else None)[0]
        self._world.drawn[name] += 1
        return {"do": name, **{each: self._number(f"{name} {each}") for each in ACTIONS[name].takes}}

    def _number(self, what: str) -> int:
        """The one of some integers whose remainders were drawn least."""
        drawn = self._world.drawn
        number = min(
            (self._random.randrange(1 << 16) for _ in range(TRIES)), key=lambda each: _known(drawn, what, each)
        )
        drawn.update(_remainders(what, number))
        return number


def _known(drawn: Counter[str], what: str, number: int) -> int:
    return sum(drawn[each] for each in _remainders(what, number))


def _remainders(what: str, number: int) -> list[str]:
    return [f"{what} {modulus} {number % modulus}" for modulus in MODULI]
