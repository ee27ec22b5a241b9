"""Targets: from a canonical fp32 network and a plan to a network that a backend runs in int8."""
