"""Ready configurations, named on the command line."""
