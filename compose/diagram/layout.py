"""Layout of a layered drawing: boxes and wires, what is needed above, what needs it below. Pure.

As Sugiyama, Tagawa and Toda did it (1981): layers by the longest path; an order within each that crosses few wires;
columns by least squares; then the gaps between layers are channels, in which wires get rows of their own. All edges of
a node that wait for the same thing are one wire, which carries its label once, where it leaves the node. Two wires
share a cell only where one crosses the other at a right angle. What does not fit the room is not laid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pycompose.frozen import dataclass

from . import Edge

GAP = 3  # columns between two boxes
SWEEPS = 12
MOST = 400  # boxes and passing wires; more make no picture that anyone reads


@dataclass(frozen=True, slots=True)
class Box:
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Wire:
    """`runs` are straight pieces from cell to cell, ends included; `label` is at `place`."""

    runs: tuple[tuple[int, int, int, int], ...]
    heads: tuple[tuple[int, int], ...]
    tail: tuple[int, int]
    label: str
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: Mapping[str, Box]
    wires: tuple[Wire, ...]
    width: int
    height: int


Net = tuple[str, str]  # source, label
Item = str | tuple[Net, int]  # a box, or a wire that passes a layer


def lay_out(sizes: Mapping[str, tuple[int, int]], edges: Sequence[Edge], room: int) -> Layout | None:
    """Boxes of `sizes` (width and height by name, in the order of the file) within `room` columns; None: no way."""
    for share in (100, 85, 70, 55):  # layers are broken earlier where wires that pass them need room too
        layout = _Attempt(sizes, edges, room * share // 100).layout()
        if layout is not None and layout.width <= room:
            return layout
    return None


def parts(names: Iterable[str], edges: Sequence[Edge]) -> list[list[str]]:
    """The names by what hangs together, each part in the order of `names`."""
    beside: dict[str, set[str]] = {name: set() for name in names}
    for edge in edges:
        beside[edge.source].add(edge.target)
        beside[edge.target].add(edge.source)
    groups: list[list[str]] = []
    grouped: set[str] = set()
    for name in beside:
        if name in grouped:
            continue
        pending, part = [name], set()
        while pending:
            one = pending.pop()
            if one not in part:
                part.add(one)
                pending += beside[one]
        grouped |= part
        groups.append([one for one in beside if one in part])
    return groups


class _Attempt:
    def __init__(self, sizes: Mapping[str, tuple[int, int]], edges: Sequence[Edge], room: int) -> None:
        self.edges, self.room = edges, room
        self.nets: dict[Net, list[str]] = {}  # wire -> the boxes it leads to
        for edge in edges:
            self.nets.setdefault((edge.source, edge.label), []).append(edge.target)
        self.out: dict[str, list[Net]] = {name: [] for name in sizes}
        for net in self.nets:
            self.out[net[0]].append(net)
        self.width: dict[str, int] = {}
        self.height = {name: height for name, (_, height) in sizes.items()}
        for name, (width, _) in sizes.items():
            incoming = sum(name in targets for targets in self.nets.values())
            labels = sorted(len(net[1]) + 4 for net in self.out[name])
            self.width[name] = max(width, 2 * incoming + 2, sum(labels[1:]) + 4)
        self.layer: dict[str, int] = {}
        self.layers: list[list[Item]] = []
        self.at: dict[Item, int] = {}  # the column of an item's middle

    def layout(self) -> Layout | None:
        self._rank()
        self._fill()
        if sum(map(len, self.layers)) > MOST:
            return None
        self._order()
        self._columns()
        return self._wired()

    # Layers

    def _rank(self) -> None:
        """Longest paths; what needs nothing comes just above what needs it first; too wide a layer is broken."""
        needs: dict[str, list[str]] = {name: [] for name in self.width}
        after: dict[str, list[str]] = {name: [] for name in self.width}
        for edge in self.edges:
            needs[edge.target].append(edge.source)
            after[edge.source].append(edge.target)
        rank: dict[str, int] = {}
        waiting = {name: len(set(sources)) for name, sources in needs.items()}
        ready = [name for name, count in waiting.items() if not count]
        for name in ready:  # grows as it goes
            rank[name] = max((rank[source] + 1 for source in needs[name]), default=0)
            for target in dict.fromkeys(after[name]):
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        for name in ready:
            if not needs[name] and after[name]:
                rank[name] = min(rank[target] for target in after[name]) - 1
        layer, used = -1, 0
        for step in range(max(rank.values()) + 1):
            layer, used = layer + 1, 0
            for name in self.width:
                if rank[name] == step:
                    if used and used + self.width[name] > self.room:
                        layer, used = layer + 1, 0
                    self.layer[name] = layer
                    used += self.width[name] + GAP

    def _fill(self) -> None:
        """Wires that pass a layer begin in its middle: at its end they would lead each layer further to the side."""
        for layer in range(max(self.layer.values()) + 1):
            boxes: list[Item] = [name for name, its in self.layer.items() if its == layer]
            passing: list[Item] = [(net, layer) for net in self.nets if self._passes(net, layer)]
            half = len(boxes) // 2
            self.layers.append(boxes[:half] + passing + boxes[half:])

    def _top(self, net: Net, layer: int) -> Item:
        """Where a wire comes from in the gap below `layer`."""
        return net[0] if self.layer[net[0]] == layer else (net, layer)

    def _bottoms(self, net: Net, layer: int) -> list[Item]:
        """Where it leads to in the gap below `layer`."""
        bottoms: list[Item] = [target for target in self.nets[net] if self.layer[target] == layer + 1]
        return [*bottoms, (net, layer + 1)] if self._passes(net, layer + 1) else bottoms

    def _passes(self, net: Net, layer: int) -> bool:
        return self.layer[net[0]] < layer < max(self.layer[target] for target in self.nets[net])

    def _gap(self, layer: int) -> list[tuple[Net, Item, list[Item]]]:
        """The wires below `layer`, with their ends."""
        wires = []
        for net, targets in self.nets.items():
            if self.layer[net[0]] <= layer < max(self.layer[target] for target in targets):
                wires.append((net, self._top(net, layer), self._bottoms(net, layer)))
        return wires

    # Order

    def _order(self) -> None:
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            span = range(1, len(self.layers)) if down else range(len(self.layers) - 2, -1, -1)
            for index in span:
                self._sort(index, index - 1 if down else index)
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    def _sort(self, index: int, gap: int) -> None:
        """Order a layer by the middle of where the wires of one gap lead."""
        other = {item: place for place, item in enumerate(self.layers[gap if gap != index else gap + 1])}
        ends: dict[Item, list[int]] = {}
        for _, top, bottoms in self._gap(gap):
            for bottom in bottoms:
                mine, theirs = (bottom, top) if gap != index else (top, bottom)
                ends.setdefault(mine, []).append(other[theirs])
        before = {item: place for place, item in enumerate(self.layers[index])}

        def middle(item: Item) -> float:
            places = sorted(ends.get(item, ()))
            return (places[(len(places) - 1) // 2] + places[len(places) // 2]) / 2 if places else before[item]

        self.layers[index].sort(key=middle)

    def _crossings(self) -> int:
        count = 0
        for layer in range(len(self.layers) - 1):
            above = {item: place for place, item in enumerate(self.layers[layer])}
            below = {item: place for place, item in enumerate(self.layers[layer + 1])}
            lines = [(above[top], below[bottom]) for _, top, bottoms in self._gap(layer) for bottom in bottoms]
            count += sum(a < c and b > d for a, b in lines for c, d in lines)
        return count

    # Columns

    def _ports(self, name: str) -> dict[Net, int]:
        """Where wires leave a box, from its middle: far enough apart for their labels."""
        nets = self.out[name]
        spread = sum(len(net[1]) + 4 for net in nets[:-1])
        offset, ports = -(spread // 2), {}
        for net in nets:
            ports[net] = offset
            offset += len(net[1]) + 4
        return ports

    def _reach(self, item: Item) -> tuple[int, int]:
        """How far an item goes to the left and to the right of its middle."""
        if not isinstance(item, str):
            return 0, 0
        left = self.width[item] // 2
        right = self.width[item] - left - 1
        labels = [offset + 1 + len(net[1]) + 1 for net, offset in self._ports(item).items()]
        return left, max([right, *labels])

    def _columns(self) -> None:
        for layer in self.layers:
            column = 0
            for item in layer:
                left, right = self._reach(item)
                self.at[item] = column + left
                column += left + right + 1 + GAP
        spot: dict[Item, float] = {item: float(column) for item, column in self.at.items()}
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            if not down:
                self._sort_ports(spot)
            for index in range(len(self.layers)) if down else range(len(self.layers) - 1, -1, -1):
                wanted = self._wanted(index, index - 1 if down else index, spot)
                self._place(self.layers[index], wanted, spot)
        for layer in self.layers:
            least = -(10**9)
            for item in layer:
                left, right = self._reach(item)
                self.at[item] = max(round(spot[item]), least + left)
                least = self.at[item] + right + 1 + GAP
        first = min(self.at[item] - self._reach(item)[0] for layer in self.layers for item in layer)
        for item in self.at:
            self.at[item] -= first

    def _sort_ports(self, spot: Mapping[Item, float]) -> None:
        """The wires of a box leave it in the order in which they arrive."""

        def middle(net: Net) -> float:
            places = [spot[bottom] for bottom in self._bottoms(net, self.layer[net[0]])]
            return sum(places) / len(places)

        for nets in self.out.values():
            if len(nets) > 1:
                nets.sort(key=middle)

    def _wanted(self, index: int, gap: int, spot: Mapping[Item, float]) -> dict[Item, list[float]]:
        """Where the wires of a gap would have the items of a layer, to be straight."""
        columns: dict[Item, list[float]] = {}
        if not 0 <= gap < len(self.layers) - 1:
            return columns
        for net, top, bottoms in self._gap(gap):
            port = self._ports(top)[net] if isinstance(top, str) else 0
            for bottom in bottoms:
                if gap == index:
                    columns.setdefault(top, []).append(spot[bottom] - port)
                else:
                    columns.setdefault(bottom, []).append(spot[top] + port)
        return columns

    def _place(self, layer: list[Item], wanted: Mapping[Item, list[float]], spot: dict[Item, float]) -> None:
        """Least squares under "in this order, this far apart": isotonic regression, by pooling adjacent violators."""
        pools: list[tuple[float, int, list[Item]]] = []  # sum, count, items
        offsets: dict[Item, int] = {}
        offset = 0
        for item in layer:
            left, right = self._reach(item)
            offset += left
            offsets[item] = offset
            offset += right + 1 + GAP
            places = wanted.get(item)
            place = (sum(places) / len(places) if places else spot[item]) - offsets[item]
            pools.append((place, 1, [item]))
            while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
                total, count, items = pools.pop()
                before = pools.pop()
                pools.append((before[0] + total, before[1] + count, before[2] + items))
        for total, count, items in pools:
            for item in items:
                spot[item] = total / count + offsets[item]

    # Wires

    def _wired(self) -> Layout | None:
        boxes: dict[str, Box] = {}
        runs: dict[Net, list[tuple[int, int, int, int]]] = {net: [] for net in self.nets}
        heads: dict[Net, list[tuple[int, int]]] = {net: [] for net in self.nets}
        tails: dict[Net, tuple[int, int]] = {}
        y = 0
        for index, layer in enumerate(self.layers):
            height = max((self.height[item] for item in layer if isinstance(item, str)), default=1)
            for item in layer:
                if isinstance(item, str):
                    left = self.at[item] - self.width[item] // 2
                    boxes[item] = Box(left, y, self.width[item], self.height[item])
                else:
                    runs[item[0]].append((self.at[item], y, self.at[item], y + height - 1))
            gap = self._gap(index) if index < len(self.layers) - 1 else []
            starts = {}
            for net, top, _ in gap:
                if isinstance(top, str):
                    column, row = self.at[top] + self._ports(top)[net], y + self.height[top] - 1
                    tails[net] = (column, row)
                else:
                    column, row = self.at[top], y + height - 1
                starts[net] = (column, row)
            ends = self._ends(gap, {net: column for net, (column, _) in starts.items()})
            tracks = _tracks({net: column for net, (column, _) in starts.items()}, ends)
            if tracks is None:
                return None
            labels = any(isinstance(top, str) for _, top, _ in gap)
            first = y + height + labels
            following = first + (max(tracks.values()) + 1 if tracks else 0) + (not labels and not tracks)
            for net, _, _ in gap:
                column, row = starts[net]
                turn = first + tracks[net] if net in tracks else following
                runs[net].append((column, row, column, turn))
                if net in tracks:
                    across = [column, *ends[net]]
                    runs[net].append((min(across), turn, max(across), turn))
                    runs[net] += [(end, turn, end, following) for end in ends[net]]
                heads[net] += [(end, following) for end, item in ends[net].items() if isinstance(item, str)]
            y = following if gap else y + height + 1
        wires = tuple(
            Wire(tuple(runs[net]), tuple(heads[net]), tails[net], net[1], (tails[net][0] + 2, tails[net][1] + 1))
            for net in self.nets
        )
        width = max(self.at[item] + self._reach(item)[1] + 1 for layer in self.layers for item in layer)
        return Layout(boxes, wires, width, y - 1)

    def _ends(self, gap: list[tuple[Net, Item, list[Item]]], starts: Mapping[Net, int]) -> dict[Net, dict[int, Item]]:
        """The columns in which wires come down: straight, where that is on the box, and apart from each other."""
        ends: dict[Net, dict[int, Item]] = {net: {} for net, _, _ in gap}
        into: dict[str, list[Net]] = {}
        for net, _, bottoms in gap:
            for bottom in bottoms:
                if isinstance(bottom, str):
                    into.setdefault(bottom, []).append(net)
                else:
                    ends[net][self.at[bottom]] = bottom
        for name, nets in into.items():
            low = self.at[name] - self.width[name] // 2 + 1
            high = low + self.width[name] - 3
            nets.sort(key=lambda net: starts[net])
            columns: list[int] = []
            for net in nets:
                column = starts[net]
                if not low <= column <= high:
                    column = self.at[name] if len(nets) == 1 else min(max(column, low), high)
                columns.append(max(column, columns[-1] + 2) if columns else column)
            limit = high
            for place in range(len(columns) - 1, -1, -1):
                columns[place] = min(columns[place], limit)
                limit = columns[place] - 2
            for net, column in zip(nets, columns, strict=True):
                ends[net][column] = name
        return ends


def _tracks(starts: Mapping[Net, int], ends: Mapping[Net, Mapping[int, Item]]) -> dict[Net, int] | None:
    """A row of the gap for each wire that turns in it. None where wires would have to run over each other."""
    spans = {
        net: (min(start, *ends[net]), max(start, *ends[net]))
        for net, start in starts.items()
        if set(ends[net]) != {start}
    }
    above = {  # wires that turn higher, because they come down in a column that this one ends in
        net: {other for other in spans if other != net and starts[other] in ends[net]} for net in spans
    }
    rows: dict[Net, int] = {}
    track = 0
    while len(rows) < len(spans):
        end = -(10**9)
        ready = [net for net in spans if net not in rows and all(rows.get(o, track) < track for o in above[net])]
        if not ready:
            return None
        for net in sorted(ready, key=lambda net: spans[net]):
            if spans[net][0] > end + 1:
                rows[net], end = track, spans[net][1]
        track += 1
    return rows
