"""Pictures of points, as SVG: one file that needs nothing else, readable without colour.

Models differ in colour and in shape. Points on the frontier are labelled where they stand; those
that few draws of questions would take off it are filled, the others hollow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from .points import Point
from .wording import short, told

Axis = Literal["time", "energy"]

WIDTH: Final = 900
HEIGHT: Final = 540
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 24, 46, 54
# Okabe and Ito's colours, which people with any kind of colour blindness tell apart; no yellow.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_SHAPES: Final = ("circle", "square", "diamond", "up", "down", "plus", "cross")
_INK, _FAINT, _GRID = "#1b1f24", "#5b6470", "#e4e7eb"
_CHAR: Final = 6.1  # pixels of a letter of 11 pixels, on average


@dataclass(frozen=True, slots=True)
class Frame:
    """From values to pixels: x is logarithmic."""

    x_low: float
    x_high: float
    y_high: float

    def x(self, value: float) -> float:
        low, high = math.log(self.x_low), math.log(self.x_high)
        share = (math.log(max(value, self.x_low)) - low) / (high - low)
        return _LEFT + min(1.0, share) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - value / self.y_high * (HEIGHT - _TOP - _BOTTOM)


def styles(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """Model -> colour and shape, the same in all pictures of a report."""
    models = list(dict.fromkeys(point.model for point in points))
    return {
        model: (_COLOURS[i % len(_COLOURS)], _SHAPES[i % len(_SHAPES)])
        for i, model in enumerate(models)
    }


def scatter(
    points: Sequence[Point], axis: Axis, title: str, style: Mapping[str, tuple[str, str]]
) -> str:
    """Accuracy against the median time or the joules of a question. Points without one are left
    out; "" where none has one."""
    shown = [point for point in points if _cost(point, axis) is not None]
    if not shown:
        return ""
    frame = _frame(shown, axis)
    unit = "seconds a question, median" if axis == "time" else "joules a question, mean"
    parts = [_head(title), *_grid(frame, f"{unit} (logarithmic)", "right")]
    on = sorted((p for p in shown if _is_on(p, axis)), key=lambda p: _cost(p, axis) or 0.0)
    parts += _staircase(frame, on, axis)
    order = sorted(shown, key=lambda point: (_is_on(point, axis), -(point.deadline_ms or 0)))
    parts += [_mark(frame, point, axis, style[point.model]) for point in order]
    parts += _labels(frame, on, shown, axis, style)
    parts += _key(style, {point.model for point in shown})
    return "\n".join([*parts, "</svg>"])


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    style: Mapping[str, tuple[str, str]],
) -> str:
    """Share right within a time; one line a model, labelled at its end."""
    values = [(t, a) for line in lines.values() for t, a in line]
    if not values:
        return ""
    frame = Frame(
        min(t for t, _ in values) / 1000,
        max(t for t, _ in values) / 1000 * 1.02,
        _ceiling(max(a for _, a in values)),
    )
    parts = [_head(title), *_grid(frame, "seconds a question may take (logarithmic)", "right")]
    taken: list[float] = []
    for model, line in sorted(lines.items(), key=lambda each: -each[1][-1][1]):
        colour, _ = style[model]
        steps = f"M{frame.x(line[0][0] / 1000):.1f} {frame.y(line[0][1]):.1f}" + "".join(
            f"H{frame.x(t / 1000):.1f}V{frame.y(a):.1f}" for t, a in line[1:]
        )
        y = frame.y(line[-1][1]) - 7
        while any(abs(y - other) < 14 for other in taken):
            y += 14
        taken.append(y)
        parts.append(
            f'<path d="{steps}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
            f'<text x="{WIDTH - _RIGHT - 4}" y="{y:.1f}" text-anchor="end" fill="{colour}" '
            f'font-weight="600" {_HALO}>{escape(short(model))}</text>'
        )
    return "\n".join([*parts, "</svg>"])


_HALO: Final = 'paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round"'


def _cost(point: Point, axis: Axis) -> float | None:
    if axis == "energy":
        return point.joules
    return None if point.median_ms is None else point.median_ms / 1000


def _is_on(point: Point, axis: Axis) -> bool:
    if axis == "time":
        return point.frontier
    return point.on_energy is not None and point.on_energy >= 0.5


def _frame(points: Sequence[Point], axis: Axis) -> Frame:
    costs = [cost for point in points if (cost := _cost(point, axis)) is not None]
    return Frame(
        min(costs) / 1.35, max(costs) * 1.9, _ceiling(max(p.accuracy_high for p in points))
    )


def _ceiling(share: float) -> float:
    return min(1.0, math.ceil(share * 10 + 0.2) / 10)


def _head(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="18" font-size="14" font-weight="600" fill="{_INK}">'
        f"{escape(title)}</text>"
    )


def _grid(frame: Frame, x_title: str, y_title: str) -> Iterator[str]:
    bottom = HEIGHT - _BOTTOM
    for value in _ticks(frame.x_low, frame.x_high):
        x = frame.x(value)
        yield (
            f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="{_GRID}"/>'
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="{_FAINT}">'
            f"{value:g}</text>"
        )
    for tenth in range(round(frame.y_high * 10) + 1):
        y = frame.y(tenth / 10)
        yield (
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{_GRID}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_FAINT}">'
            f"{10 * tenth} %</text>"
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    yield (
        f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle" fill="{_INK}">{x_title}</text>'
        f'<text transform="translate(16 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle" '
        f'fill="{_INK}">{y_title}</text>'
    )


def _ticks(low: float, high: float) -> Iterator[float]:
    """1, 2, 5, 10, ... inside the range."""
    power = math.floor(math.log10(low))
    while 10.0**power <= high:
        for digit in (1, 2, 5):
            value = digit * 10.0**power
            if low <= value <= high:
                yield value
        power += 1


def _staircase(frame: Frame, on: Sequence[Point], axis: Axis) -> list[str]:
    if not on:
        return []
    first, *rest = on
    path = f"M{frame.x(_cost(first, axis) or 1):.1f} {frame.y(first.accuracy):.1f}"
    for point in rest:
        path += f"H{frame.x(_cost(point, axis) or 1):.1f}V{frame.y(point.accuracy):.1f}"
    path += f"H{WIDTH - _RIGHT}"
    return [f'<path d="{path}" fill="none" stroke="#8a93a0" stroke-width="1.5"/>']


def _mark(frame: Frame, point: Point, axis: Axis, style: tuple[str, str]) -> str:
    colour, shape = style
    cost = _cost(point, axis) or 1.0
    x, y = frame.x(cost), frame.y(point.accuracy)
    on = _is_on(point, axis)
    share = point.on_time if axis == "time" else point.on_energy
    size = 6.0 if on else 3.2 if point.deadline_ms else 4.5
    fill = colour if on and (share or 0) >= 0.8 else "#fff"
    bars = f"M{x:.1f} {frame.y(point.accuracy_low):.1f}V{frame.y(point.accuracy_high):.1f}"
    if axis == "time" and point.median_low is not None and point.median_high is not None:
        left, right = frame.x(point.median_low / 1000), frame.x(point.median_high / 1000)
        bars += f"M{left:.1f} {y:.1f}H{right:.1f}"
    deadline = "" if point.deadline_ms is None else f"{point.deadline_ms:g}"
    return (
        f'<g class="point" data-model="{escape(point.model)}" '
        f'data-way="{escape(point.way)}" data-deadline="{deadline}" tabindex="0" '
        f'opacity="{1 if on else 0.75}"><title>{escape(told(point))}</title>'
        f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" pointer-events="all"/>'
        f'<path d="{bars}" stroke="{colour}" opacity="{0.55 if on else 0.16}"/>'
        f'<path d="{_outline(shape, x, y, size)}" fill="{fill}" stroke="{colour}" '
        f'stroke-width="{2 if on else 1.2}"/></g>'
    )


def _outline(shape: str, x: float, y: float, r: float) -> str:
    if shape == "circle":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
        "up": ((0, -1.3), (1.2, 1), (-1.2, 1)),
        "down": ((0, 1.3), (1.2, -1), (-1.2, -1)),
        "plus": ((-0.4, -1.3), (0.4, -1.3), (0.4, -0.4), (1.3, -0.4), (1.3, 0.4), (0.4, 0.4),
                 (0.4, 1.3), (-0.4, 1.3), (-0.4, 0.4), (-1.3, 0.4), (-1.3, -0.4), (-0.4, -0.4)),
        "cross": ((0, -0.5), (0.9, -1.4), (1.4, -0.9), (0.5, 0), (1.4, 0.9), (0.9, 1.4),
                  (0, 0.5), (-0.9, 1.4), (-1.4, 0.9), (-0.5, 0), (-1.4, -0.9), (-0.9, -1.4)),
    }[shape]  # fmt: skip
    path = "L".join(f"{x + r * dx:.1f} {y + r * dy:.1f}" for dx, dy in corners)
    return f"M{path}z"


def _labels(
    frame: Frame,
    on: Sequence[Point],
    shown: Sequence[Point],
    axis: Axis,
    style: Mapping[str, tuple[str, str]],
) -> Iterator[str]:
    """Beside each point of the frontier, where nothing lies yet; else none: the table has it."""
    marks = [(frame.x(_cost(p, axis) or 1), frame.y(p.accuracy)) for p in shown]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]
    for point in on:
        text = f"{short(point.model)} {point.label}"
        x, y = frame.x(_cost(point, axis) or 1), frame.y(point.accuracy)
        width = _CHAR * len(text)
        for anchor, left, base in _places(x, y, width):
            box = (left, base - 10, left + width, base + 2)
            inside = box[2] < WIDTH and box[0] > _LEFT and box[1] > _TOP - 14
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                at = left if anchor == "start" else left + width
                yield (
                    f'<text class="label" x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}" '
                    f'fill="{style[point.model][0]}" font-weight="600" {_HALO}>'
                    f"{escape(text)}</text>"
                )
                break


def _places(x: float, y: float, width: float) -> Iterator[tuple[str, float, float]]:
    """Anchor, left edge and base line of a label: nearest first, above before below."""
    for lift in (-9, 4, 18, -22, -35, 31, -48, 44, -61):
        yield "start", x + 9, y + lift
        yield "end", x - 9 - width, y + lift


Box = tuple[float, float, float, float]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _key(style: Mapping[str, tuple[str, str]], models: set[str]) -> Iterator[str]:
    x = float(_LEFT)
    for model, (colour, shape) in style.items():
        if model in models:
            yield (
                f'<path d="{_outline(shape, x + 5, 31, 4.5)}" fill="{colour}"/>'
                f'<text x="{x + 15:.1f}" y="35" fill="{_INK}">{escape(short(model))}</text>'
            )
            x += 15 + _CHAR * len(short(model)) + 18
    yield (
        f'<text x="{WIDTH - _RIGHT}" y="35" text-anchor="end" fill="{_FAINT}">'
        "filled: on the frontier in 80 % of draws; bars: 95 %</text>"
    )
