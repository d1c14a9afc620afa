"""From a dataset's name to normalised splits: sources, formats, tables, splitting, pictures."""
