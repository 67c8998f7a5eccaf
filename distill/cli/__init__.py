"""The command line: thin commands over the functions that Python users call."""
