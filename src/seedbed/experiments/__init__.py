"""Many small trainings that answer a question about data."""
