"""Questions that wait for their turn: the queue, its workers, what callers are told meanwhile."""
