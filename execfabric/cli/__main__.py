"""`python -m execfabric.cli`: the command without its installed name."""

from execfabric.cli.main import main

main()
