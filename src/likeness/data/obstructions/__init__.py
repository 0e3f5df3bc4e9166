"""Obstructions drawn over clean faces: the training data of the network that marks them."""
