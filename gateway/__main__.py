"""``python -m gateway``: the same as the command ``gateway``.

Who calls it: the supervisor for each of its processes; people without the installed command.
Must never: do anything of its own.
Source: contract.md, "Commands".
"""

from __future__ import annotations

from gateway.cli import main

if __name__ == "__main__":
    main()
