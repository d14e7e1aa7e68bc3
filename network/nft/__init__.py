"""The nftables rules of the networks: expressions, encoding, the one table of ours."""
