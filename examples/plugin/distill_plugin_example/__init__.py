"""Members that distill finds by the entry points of this package."""
