"""A plot of growth as SVG: both axes logarithmic, a line for each figure with its name beside its end.
Readable on light and dark ground, without fonts or scripts of its own."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 880, 500
LEFT, RIGHT, TOP, BOTTOM = 64, 318, 56, 56  # margins; names stand in the right one
LINE = 17                                   # between two names
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#c2418f", "#b8860b",
           "#5e8c31", "#8a6fc4", "#c0504d", "#2a9d9d", "#8c8c8c")
STYLE = """
  svg { font-family: system-ui, sans-serif; font-size: 13px; }
  .ground { fill: #ffffff; } .text { fill: #24292f; } .faint { fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; } .diagonal { stroke: #8c959f; stroke-dasharray: 5 4; fill: none; }
  .line { fill: none; stroke-width: 2; } .lead { fill: none; stroke-width: 1; opacity: 0.6; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } .text { fill: #e6edf3; } .faint { fill: #9198a1; }
    .grid { stroke: #30363d; } .diagonal { stroke: #6e7681; }
  }
"""


def apart(wanted, least, low, high):
    """Positions as near to the wanted ones as they can be while `least` apart, within low..high where
    they fit; in the order of the wanted ones."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    clusters = []  # (sum of wanted minus offset, members)
    for i in order:
        clusters.append([wanted[i], [i]])
        while len(clusters) > 1 and _first(clusters[-2], least) + least * len(clusters[-2][1]) > _first(clusters[-1], least):
            total, members = clusters.pop()
            clusters[-1][0] += total
            clusters[-1][1] += members
    placed = [0.0] * len(wanted)
    for cluster in clusters:
        first = _first(cluster, least)
        for offset, i in enumerate(cluster[1]):
            placed[i] = first + least * offset
    if order:
        shift = min(0.0, high - max(placed))
        shift = max(shift, low - min(placed)) if min(placed) + shift < low else shift
        placed = [y + shift for y in placed]
    return placed


def _first(cluster, least):
    total, members = cluster
    return total / len(members) - least * (len(members) - 1) / 2


def factor(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ticks(low, high):
    """1, 2 and 5 of each power of ten within low..high."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0 ** power for power in powers for step in (1, 2, 5)
            if low * 0.999 <= step * 10.0 ** power <= high * 1.001]


def svg(lines, title, caption=""):
    """`lines`: name -> [(size, value)], sizes and values above zero. Returns the file's text."""
    sizes = sorted({size for points in lines.values() for size, _ in points})
    values = [value for points in lines.values() for _, value in points]
    if len(sizes) < 2:
        raise ValueError("a plot of growth needs at least two sizes")
    low = min([0.7] + [value * 0.85 for value in values])
    high = max([sizes[-1] / sizes[0] * 1.15] + [value * 1.15 for value in values])
    scale_x = (WIDTH - LEFT - RIGHT) / math.log(sizes[-1] / sizes[0])
    scale_y = (HEIGHT - TOP - BOTTOM) / math.log(high / low)

    def x(size):
        return LEFT + scale_x * math.log(size / sizes[0])

    def y(value):
        return HEIGHT - BOTTOM - scale_y * math.log(value / low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
           f'height="{HEIGHT}" role="img">', f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
           f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
           f'<text class="text" x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
           f'<text class="faint" x="{LEFT}" y="43">{escape(caption)}</text>']
    for value in ticks(low, high):
        out.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>'
                   f'<text class="faint" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for size in sizes:
        out.append(f'<path class="grid" d="M{x(size):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                   f'<text class="faint" x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 20}" '
                   f'text-anchor="middle">{size:,}</text>')
    out.append(f'<text class="faint" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 12}" '
               'text-anchor="middle">revisions</text>')
    out.append(f'<path class="diagonal" d="M{x(sizes[0]):.1f} {y(1):.1f}L{x(sizes[-1]):.1f} '
               f'{y(sizes[-1] / sizes[0]):.1f}"/>')
    names = [("in proportion to the size", sizes[-1] / sizes[0], None)]
    for number, (name, points) in enumerate(lines.items()):
        points = sorted(points)
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x(size):.1f} {y(value):.1f}" for size, value in points)
        out.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        out += [f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for size, value in points]
        names.append((f"{name} × {factor(points[-1][1])}", points[-1][1], colour))
    places = apart([y(value) for _, value, _ in names], LINE, TOP, HEIGHT - BOTTOM)
    right = WIDTH - RIGHT
    for (name, value, colour), place in zip(names, places):
        ink = f'stroke="{colour}"' if colour else 'class="diagonal"'
        if colour:
            out.append(f'<path class="lead" {ink} d="M{right + 3} {y(value):.1f}L{right + 18} {place:.1f}h4"/>')
        mark = f'fill="{colour}"' if colour else 'class="faint"'
        out.append(f'<circle cx="{right + 26}" cy="{place:.1f}" r="3" {mark}/>'
                   f'<text class="text" x="{right + 34}" y="{place + 4.5:.1f}">{escape(name)}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
