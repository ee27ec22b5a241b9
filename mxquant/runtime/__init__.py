"""All that touches MXNet or the processor: networks that are bound and run, arrays, threads, compiled loops."""
