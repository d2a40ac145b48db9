"""Lists of rows: which ones, and how a page of them is found fast."""
