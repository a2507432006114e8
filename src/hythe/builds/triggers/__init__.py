"""What queues builds by itself: schedules, and base images that change."""
