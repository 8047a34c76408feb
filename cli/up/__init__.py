"""The appliance without Docker: `slipway up` and the processes that it keeps running."""
