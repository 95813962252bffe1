"""oras-py's push of the same files.

publish_oras.py FOLDER HOST/REPOSITORY:TAG
"""

import os
import sys
from pathlib import Path

from oras.client import OrasClient


def main() -> None:
    os.chdir(sys.argv[1])
    names = sorted(path.name for path in Path().iterdir())
    client = OrasClient(insecure=True)
    client.push(target=sys.argv[2], files=[f"{name}:application/octet-stream" for name in names])


if __name__ == "__main__":
    main()
