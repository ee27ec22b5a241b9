"""``python -m mxquant.cli`` is the command ``mxquant``."""

from mxquant.cli.running import main

if __name__ == "__main__":
    main()
