"""What can be measured about an int8 network: where it loses what."""
