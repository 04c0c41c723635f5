"""From any text to memory-mapped tokens, and from these to batches."""
