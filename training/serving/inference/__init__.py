"""An image in, an answer out; the only place where the web process loads a model."""
