"""Backend of render services that already run at given addresses."""
