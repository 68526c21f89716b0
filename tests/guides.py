"""The blocks of a guide: what it writes as files, and what it runs."""

from __future__ import annotations

import re

# They are run where Spark is: test_spark.py.
ON_SPARK = ["spark.md", "spark-connect.md", "waiting.md", "v2.md"]
_BLOCK = re.compile(r"^(?:<!-- file: (\S+) -->\n)?```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def python_of(text: str) -> tuple[dict[str, str], str]:
    """The Python blocks: those with a file's name in front of them, and the others as one script."""
    blocks = _BLOCK.findall(text)
    return {file: block for file, block in blocks if file}, "\n".join(block for file, block in blocks if not file)
