"""Colour a graph of 8 to 15 vertices with as few colours as it needs; made here."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source((), "CC0, made here")
_NUM = 100
_DENSITY = 0.4

Edges = Sequence[tuple[int, int]]


def items(files: Sequence[Path]) -> Iterator[Item]:
    generator = random.Random("graph colouring")
    for number in range(_NUM):
        vertices = generator.randint(8, 15)
        pairs = itertools.combinations(range(vertices), 2)
        edges = [pair for pair in pairs if generator.random() < _DENSITY]
        answer = _fewest(vertices, edges)
        colours = max(answer) + 1
        question = (
            f"Colour the vertices 0 to {vertices - 1} of this graph with at most {colours} colours "
            f"(numbers from 0 to {colours - 1}) so that no edge joins two vertices of the same "
            f"colour.\nEdges: {', '.join(f'{a}-{b}' for a, b in edges)}\n\n"
            "Answer with a JSON list: the colour of vertex 0, of vertex 1, and so on."
        )
        extra = {"vertices": vertices, "colours": colours, "edges": edges}
        yield Item(
            f"graph_colouring-{number}", question, json.dumps(answer), "colouring", (), extra
        )


def _fewest(vertices: int, edges: Edges) -> list[int]:
    for num in itertools.count(1):
        found = _coloured([], vertices, edges, num)
        if found is not None:
            return found
    raise AssertionError  # each vertex with a colour of its own is a way


def _coloured(so_far: list[int], vertices: int, edges: Edges, num: int) -> list[int] | None:
    """The first way that goes on from the colours `so_far`, by trying; graphs are small."""
    at = len(so_far)
    if at == vertices:
        return so_far
    taken = {so_far[a] for a, b in edges if b == at}
    for colour in range(min(num, max(so_far, default=-1) + 2)):
        if colour not in taken:
            found = _coloured([*so_far, colour], vertices, edges, num)
            if found is not None:
                return found
    return None
