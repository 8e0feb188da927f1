"""The search: what to try next, what to make of it, when to stop, and the proof of the winner."""
