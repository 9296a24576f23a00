"""ProsQA (2412.06769, appendix A): two leaves of a graph, only one of which can be reached.

"Every rempus is a kerpus. ... Is Sally a fompus or worpus?" Wording, words and graph statistics are
those of the paper's validation set, which a test compares; no sentence of that set is used.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence

from .base import Problem, Split, draw, split_of

_SPECIES = """bompus boompus brimpus chorpus dumpus felpus fompus gerpus gorpus grimpus gwompus
hilpus impus jelpus jompus kerpus lempus lorpus numpus quimpus rempus rompus rorpus scrompus shumpus
sterpus storpus terpus timpus tumpus vumpus worpus wumpus yerpus yimpus yumpus zhorpus zumpus"""
_PERSONS = (
    "Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam Stella Tom Wren"
)
SPECIES = tuple(_SPECIES.split())
PERSONS = tuple(_PERSONS.split())
_IN_DEGREES = (0.045, 0.4, 0.315, 0.16, 0.06, 0.02)  # of nodes other than the two roots
_MIN_STEPS, _MAX_STEPS = 3, 6

Edge = tuple[int, int]


def generate(rng: random.Random, split: Split = "train") -> Problem:
    return draw(split, lambda: _make(rng))


def _make(rng: random.Random) -> Problem:
    while True:
        num_nodes = max(17, min(28, round(rng.gauss(23.2, 1.95))))
        edges = _grow(rng, num_nodes)
        found = _ask(rng, edges, num_nodes)
        if found:
            return _word(rng, edges, num_nodes, *found)


def _grow(rng: random.Random, num_nodes: int) -> list[Edge]:
    """Nodes 0 and 1 are the roots; each later node hangs below earlier ones, deep ones first.

    One node in four may hang anywhere, the others on one root's side only, so that both sides
    keep leaves of their own.
    """
    depth, label = [0, 0], [1, 2]  # label: bit 0 below root 0, bit 1 below root 1
    edges: list[Edge] = []
    for node in range(2, num_nodes):
        side = rng.choices((1, 2, 3), (0.37, 0.37, 0.26))[0]
        candidates = [i for i in range(node) if label[i] | side == side]
        weights = [1.5 * depth[i] + 1 for i in candidates]
        parents: set[int] = set()
        count = rng.choices(range(len(_IN_DEGREES)), _IN_DEGREES)[0]
        while len(parents) < min(count, len(candidates)):
            parents.add(rng.choices(candidates, weights)[0])
        edges += [(parent, node) for parent in sorted(parents)]
        depth.append(min((depth[i] for i in parents), default=-1) + 1)
        label.append(0)
        for parent in parents:
            label[node] |= label[parent]
    return edges


def _ask(rng: random.Random, edges: Sequence[Edge], num_nodes: int) -> tuple[list[int], int] | None:
    """The way to the deepest leaf that one root alone reaches, and a leaf that it does not reach.

    None where that way is too short or too long, or one root leads nowhere.
    """
    parents, children = {a for a, _ in edges}, {b for _, b in edges}
    ways = {root: shortest_ways(edges, root) for root in parents - children}
    leaves = [node for node in range(2, num_nodes) if node not in parents]
    if not {0, 1} <= ways.keys():
        return None
    own = [w for w in leaves if sum(w in reached for reached in ways.values()) == 1]
    candidates = [ways[root][leaf] for root in (0, 1) for leaf in own if leaf in ways[root]]
    way = max(candidates, key=lambda way: (len(way), rng.random()), default=[])
    wrong = [
        leaf for leaf in leaves if way and leaf in ways[1 - way[0]].keys() - ways[way[0]].keys()
    ]
    if not wrong or not _MIN_STEPS < len(way) <= _MAX_STEPS + 1:
        return None
    return way, rng.choice(wrong)


def shortest_ways(edges: Sequence[Edge], root: int) -> dict[int, list[int]]:
    """Of every node below the root, one shortest way there, both ends included."""
    ways = {root: [root]}
    queue = [root]
    for node in queue:
        for parent, child in edges:
            if parent == node and child not in ways:
                ways[child] = [*ways[node], child]
                queue.append(child)
    return ways


def _word(
    rng: random.Random, edges: Sequence[Edge], num_nodes: int, way: list[int], wrong: int
) -> Problem:
    names = _name(rng, edges, num_nodes)
    facts = _facts(rng, edges, names)
    return _question(rng, facts, names, way, wrong)


def _name(rng: random.Random, edges: Sequence[Edge], num_nodes: int) -> list[str]:
    """Of every node: a person where nothing leads to it, else a species."""
    children = {b for _, b in edges}
    persons, species = rng.sample(PERSONS, len(PERSONS)), rng.sample(SPECIES, len(SPECIES))
    return [(species if i in children else persons).pop() for i in range(num_nodes)]


def _sentence(parent: str, child: str) -> str:
    return f"{parent if parent in PERSONS else f'Every {parent}'} is a {child}."


def _facts(rng: random.Random, edges: Sequence[Edge], names: Sequence[str]) -> str:
    shuffled = rng.sample(edges, len(edges))
    return " ".join(_sentence(names[parent], names[child]) for parent, child in shuffled)


def _question(
    rng: random.Random, facts: str, names: Sequence[str], way: Sequence[int], wrong: int
) -> Problem:
    asked = rng.sample((names[way[-1]], names[wrong]), 2)
    name = names[way[0]]
    return Problem(
        question=f"{facts} Is {name} a {asked[0]} or {asked[1]}?",
        steps=tuple(_sentence(names[a], names[b]) for a, b in itertools.pairwise(way)),
        notes=tuple(names[i] for i in way[1:]),
        answer=f"{name} is a {names[way[-1]]}.",
    )


def sheet(
    rng: random.Random, num: int, share: float = 1.0, persons: float = 1.0
) -> tuple[str, list[Problem]]:
    """One graph's facts and `num` questions for training that all begin with them.

    A question may ask for any node that can be reached, near ones too: easier than ProsQA's own,
    which ask for the farthest leaf. `share`: of ProsQA's size, at least six nodes; the whole of it
    is a graph of which ProsQA could ask. `persons`: of the questions; the others ask about anyone.
    """
    while True:
        num_nodes = max(6, round(share * max(17, min(28, round(rng.gauss(23.2, 1.95))))))
        edges = _grow(rng, num_nodes)
        if share >= 1 and _ask(rng, edges, num_nodes) is None:
            continue
        names = _name(rng, edges, num_nodes)
        facts = _facts(rng, edges, names)
        ways = _ways(edges)
        people = [found for node, found in ways.items() if names[node] in PERSONS]
        if not people:
            continue
        problems: list[Problem] = []
        while len(problems) < num:
            asked = people if persons >= 1 or rng.random() < persons else list(ways.values())
            way, wrong = _any_question(rng, edges, names, rng.choice(asked))
            problem = _question(rng, facts, names, way, wrong)
            if split_of(problem.question) == "train":
                problems.append(problem)
        return facts, problems


def _ways(edges: Sequence[Edge]) -> dict[int, dict[int, list[int]]]:
    """Of every node that is something, but not everything: the shortest ways."""
    children = {b for _, b in edges}
    ways = {a: shortest_ways(edges, a) for a in dict.fromkeys(a for a, _ in edges)}
    return {node: found for node, found in ways.items() if children - found.keys()}


def _any_question(
    rng: random.Random,
    edges: Sequence[Edge],
    names: Sequence[str],
    reached: Mapping[int, list[int]],
) -> tuple[list[int], int]:
    """One of the ways of a node, its length drawn first, and a species that the node is not: in
    half of all cases a leaf, as ProsQA has it.
    """
    by_length: dict[int, list[list[int]]] = {}
    for way in reached.values():
        if 1 < len(way) <= _MAX_STEPS + 1:
            by_length.setdefault(len(way), []).append(way)
    way = rng.choice(by_length[rng.choices(list(by_length), list(by_length))[0]])
    others = sorted({b for _, b in edges} - reached.keys())
    leaves = [i for i in others if i not in {a for a, _ in edges}]
    return way, rng.choice(leaves if leaves and rng.random() < 0.5 else others)


def check(problem: Problem, text: str) -> bool:
    """True where the last species of the text, after any "#", is the one that can be reached."""
    named = re.findall(r"\b[a-z]+pus\b", text.rpartition("#")[2])
    return bool(named) and named[-1] == problem.answer.split()[-1].rstrip(".")
