"""The choice of a basis from the training set: `basis: auto`."""
