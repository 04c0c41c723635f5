"""The `seedbed` command: each module parses, calls one library function, prints."""
