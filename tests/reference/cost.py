"""Twin of `edgereason/deadline.h` with the same formulas, over dictionaries and lists."""

from __future__ import annotations

import math

KNOTS = [2**i for i in range(11)]


class CostModel:
    def __init__(self) -> None:
        self.knot_ms: dict[int, float] = {}  # rows -> ms at load 1, no cells
        self.weight: dict[int, float] = {}
        self.cell_ms = 0.0
        self.cells_per_row = 0.0
        self.load = 1.0
        self.last_ratio = 0.0
        self.num_seen = 0
        self.restored = False
        self.stretch: list[tuple[int, float]] = []  # (cells, ms) of steps alike
        self.stretch_rows = 0
        self.last_stretch: tuple[int, float] | None = None  # first cells, least ms
        self.slope_above = 0.0
        self.slope_below = 0.0

    def restore(self, knot_ms: list[float], cell_ms: float) -> None:
        self.__init__()  # type: ignore[misc]  # as new
        for knot, ms in zip(KNOTS, knot_ms, strict=False):
            if math.isfinite(ms) and ms > 0:
                self.knot_ms[knot] = max(ms, 1e-6)
                self.weight[knot] = 4.0
        self.restored = bool(self.knot_ms)
        if self.restored and math.isfinite(cell_ms) and cell_ms > 0:
            self.cell_ms = cell_ms
            self.slope_below = 4 * 16384.0
            self.slope_above = cell_ms * 5 * 16384

    def curve(self, rows: float) -> float:
        seen = sorted(self.knot_ms)
        if not seen:
            return 0.0
        highest = [max(self.knot_ms[k] for k in seen if k <= knot) for knot in seen]
        points = dict(zip(seen, highest, strict=True))
        first, last = seen[0], seen[-1]
        for knot in KNOTS:  # every knot gets a value, and between knots the line is straight
            if knot < first:
                points[knot] = points[first] * math.sqrt(knot / first)
            elif knot > last:
                points[knot] = points[last] * knot / last
            elif knot not in points:
                below = max(k for k in seen if k < knot)
                above = min(k for k in seen if k > knot)
                share = (knot - below) / (above - below)
                points[knot] = points[below] + share * (points[above] - points[below])
        if rows > KNOTS[-1]:
            return points[KNOTS[-1]] * rows / KNOTS[-1]
        low = max(k for k in KNOTS[:-1] if k <= rows)
        return points[low] + (rows - low) / low * (points[2 * low] - points[low])

    def cell_part(self, rows: int, cells: float) -> float:
        return self.cell_ms * cells * min(1.0, 16 / rows)

    def step_ms(self, rows: int, cells: int = -1) -> float:
        if self.num_seen == 0 and not self.restored:
            return 20.0 * rows
        num_cells = self.cells_per_row * rows if cells == -1 else cells
        return self.load * (self.curve(rows) + self.cell_part(rows, num_cells))

    def rows_within(self, ms: float, max_rows: int) -> int:
        return max([1, *(r for r in range(1, max_rows + 1) if self.step_ms(r) <= ms)])

    def observe(self, rows: int, cells: int, ms: float) -> None:
        ms = max(ms, 1e-6)
        part = self.cell_part(rows, cells)
        usual_ms = ms / self.load
        self._learn_curve(rows, max(usual_ms - part, 0.25 * usual_ms))
        ratio = ms / (self.curve(rows) + part)
        sure = min(ratio, self.last_ratio)
        self.last_ratio = ratio
        if sure > 1.5 * self.load:
            self.load = sure
        else:
            self.load += 0.45 * (min(ratio, 3 * self.load) - self.load)
        if rows <= 16:
            self._learn_slope(rows, cells, ms)
        shift = 1 + 0.005 * 2 * (self.load - 1) / (self.load + 1)
        self.knot_ms = {knot: value * shift for knot, value in self.knot_ms.items()}
        self.cell_ms *= shift
        self.slope_above *= shift
        self.load /= shift
        self.num_seen += 1

    def _learn_curve(self, rows: float, ms: float) -> None:
        if rows > KNOTS[-1]:
            ms *= KNOTS[-1] / rows
            rows = KNOTS[-1]
        expected = self.curve(rows)
        low = max(k for k in KNOTS[:-1] if k <= rows)
        high_share = (rows - low) / low
        for knot, share in ((low, 1 - high_share), (2 * low, high_share)):
            if share <= 0:
                continue
            told = ms * max(knot / rows, math.sqrt(knot / rows))
            weight = self.weight.get(knot, 0.0)
            if weight == 0:
                self.knot_ms[knot] = told
            elif weight < 4:
                self.knot_ms[knot] += share * min(0.0, told - self.knot_ms[knot])
            else:
                error = min(max(ms / expected, 0.5), 1.5) - 1
                self.knot_ms[knot] *= 1 + 0.03 * share * error
            self.weight[knot] = min(weight + share, 4.0)

    def _learn_slope(self, rows: int, cells: int, ms: float) -> None:
        rate = 1.0 if self.num_seen == 0 else 0.1
        self.cells_per_row += rate * (cells / rows - self.cells_per_row)
        if rows != self.stretch_rows:
            self.stretch_rows = rows
            self.stretch = []
            self.last_stretch = None
        if self.stretch:
            expected = self.stretch[0][0] + len(self.stretch) * rows
            if abs(cells - expected) > 16 * rows:
                self.stretch = []
        self.stretch.append((cells, ms))
        if len(self.stretch) < 16:
            return
        now = (self.stretch[0][0], min(step_ms for _, step_ms in self.stretch))
        self.stretch = []
        if self.last_stretch is not None:
            step_cells = now[0] - self.last_stretch[0]
            step_ms = now[1] - self.last_stretch[1]
            if abs(step_ms) <= 0.3 * self.last_stretch[1]:
                self.slope_above = 0.995 * self.slope_above + step_ms * step_cells
                self.slope_below = 0.995 * self.slope_below + step_cells**2
                self.cell_ms = max(0.0, self.slope_above / (self.slope_below + 16384))
        self.last_stretch = now
