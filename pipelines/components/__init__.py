"""The pipeline's components: short shims over `pipelines.steps` and `models`.

Their bodies are copied into the compiled pipeline, so each imports what it needs itself. They are never
annotated lazily: KFP reads the annotations as types.
"""

IMAGE = "ghcr.io/homeostat/work:0.1.0"
"""The image that holds this package with its `work` extra. The local runner uses this interpreter instead."""
