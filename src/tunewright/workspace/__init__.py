"""A workspace: what a server keeps beside runs - files, jobs, names of models, keys, traffic - in one database."""
