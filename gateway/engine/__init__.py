"""The decision: where a prompt goes, and what happens when that fails. Opens no socket."""
