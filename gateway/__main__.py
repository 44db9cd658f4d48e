"""``python -m gateway``: the same as the command ``gateway``.

Who calls it: the supervisor for each of its processes; people without the installed command.
Must never: do anything of its own. What the supervisor starts goes by the command line, which would stay in its memory.
Source: docs/commands.md.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from gateway import serving

    if serving.is_meant(sys.argv[1:]):
        sys.exit(serving.main(sys.argv[1:]))

    from gateway.cli import main

    main()
