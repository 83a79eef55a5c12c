"""A team's code by its syntax trees: the DSN, the options and the models that an old env.py leads to."""
