"""Finished runs as a table, as Markdown and as a plot."""

from __future__ import annotations

import csv
import io

import numpy as np
from _quality_methods import PROTOCOLS

METRICS = ("NMI", "ARI", "ACC", "FMI")
KEY = ("data", "method", "protocol", "seed", "code", "parameters")
COLUMNS = (*KEY[:4], *METRICS, "mean", "seconds", *KEY[4:])
SHOWN = (*METRICS, "mean")


def read_rows(path):
    """Rows of a CSV as text, without an incomplete line of an interrupted run."""
    if not path.exists():
        return []
    with open(path, encoding="utf8") as file:
        # line by line: an open quote in an incomplete line does not reach the next one
        rows = [cells for line in file for cells in csv.reader([line])]
    header = rows[0] if rows else []
    return [
        dict(zip(header, cells, strict=True)) for cells in rows[1:] if len(cells) == len(header)
    ]


def read_runs(path):
    """Rows of the CSV of runs, with their numbers."""
    rows = read_rows(path)
    for row in rows:
        row["seed"] = int(row["seed"])
        row |= {name: float(row[name]) for name in (*SHOWN, "seconds")}
    return rows


def append_rows(path, rows, columns):
    """Append rows in one write, after the header if the file is new."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    is_new = not path.exists() or path.stat().st_size == 0
    with open(path, "a+", encoding="utf8", newline="") as file:
        file.seek(0)
        if not is_new and not file.read().endswith("\n"):
            file.write("\r\n")  # an incomplete line of an interrupted run stays separate
        if is_new:
            writer.writeheader()
        writer.writerows(rows)
        file.write(text.getvalue())


def append_run(path, run):
    """Append one run."""
    append_rows(path, [run], COLUMNS)


def _last_versions(runs):
    """Per data set, method and protocol, the runs with its last version and parameters by seed."""
    groups = {}
    for run in runs:
        groups.setdefault((run["data"], run["method"], run["protocol"]), []).append(run)
    found = {}
    for key, group in groups.items():
        last = [group[-1][name] for name in KEY[4:]]
        same = [run for run in group if [run[name] for name in KEY[4:]] == last]
        found[key] = {run["seed"]: run for run in same}
    return found


def summarize(runs):
    """One dict per data set, method and protocol, the best mean first.

    Means and population standard deviations over the seeds; ``worst`` is the lowest mean of the
    four scores among the seeds. If a method ran with several versions or parameters, only its last
    ones count.
    """
    rows = []
    for (data, method, protocol), same in _last_versions(runs).items():
        values = {name: np.array([run[name] for run in same.values()]) for name in SHOWN}
        row = {"data": data, "method": method, "protocol": protocol, "seeds": len(same)}
        row |= {name: (values[name].mean(), values[name].std()) for name in SHOWN}
        row["worst"] = values["mean"].min()
        row["seconds"] = np.mean([run["seconds"] for run in same.values()])
        rows.append(row | {"code": next(iter(same.values()))["code"]})
    order = list(dict.fromkeys(row["data"] for row in rows))
    place = {name: number for number, name in enumerate(PROTOCOLS)}
    return sorted(
        rows,
        key=lambda row: (
            order.index(row["data"]),
            place.get(row["protocol"], -1),
            -row["mean"][0],
        ),
    )


def _spread(pair):
    return f"{pair[0]:.1f} ± {pair[1]:.1f}"


def full_table(summary):
    """Header and rows of text: one row per data set, method and protocol."""
    header = ["data", "method", "protocol", *SHOWN, "worst", "seconds", "seeds"]
    rows = [
        [row["data"], row["method"], row["protocol"]]
        + [_spread(row[name]) for name in SHOWN]
        + [f"{row['worst']:.1f}", f"{row['seconds']:.1f}", str(row["seeds"])]
        for row in summary
    ]
    return header, rows


def side_by_side(summary):
    """Header and rows of text: one row per data set and method, the protocols as columns."""
    by_method = {}
    for row in summary:
        by_method.setdefault((row["data"], row["method"]), {})[row["protocol"]] = row
    header = ["data", "method"]
    for protocol in PROTOCOLS:
        header += [protocol, "worst"]
    rows = []
    for names, protocols in by_method.items():
        cells = list(names)
        for protocol in PROTOCOLS:
            row = protocols.get(protocol)
            cells += [_spread(row["mean"]), f"{row['worst']:.1f}"] if row else ["", ""]
        rows.append(cells)
    return header, rows


def ablation_table(runs, base, chosen):
    """Header and rows of text: the chosen methods and ``base``, in order of their difference.

    A cell is the mean of the protocol ``predict`` over the seeds, followed by their number. The
    last column is the difference from ``base`` over the seeds that both have, averaged over the
    data sets.
    """
    means = {}
    for (data, method, protocol), same in _last_versions(runs).items():
        if protocol == "predict" and (method in {base, *chosen}):
            by_seed = {seed: run["mean"] for seed, run in same.items()}
            means.setdefault(method, {})[data] = by_seed
    names = list(dict.fromkeys(data for found in means.values() for data in found))

    def title(method):
        name = "the defaults" if method == "umc" else method.removeprefix("ablation: ")
        return f"**{name}**" if method == base else name

    def cell(by_seed):
        return f"{np.mean(list(by_seed.values())):.1f} ({len(by_seed)})" if by_seed else ""

    def difference(found):
        common = {data: found[data].keys() & means[base][data].keys() for data in found}
        by_data = [
            np.mean([found[data][seed] - means[base][data][seed] for seed in seeds])
            for data, seeds in common.items()
        ]
        return round(np.mean(by_data), 1) + 0.0  # without a negative zero

    rows = [
        [title(method), *(cell(means[method].get(data)) for data in names)]
        + ["" if method == base else f"{difference(means[method]):+.1f}"]
        for method in sorted(means, key=lambda method: difference(means[method]))
    ]
    return ["changed", *names, "difference"], rows


def ablation_tables(runs):
    """The ablations compared with the defaults, and those of the umc encoder with that encoder."""
    stages, encoder = "ablation: umc encoder, ", "ablation: umc encoder"
    methods = {run["method"] for run in runs}
    if "umc" in methods:
        whole = {name for name in methods if name.startswith("ablation: ")}
        yield ablation_table(runs, "umc", {name for name in whole if not name.startswith(stages)})
    if encoder in methods:
        yield ablation_table(runs, encoder, {name for name in methods if name.startswith(stages)})


def as_rst(header, rows):
    """The same as a reStructuredText list-table."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for cells in (header, *rows):
        lines += [
            f"   {' ' if place else '*'} - {cell}".rstrip() for place, cell in enumerate(cells)
        ]
    return "\n".join(lines)


def as_text(header, rows):
    """Table with aligned columns; names left, numbers right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for cells in (header, *rows):
        padded = [
            cell.ljust(width) if title in ("data", "method", "protocol") else cell.rjust(width)
            for cell, width, title in zip(cells, widths, header, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def as_markdown(header, rows):
    """The same as a Markdown table, with the defaults of UMCClusterer in bold."""
    rule = ["---" if title in ("data", "method", "protocol") else "--:" for title in header]
    rows = [
        [f"**{cell}**" if title == "method" and is_default(cell) else cell for title, cell in pairs]
        for pairs in (list(zip(header, cells, strict=True)) for cells in rows)
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def is_default(method):
    """Whether this row is UMCClusterer with its defaults, possibly for fewer epochs."""
    return method.split(" (")[0] == "umc"


def plot(summary, path):
    """Plot one panel per data set: mean and deviation of the four scores, sorted by mean."""
    import matplotlib.pyplot as plt

    by_data = {}
    for row in summary:
        by_data.setdefault(row["data"], []).append(row)
    columns = min(2, len(by_data))
    n_methods = [len({row["method"] for row in rows}) for rows in by_data.values()]
    heights = [
        1 + 0.24 * max(n_methods[start : start + columns])
        for start in range(0, len(by_data), columns)
    ]
    figure, axes = plt.subplots(
        len(heights),
        columns,
        figsize=(6.2 * columns, 0.6 + sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat[len(by_data) :]:
        axis.axis("off")
    for axis, (name, rows) in zip(axes.flat, by_data.items(), strict=False):
        _panel(axis, name, rows)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(PROTOCOLS), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis, name, rows):
    # sorted by the first protocol that a method has, the best on top
    means = {}
    for protocol in reversed(PROTOCOLS):
        means |= {row["method"]: row["mean"][0] for row in rows if row["protocol"] == protocol}
    methods = sorted(means, key=means.get)
    height = {method: place for place, method in enumerate(methods)}
    for protocol, marker, shift in zip(PROTOCOLS, "osd", (0.22, 0.0, -0.22), strict=True):
        shown = [row for row in rows if row["protocol"] == protocol]
        axis.errorbar(
            [row["mean"][0] for row in shown],
            [height[row["method"]] + shift for row in shown],
            xerr=[row["mean"][1] for row in shown],
            fmt=marker,
            markersize=4,
            capsize=2,
            label=protocol,
        )
    axis.set_yticks(range(len(methods)), methods, fontsize=8)
    for label, method in zip(axis.get_yticklabels(), methods, strict=True):
        label.set_fontweight("bold" if is_default(method) else "normal")
    for place, method in enumerate(methods):
        if is_default(method):
            axis.axhspan(place - 0.5, place + 0.5, color="0.92", zorder=0)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.set(title=name, ylim=(-0.7, len(methods) - 0.3), xlabel="mean of NMI, ARI, ACC, FMI (%)")
