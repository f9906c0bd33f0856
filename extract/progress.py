"""How long work says how far it is: a function that the caller may give."""

from collections.abc import Callable

# Called with a stage ("extract vgg16"), what is done and the total, in the stage's own unit.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing: the default."""
