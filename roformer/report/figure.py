"""One figure of a report: its words, and how to draw it."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib import figure


@dataclass(frozen=True)
class Figure:
    """A figure that the page shows.

    Attributes:
        name: of its files.
        title: the first sentence below it.
        caption: the rest of the words below it.
        description: the same for those who cannot see it, with end values.
        draw: draws it at a width in CSS pixels.
    """

    name: str
    title: str
    caption: str
    description: str
    draw: Callable[[int], figure.Figure]
