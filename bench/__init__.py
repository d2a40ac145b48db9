"""Speed and size, as ratios of one run: `make bench`. Not part of the package."""
