"""The one decoder, its configuration, and its names in stock software."""
