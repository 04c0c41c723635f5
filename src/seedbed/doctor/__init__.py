"""What this machine can do, what a run would cost, and what is wrong with a run."""
