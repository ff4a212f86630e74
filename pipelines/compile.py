"""Render the pipeline to IR YAML: `python -m homeostat.pipelines.compile`. A test holds the file fresh."""

from __future__ import annotations

from pathlib import Path

from kfp import compiler

from .training import training

COMPILED = Path(__file__).parent / "compiled" / "training.yaml"


def render(target: Path = COMPILED) -> None:
    compiler.Compiler().compile(training, str(target))


if __name__ == "__main__":
    render()
