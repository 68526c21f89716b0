"""Many more requests made from `/openapi.json`, in sequences too."""

from __future__ import annotations

from pathlib import Path

from figures import Figure
from openapi_run import run

SECONDS = 300


def test_every_answer_is_on_its_schema(tmp_path: Path, figure: Figure) -> None:
    seen = run(tmp_path, "examples,coverage,fuzzing,stateful", seconds=SECONDS, examples=200, seed=2)
    done = sum(count for (_, status), count in seen.items() if status < 300)
    figure(
        "no 5xx and no answer off its schema, whatever is asked",
        f"{sum(seen.values())} requests to {len({operation for operation, _ in seen})} operations, {done} of them done",
    )
