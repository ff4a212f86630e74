"""As much of Gherkin as CloudEvents' conformance features use: outlines, tables and doc strings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Row = dict[str, str]


@dataclass
class Step:
    text: str
    doc: str = ""
    rows: list[list[str]] = field(default_factory=list)

    @property
    def table(self) -> list[Row]:
        head, *rows = self.rows
        return [dict(zip(head, row, strict=True)) for row in rows]


@dataclass
class Scenario:
    name: str
    steps: list[Step] = field(default_factory=list)

    def filled(self, example: Row) -> Scenario:
        """The outline with an example's values in the places of their names."""

        def fill(text: str) -> str:
            return re.sub(r"<(\w+)>", lambda name: example.get(name[1], name[0]), text)

        steps = [
            Step(fill(step.text), fill(step.doc), [[fill(cell) for cell in row] for row in step.rows])
            for step in self.steps
        ]
        return Scenario(fill(self.name), steps)


def scenarios(file: Path) -> Iterator[Scenario]:
    """Every scenario of a feature file, outlines once per example.

    Raises ValueError on what it cannot read.
    """
    for scenario in _outlines(file.read_text().splitlines()):
        examples = [step for step in scenario.steps if step.text == "Examples:"]
        scenario.steps = [step for step in scenario.steps if step.text != "Examples:"]
        if not examples:
            yield scenario
        for step in examples:
            yield from map(scenario.filled, step.table)


def _outlines(lines: list[str]) -> Iterator[Scenario]:
    scenario, left = None, iter(lines)
    for line in map(str.strip, left):
        if named := re.match(r"Scenario(?: Outline)?: (.*)", line):
            if scenario:
                yield scenario
            scenario = Scenario(named[1])
        elif scenario is None:
            continue  # the feature's own words, and its background, which only says that there is a binding
        elif line == '"""':
            scenario.steps[-1].doc = _doc(left)
        elif line.startswith("|"):
            scenario.steps[-1].rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif line.startswith(("Given ", "When ", "Then ", "And ", "Examples:")):
            scenario.steps.append(Step(line))
        elif line and not line.startswith(("#", "@")):
            raise ValueError(f"this reader knows no such line: {line!r}")
    if scenario:
        yield scenario


def _doc(lines: Iterator[str]) -> str:
    inside = []
    for line in lines:
        if line.strip() == '"""':
            break
        inside.append(line)
    return textwrap.dedent("\n".join(inside))
