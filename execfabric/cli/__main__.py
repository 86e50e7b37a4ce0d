"""Run the command with `python -m execfabric.cli`."""

from execfabric.cli.main import main

main()
