"""Draw the years of ``simulate.py --json FILE``: ``PYTHON benchmarks/gate/plot.py FILE``, with matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

_COLORS = {
    "anchored": "#2e7d32",
    "non-inferior alone": "#1565c0",
    "point with tolerance": "#c62828",
    "point": "#ef6c00",
}


def main() -> None:
    """Write year.png beside this file."""
    years = json.loads(Path(sys.argv[1]).read_text())["years"]
    figure, axes = plt.subplots(1, len(years), figsize=(11, 4), constrained_layout=True)
    for axis, (kind, paths) in zip(axes, years.items(), strict=True):
        for gate, path in paths.items():
            axis.plot(range(1, len(path) + 1), path, label=gate, color=_COLORS[gate], linewidth=2)
        axis.axhline(1, color="grey", linestyle=":", linewidth=1)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylim(200, -0.05)
        axis.set_yticks([0, 0.5, 1, 3, 10, 30, 100], ["0", "0.5", "1", "3", "10", "30", "100"])
        axis.set_title(kind, fontsize=11)
        axis.set_xlabel("night")
    axes[0].set_ylabel("champion, margins below the first")
    axes[0].legend(fontsize=9, loc="center right")
    figure.savefig(Path(__file__).with_name("year.png"), dpi=90)


if __name__ == "__main__":
    main()
