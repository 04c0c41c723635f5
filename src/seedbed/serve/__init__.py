"""Talking with a model: what a terminal and a server share."""
