"""Who may do what: the table of actions and roles, and the decisions made from it."""
