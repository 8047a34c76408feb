"""The request log: `RequestLog` in `log.py` is its one entry; it makes ids, samples, and writes batches."""
