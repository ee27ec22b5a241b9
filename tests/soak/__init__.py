"""Runs that take long: damaged files, interrupted processes, ten thousand batches. `ci/soak.sh` runs all of them."""
