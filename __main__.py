"""Run the command line as ``python -m fc7``."""

from .cli import main

raise SystemExit(main())
