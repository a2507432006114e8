"""What starts builds besides pushes and people: schedules, and base images that change."""
