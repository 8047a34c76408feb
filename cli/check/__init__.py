"""The commands `slipway check` and `slipway init`: a model on one's own machine, without any service."""
