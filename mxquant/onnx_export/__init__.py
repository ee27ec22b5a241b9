"""Ways out of MXNet: files for other runtimes."""
