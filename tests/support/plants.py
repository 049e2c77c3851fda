"""The list of planted differences: each plants one of its kind in a service, and returns the id that the finding is about."""

from collections.abc import Callable

from planting import Planted

Plant = Callable[[Planted], str]
CASES: list[tuple[str, Plant]] = []


def case(kind: str) -> Callable[[Plant], Plant]:
    """A way to plant a difference of this kind; it returns the id that the finding is about."""

    def register(plant: Plant) -> Plant:
        CASES.append((kind, plant))
        return plant

    return register
