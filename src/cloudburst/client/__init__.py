"""Client: the object that owns workers and runs scenes on them."""
