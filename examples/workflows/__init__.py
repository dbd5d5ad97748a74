"""What can happen to the operator's subscriptions."""
