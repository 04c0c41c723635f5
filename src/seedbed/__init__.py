"""Grow small language models from text, and tell which text grows the best one."""

__version__ = "0.1.0"
