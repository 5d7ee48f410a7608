"""The gateway beside those of others: same upstream, same cores, one run."""
