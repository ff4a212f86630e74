"""Where it runs. httpx's command line would cost every process that wakes rich, click and pygments (0.1 s);
it does without where it cannot have them, and so it cannot."""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
