"""What a running server reports about itself: metrics, the request of each log line, slow statements, traces."""
