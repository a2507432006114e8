"""Organizations: members, teams, invitations, and the name patterns that teams and tokens use."""
