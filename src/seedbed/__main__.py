"""`python -m seedbed`, and under torchrun: `torchrun --nproc-per-node 2 -m seedbed train ...`."""

from seedbed.cli.main import main

main()
