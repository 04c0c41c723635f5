"""How good a model is: bits per byte, loss, perplexity."""
