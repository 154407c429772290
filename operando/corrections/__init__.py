"""What happens to a spectrum before it is measured."""
