"""The judgement of a release: the rules of its gate, the trend of its metrics, and the verdict."""
