"""Workers that run already, whoever started them."""
