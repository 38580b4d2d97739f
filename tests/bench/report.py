"""How rows are shown, kept as JSON and compared."""
import json
import pathlib
import statistics

from measure import Row

SCHEMA = 1  # of the JSON file; a reader refuses others


class Unusable(Exception):
    """A file of results that cannot be read; the text says why."""


def number(value, unit):
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit == "bytes/s":
        return f"{value / 2**20:.0f} MiB/s"
    if unit == "1/s":
        return f"{value:,.0f} /s"
    if unit in ("s", "cpu s"):
        if value < 0.1:
            return f"{value * 1000:.1f} ms"
        return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"
    return f"{value:,.3g} {unit}".strip()


def spread(samples, unit):
    """The smallest and the largest run, unit left out where both have the same."""
    if len(samples) < 2:
        return ""
    low, high = (number(edge(samples), unit) for edge in (min, max))
    if low.split(" ")[-1] == high.split(" ")[-1]:
        low = low.rsplit(" ", 1)[0]
    return f"{low} .. {high}"


def goal_text(row):
    if row.goal is None:
        return "-"
    sign = ">=" if row.at_least else "<="
    return f"{sign} {row.goal:g}" if row.reference else f"{sign} {number(row.goal, row.unit)}"


def pair(ours, reference, text):
    """Ours and the reference's in one column."""
    if ours is None and reference is None:
        return "-"
    return text(ours) if reference is None else f"{text(ours)} / {text(reference)}"


HEAD = ["work", "ours", "min .. max", "reference", "min .. max", "ratio", "goal", "met",
        "cpu s, ours / ref", "peak MiB, ours / ref", "runs"]


def cells(row):
    def seconds(value):
        return "-" if value is None else f"{value:.2f}"

    def mebibytes(value):
        return "-" if value is None else f"{value / 2**20:.0f}"

    return [row.work, number(row.ours, row.unit), spread(row.samples, row.unit),
            number(row.reference, row.unit), spread(row.reference_samples, row.unit),
            "-" if row.ratio is None else f"{row.ratio:.2f}", goal_text(row),
            {None: "-", True: "yes", False: "NO"}[row.met],
            pair(row.cpu, row.reference_cpu, seconds), pair(row.peak, row.reference_peak, mebibytes),
            str(max(len(row.samples), 1))]


def aligned(lines):
    """Columns of text; a line with one cell more than its first column's text spans the rest."""
    full = [line for line in lines if len(line) > 2]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    widths[0] = max(len(line[0]) for line in lines)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    text.insert(1, "-" * max(map(len, text[:1] + [t for t, line in zip(text, lines) if len(line) > 2])))
    return text


def table(rows):
    """The rows as aligned text; below it what the references are, notes, failures and missed goals."""
    text = aligned([HEAD] + [[row.work, f"failed: {row.failed}"] if row.failed else cells(row) for row in rows])
    measured = [row for row in rows if not row.failed]
    explained = [f"{row.work}: against {row.against}" for row in measured if row.against and row.reference]
    explained += [f"{row.work}: {row.note}" for row in measured if row.note]
    if explained:
        text += [""] + explained
    missed = [row for row in measured if row.met is False]
    if missed:
        text += ["", "goals not met:"]
        text += [f"  {row.work}: {number(row.ours, row.unit) if row.ratio is None else f'{row.ratio:.2f}'}"
                 f" instead of {goal_text(row)}" for row in missed]
    goals = [row for row in measured if row.met is not None]
    if goals:
        text += ["", f"{len(goals) - len(missed)} of {len(goals)} goals met"]
    return "\n".join(text)


def markdown(rows):
    """The rows as a table for docs/performance.md."""
    head = HEAD[:1] + ["ours (min .. max)", "reference (min .. max)"] + HEAD[5:]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in rows:
        if row.failed:
            lines.append([row.work, f"failed: {row.failed}"] + [""] * (len(head) - 2))
            continue
        work, ours, low, reference, beside, *rest = cells(row)
        lines.append([work, f"{ours} ({low})" if low else ours, f"{reference} ({beside})" if beside else reference,
                      *rest])
    return markdown_lines(lines)


def markdown_lines(lines):
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def write(path, kind, facts, rows):
    """Writes results so that a reader sees the old file or the new one. Rows are dictionaries."""
    path = pathlib.Path(path)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"schema": SCHEMA, "kind": kind, **facts, "rows": rows}, indent=1) + "\n")
    part.rename(path)


def read(path, kind, to_row):
    """What write() wrote; `to_row` turns the rows' dictionaries into objects. Raises Unusable."""
    try:
        content = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Unusable(f"{path}: no JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise Unusable(f"{path}: no results of scripts/bench")
    if content.get("schema") != SCHEMA:
        raise Unusable(f"{path}: schema {content.get('schema')}, this script reads {SCHEMA}")
    if content.get("kind") != kind:
        raise Unusable(f"{path}: results of kind {content.get('kind')!r}, wanted {kind!r}")
    try:
        content["rows"] = [to_row(row) for row in content["rows"]]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise Unusable(f"{path}: a row is not what it should be: {error}") from None
    return content


def save(path, facts, rows):
    write(path, "table", facts, [row.to_json() for row in rows])


def load(path):
    """Rows as Row again. Raises Unusable."""
    return read(path, "table", to_row)


def to_row(fields):
    row = Row(**{name: value for name, value in fields.items() if name not in ("ratio", "met")})
    for name in ("work", "unit", "failed", "note", "against"):
        if not isinstance(getattr(row, name), str):
            raise ValueError(f"{name} is no text")
    for name in ("ours", "reference", "goal", "cpu", "peak", "reference_cpu", "reference_peak"):
        if getattr(row, name) is not None:
            setattr(row, name, float(getattr(row, name)))
    for name in ("samples", "reference_samples"):
        setattr(row, name, [float(value) for value in getattr(row, name)])
    return row


def deviation(samples):
    """Median absolute deviation: a spread that one run out of line does not decide."""
    middle = statistics.median(samples)
    return statistics.median(abs(value - middle) for value in samples)


def judge(was, now):
    """Whether `now` is better or worse than chance explains: the medians differ by more than 3 %, by
    more than twice both deviations, and neither lies within the other's smallest and largest run.
    Where a row has less than three runs, 10 % count."""
    if not was.ours or now.ours is None:
        return ""
    change = now.ours / was.ours
    if min(len(was.samples), len(now.samples)) < 3:
        counts = not 0.9 <= change <= 1.1
    else:
        apart = abs(now.ours - was.ours)
        counts = (abs(change - 1) > 0.03
                  and apart > 2 * (deviation(was.samples) + deviation(now.samples))
                  and not min(was.samples) <= now.ours <= max(was.samples)
                  and not min(now.samples) <= was.ours <= max(now.samples))
    if not counts:
        return ""
    more_is_better = now.at_least or now.unit in ("1/s", "bytes/s")
    return "better" if (change > 1) == more_is_better else "WORSE"


def header(content):
    machine = content.get("machine", {})
    return (f"{content.get('time', '?')}  commit {str(content.get('commit', '?'))[:12]}  "
            f"size {content.get('size', '?')}  {machine.get('processors', '?')} processors  "
            f"others used {100 * content.get('others', 0):.0f} %")


def compare(before, after):
    """Two runs side by side; changes beyond their spread are marked."""
    old = {row.work: row for row in before["rows"]}
    lines = [["work", "before", "after", "change", "", "ratio before", "ratio after", "cpu before", "cpu after"]]
    for row in after["rows"]:
        was = old.pop(row.work, None)
        if was is None or was.failed or row.failed:
            why = "failed before" if was and was.failed else "failed after" if row.failed else "only after"
            lines.append([row.work, why])
            continue
        change = f"{row.ours / was.ours:.2f}" if was.ours and row.ours is not None else "-"
        lines.append([row.work, number(was.ours, was.unit), number(row.ours, row.unit), change, judge(was, row)]
                     + ["-" if r.ratio is None else f"{r.ratio:.2f}" for r in (was, row)]
                     + ["-" if r.cpu is None else f"{r.cpu:.2f} s" for r in (was, row)])
    lines += [[work, "only before"] for work in old]
    text = [f"before: {header(before)}", f"after:  {header(after)}"]
    if before.get("size") != after.get("size"):
        text.append("warning: the two runs are of different sizes")
    if before.get("machine", {}).get("processor") != after.get("machine", {}).get("processor"):
        text.append("warning: the two runs are from different machines")
    return "\n".join(text + [""] + aligned(lines))
