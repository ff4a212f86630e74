"""Lay the best candidate beside the champion, ask it canary inputs, calibrate its drift tests, write a page.

Drift tests take alibi-detect's 5 to 11 s to load, and only the best candidate ever needs them.
"""

from typing import List  # noqa: UP035 - KFP reads typing's List

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def compare(
    run: str,
    detector: str,
    spec: str,
    champion: str,
    training: dsl.Input[dsl.Dataset],
    held_back: dsl.Input[dsl.Dataset],
    evaluations: List[str],  # noqa: UP006
    page: dsl.Output[dsl.HTML],
) -> str:
    """Returns what was found (`judging.found`), as JSON."""
    import json
    from pathlib import Path

    from homeostat.models import shelf
    from homeostat.pipelines.calibrating import ship_calibration
    from homeostat.pipelines.held import Held
    from homeostat.pipelines.judging import found, keep
    from homeostat.pipelines.report import render
    from homeostat.pipelines.selection import unpack
    from homeostat.pipelines.taught import Training

    every, asked, held = [unpack(one) for one in evaluations], json.loads(spec), Held.load(held_back.path)
    judged, seen = found(every, asked, champion, held)
    with shelf.adding(judged["chosen"]["uri"]) as folder:
        ship_calibration(seen.candidate[0], Training.load(training.path), asked, folder)
    text = render(f"{detector}, run {run}", asked, judged, seen, held)
    Path(page.path).write_text(text)
    return json.dumps(judged | {"report": keep(text, judged["chosen"]["uri"])})
