"""What runs the program again in processes that multiprocessing starts: by then this package has repaired MXNet."""

from typing import List

from mxquant.compat.running import run_again

__all__: List[str] = []

if __name__ == "__mp_main__":
    globals().update(run_again())
