"""From a prompt to text: sampling and the cached decoding loop."""
