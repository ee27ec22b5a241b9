"""From a network, its statistics and what a target can do, to a plan."""
