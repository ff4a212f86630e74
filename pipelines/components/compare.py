"""Lay the best candidate beside the champion, ask it what it will be asked, and write the report."""

from typing import List  # noqa: UP035 - KFP reads typing's List

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def compare(
    run: str,
    detector: str,
    spec: str,
    champion: str,
    held_back: dsl.Input[dsl.Dataset],
    evaluations: List[str],  # noqa: UP006
    page: dsl.Output[dsl.HTML],
) -> str:
    """Returns what was found (`judging.Found`), as JSON."""
    import json
    from pathlib import Path

    from homeostat.pipelines.held import Held
    from homeostat.pipelines.judging import found, keep
    from homeostat.pipelines.report import render
    from homeostat.pipelines.selection import unpack

    every, asked, held = [unpack(one) for one in evaluations], json.loads(spec), Held.load(held_back.path)
    judged, seen = found(every, asked, champion, held)
    text = render(f"{detector}, run {run}", asked, judged, seen, held)
    Path(page.path).write_text(text)
    return json.dumps(judged | {"report": keep(text, judged["chosen"]["uri"])})
