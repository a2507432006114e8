"""What browsers ask for, a file a kind of page."""
