"""Files that load jobs read and extract jobs write."""
