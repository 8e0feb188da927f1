"""The regression gate: is the current build or config still as fast and as accurate as the pinned one?"""
