"""What a change of the catalogue does to the data of subscriptions."""
