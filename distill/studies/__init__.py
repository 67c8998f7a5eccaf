"""Studies that run parts of a workflow many times."""
