"""``python -m console``: the command ``carillon`` where its script is not on the path."""

from console.cli import main

main(prog_name="carillon")
