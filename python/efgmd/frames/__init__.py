"""Labelled structures: reading them from files, their neighbour lists, and minibatches of them."""
