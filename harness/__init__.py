"""The tool: search space, search, process isolation, measuring, accuracy, machine, data, storage."""
