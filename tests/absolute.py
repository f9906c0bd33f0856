"""The README for a package index, which shows no file of the repository: its links and pictures get whole addresses.

Usage: python tests/absolute.py README.md https://github.com/OWNER/NAME v0.9.0 writes it anew, for a build alone.
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(!?)(\[[^]]*\])\((?!https?:|#)([^)]+)\)")


def absolute(text, repository, version):
    """Return Markdown whose links go to the files of a version, and its pictures to their bytes."""
    return LINK.sub(lambda found: f"{found[1]}{found[2]}({address(repository, version, *found.group(1, 3))})", text)


def address(repository, version, mark, path):
    """Return where a file of the repository is, as a page or, for a picture, as it is."""
    return f"{repository}/{'raw' if mark else 'blob'}/{version}/{path}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(absolute(page.read_text(encoding="utf-8"), *sys.argv[2:]), encoding="utf-8")
