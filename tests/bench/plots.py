"""Draws the plots of docs/performance.md as SVG."""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import Bars, Curves

mpl.use("svg")
# The same numbers give the same file.
mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9})


@functools.singledispatch
def draw(plot: Bars | Curves, directory: Path) -> Path:
    """Draw a plot into a file of a directory, and return the file."""
    raise TypeError(type(plot))


@draw.register
def _(plot: Bars, directory: Path) -> Path:
    height = 0.8 / len(plot.series)
    figure = Figure(figsize=(8, 1 + 0.45 * len(plot.labels)), layout="constrained")
    axes: Axes = figure.subplots()
    for number, (name, values) in enumerate(plot.series.items()):
        places = [row + number * height for row in range(len(plot.labels))]
        axes.barh(places, [(value or 1) - 1 for value in values], height, left=1, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(plot.labels))], plot.labels)
    axes.invert_yaxis()
    axes.set_title(plot.title)
    axes.legend()
    return _save(figure, directory, plot.name)


@draw.register
def _(plot: Curves, directory: Path) -> Path:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for name, values in plot.series.items():
        axes.plot(plot.x, values, marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.set_title(plot.title)
    axes.legend()
    return _save(figure, directory, plot.name)


def _save(figure: Figure, directory: Path, name: str) -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / f"bench-{name}.svg"
    figure.savefig(file, metadata={"Date": None})
    return file
