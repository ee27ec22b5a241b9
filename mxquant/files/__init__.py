"""Files: what is read may be damaged, and is checked; what is written appears whole, and together, or not at all."""
