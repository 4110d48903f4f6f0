"""Floor 2: what can be wrong with rows, one kind of fault a file. A detector's findings can be fixed by their names."""
