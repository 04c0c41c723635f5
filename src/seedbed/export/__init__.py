"""Models for others: a checkpoint on the Hugging Face Hub, and the card that tells what it is."""
