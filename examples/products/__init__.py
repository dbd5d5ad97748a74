"""What the operator sells, and what that is made of."""
