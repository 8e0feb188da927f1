"""Phase ladders: published techniques, each measured on top of the last, claimed beside measured."""
