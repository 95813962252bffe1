"""InstructLab's own package on the files named on standard input; starting it is not measured.

python check_instructlab_schema.py < names
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from instructlab.schema.taxonomy import TaxonomyParser, TaxonomyReadingException


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where it finds yamllint
    files = sys.stdin.read().split("\n")
    parser = TaxonomyParser(schema_version=0, yamllint_strict=True, message_format="LOGGING")
    before, started = _cpu_s(), time.monotonic()
    refused = sum(not _accepts(parser, file) for file in files)
    figures = {"leaves": len(files) - refused, "refused": refused, "cpu_s": _cpu_s() - before}
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({**figures, "wall_s": time.monotonic() - started, "peak_mb": own.ru_maxrss / 1024}))


def _accepts(parser: TaxonomyParser, file: str) -> bool:
    try:
        return parser.parse(file).errors == 0
    except TaxonomyReadingException:
        return False


def _cpu_s() -> float:
    """Of this process and of those that it has started."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


main()
