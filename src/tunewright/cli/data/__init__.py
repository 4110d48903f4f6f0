"""Look after data sets: scrub, select, extend, compare, export and forget rows."""
