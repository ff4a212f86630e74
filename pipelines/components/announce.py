"""Tell the broker how the run ended."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def announce_completed(detector: str, cause: str, sink: str, completed: str) -> None:
    """The pipeline's last step."""
    import json

    from homeostat.pipelines.announcement import completed_event, post

    post(sink, completed_event(detector, json.loads(cause), json.loads(completed)))


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def announce_failed(
    status: dsl.PipelineTaskFinalStatus, run: str, detector: str, cause: str, sink: str
) -> None:
    """The exit handler: silent after a success, which the last step has announced itself."""
    import json

    from homeostat.pipelines.announcement import failed_event, post

    if status.state != "SUCCEEDED":
        step = status.pipeline_task_name or ""
        post(sink, failed_event(detector, json.loads(cause), run, step, status.error_message or status.state))
