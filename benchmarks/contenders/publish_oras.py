"""oras-py's push of files or of a folder, which becomes one tar.gz.

publish_oras.py FOLDER HOST/REPOSITORY:TAG NAME...

The names are of what lies in FOLDER.
"""

import os
import sys

from oras.client import OrasClient


def main() -> None:
    os.chdir(sys.argv[1])
    OrasClient(insecure=True).push(target=sys.argv[2], files=sys.argv[3:])


if __name__ == "__main__":
    main()
