"""The foundation of every stage: settings, errors, whole files, tables, command lines."""
