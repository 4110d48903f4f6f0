"""How earlier knowledge is kept while something new is learned: one part a file."""
