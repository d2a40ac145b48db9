"""Tests of wesgate; a package, so that test folders can share parts by name."""
