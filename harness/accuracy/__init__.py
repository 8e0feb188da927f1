"""How well a page was read: normalisation, edit distances, scores, intervals. Pure functions on text."""
